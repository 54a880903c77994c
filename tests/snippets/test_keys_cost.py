"""The program that measures how long KEYS blocks."""

from __future__ import annotations

from collections.abc import Callable
from types import ModuleType

import pytest
import valkey


@pytest.fixture(scope="module")
def keys_cost(snippet: Callable[[str], ModuleType]) -> ModuleType:
    """The program under test."""
    return snippet("introduction/keys_cost.py")


def test_names_each_key_once(keys_cost: ModuleType) -> None:
    batches = list(keys_cost.names(500, 3_100))
    assert [len(batch) for batch in batches] == [1_000, 1_000, 600]
    assert batches[0][0] == "keys_cost:500"
    assert len({name for batch in batches for name in batch}) == 2_600


def test_keys_costs_more_the_more_keys_there_are(keys_cost: ModuleType, client: valkey.Valkey) -> None:
    small, large = keys_cost.measure(client, (1_000, 50_000))
    assert (small.there, large.there) == (1_000, 50_000)
    assert large.keys > 5 * small.keys
    assert large.scan < large.keys / 10


def test_fills_as_far_as_it_says_and_takes_only_its_own_away(
    keys_cost: ModuleType, client: valkey.Valkey, monkeypatch: pytest.MonkeyPatch
) -> None:
    client.set("mine", "stays")
    there: list[int] = []

    def count(each: valkey.Valkey, *_: str) -> int:
        there.append(int(each.dbsize()))
        return 1

    monkeypatch.setattr(keys_cost, "cheapest", count)
    keys_cost.measure(client, (100, 2_500))
    assert there == [101, 101, 2_501, 2_501]
    assert client.keys("*") == ["mine"]


def test_cleans_up_after_a_failure(
    keys_cost: ModuleType, client: valkey.Valkey, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> int:
        raise valkey.ConnectionError

    monkeypatch.setattr(keys_cost, "cheapest", fail)
    with pytest.raises(valkey.ConnectionError):
        keys_cost.measure(client, (100,))
    assert client.dbsize() == 0


@pytest.mark.parametrize(
    ("costs", "conclusions"),
    [
        ([(10, 20, 2), (100, 200, 2), (1_000, 2_000, 2)], ["yes", "yes"]),
        ([(10, 20, 2), (100, 80, 2), (1_000, 2_000, 2)], ["no", "yes"]),
        ([(10, 20, 2), (100, 200, 2), (1_000, 2_000, 40)], ["yes", "no"]),
    ],
)
def test_says_no_where_it_is_not_so(
    keys_cost: ModuleType, costs: list[tuple[int, int, int]], conclusions: list[str]
) -> None:
    lines = keys_cost.report([keys_cost.Cost(*cost) for cost in costs]).splitlines()
    assert [line.rsplit(" ", 1)[1] for line in lines[-2:]] == conclusions


def test_runs(
    keys_cost: ModuleType, port: int, at_port: Callable[[int], None], capsys: pytest.CaptureFixture[str]
) -> None:
    at_port(port)
    assert keys_cost.main() == 0
    assert capsys.readouterr().out.count("yes") == 2


def test_without_a_server_it_says_so(
    keys_cost: ModuleType, nobody: int, at_port: Callable[[int], None], capsys: pytest.CaptureFixture[str]
) -> None:
    at_port(nobody)
    assert keys_cost.main() == 1
    assert "Cannot reach Valkey" in capsys.readouterr().err
