"""The program in which eight clients count together."""

from __future__ import annotations

from collections.abc import Callable
from threading import BrokenBarrierError
from types import ModuleType

import pytest
import valkey


@pytest.fixture(scope="module")
def race(snippet: Callable[[str], ModuleType]) -> ModuleType:
    """The program under test."""
    return snippet("introduction/counter_race.py")


def test_incr_loses_nothing_and_get_with_set_loses_the_same_each_time(race: ModuleType, client: valkey.Valkey) -> None:
    for _ in range(3):
        assert race.compare(client) == (race.CLIENTS * race.ROUNDS, race.ROUNDS)


def test_leaves_nothing_behind(race: ModuleType, client: valkey.Valkey) -> None:
    race.compare(client)
    assert client.dbsize() == 0


def test_a_failure_in_a_thread_is_not_swallowed(race: ModuleType, client: valkey.Valkey) -> None:
    def wrong_type(each: valkey.Valkey) -> None:
        each.lpush("list", "element")
        race.with_incr(each, "list")

    with pytest.raises(valkey.ResponseError, match="wrong kind"):
        race.run(client, "list", wrong_type)


def test_threads_do_not_wait_for_ever(race: ModuleType, client: valkey.Valkey, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(race, "DEADLINE", 0.05)
    lonely = race.Barrier(2)
    with pytest.raises(BrokenBarrierError):
        race.with_get_and_set(client, "counter", lonely)


def test_runs(race: ModuleType, port: int, at_port: Callable[[int], None], capsys: pytest.CaptureFixture[str]) -> None:
    at_port(port)
    assert race.main() == 0
    assert [line.split(":")[1].strip() for line in capsys.readouterr().out.splitlines()] == [
        "800",
        "800, lost 0",
        "100, lost 700",
    ]


def test_without_a_server_it_says_so(
    race: ModuleType, nobody: int, at_port: Callable[[int], None], capsys: pytest.CaptureFixture[str]
) -> None:
    at_port(nobody)
    assert race.main() == 1
    assert "Cannot reach Valkey" in capsys.readouterr().err
