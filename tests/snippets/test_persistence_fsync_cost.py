"""The measurement of the policies: it measures, and leaves the server as it was."""

from __future__ import annotations

from collections.abc import Callable
from types import ModuleType
from typing import Any

import pytest


@pytest.fixture(scope="module")
def program(snippet: Callable[[str], ModuleType]) -> ModuleType:
    """The program under test."""
    return snippet("persistence/fsync_cost.py")


def settings(client: Any) -> dict[str, str]:
    return {name: client.config_get(name)[name] for name in ("appendonly", "appendfsync")}


def test_measures_every_policy_and_puts_everything_back(program: ModuleType, client: Any) -> None:
    client.set("kept", "yes")
    before = settings(client)
    costs = program.measure(client)
    assert list(costs) == ["no", "everysec", "always"]
    assert all(cost.alone > 0 for cost in costs.values())
    assert costs["always"].alone > costs["always"].together
    assert settings(client) == before
    assert client.keys() == ["kept"]


def test_puts_back_what_was_set_after_a_failure_as_well(
    program: ModuleType, client: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = settings(client)

    def fail(each: Any, policy: str) -> None:
        each.config_set("appendfsync", policy)
        raise TimeoutError

    monkeypatch.setattr(program, "measure_one", fail)
    with pytest.raises(TimeoutError):
        program.measure(client)
    assert settings(client) == before


def test_waits_for_the_base_no_longer_than_told(program: ModuleType, client: Any) -> None:
    client.mset({f"key:{number}": number for number in range(1_000)})
    client.config_set("rdb-key-save-delay", 100_000)
    try:
        with pytest.raises(TimeoutError, match="not complete"):
            program.switch_on(client, deadline=0.05)
    finally:
        client.config_set("rdb-key-save-delay", 0)
        client.config_set("appendonly", "no")


def test_says_what_the_figures_show(program: ModuleType) -> None:
    costs = {"no": program.Cost(2.0, 0.1), "always": program.Cost(900.0, 9.0)}
    assert program.report(costs).splitlines() == [
        "no             2.0 alone      0.10 of a hundred",
        "always       900.0 alone      9.00 of a hundred",
        "with always, a hundred share the wait: yes",
    ]


def test_runs(program: ModuleType, port: int, at_port: Callable[[int], None], client: Any) -> None:
    at_port(port)
    assert program.main() == 0


def test_without_a_server_it_says_so(
    program: ModuleType, nobody: int, at_port: Callable[[int], None], capsys: pytest.CaptureFixture[str]
) -> None:
    at_port(nobody)
    assert program.main() == 1
    assert "Cannot measure" in capsys.readouterr().err
