"""The program that measures one GET from inside and from outside."""

from __future__ import annotations

from collections.abc import Callable
from types import ModuleType

import pytest
import valkey


@pytest.fixture(scope="module")
def latency(snippet: Callable[[str], ModuleType]) -> ModuleType:
    """The program under test."""
    return snippet("introduction/latency.py")


def test_counts_what_the_server_executed(latency: ModuleType, client: valkey.Valkey) -> None:
    calls, _ = latency.executed(client, "get")
    client.get("anything")
    client.get("anything")
    assert latency.executed(client, "get")[0] == calls + 2


def test_a_command_never_run_cost_nothing(latency: ModuleType, client: valkey.Valkey) -> None:
    client.config_resetstat()
    assert latency.executed(client, "lpos") == (0, 0)


def test_the_server_is_a_small_part_of_the_wait(latency: ModuleType, client: valkey.Valkey) -> None:
    measured = latency.measure(client, repeats=500)
    assert 0 < measured.server < measured.round_trip
    assert measured.pipelined < measured.round_trip


def test_leaves_nothing_behind(latency: ModuleType, client: valkey.Valkey) -> None:
    latency.measure(client, repeats=latency.BATCH)
    assert client.dbsize() == 0


@pytest.mark.parametrize(
    ("server", "round_trip", "pipelined", "conclusions"),
    [(1.0, 50.0, 5.0, ["yes", "yes"]), (20.0, 50.0, 40.0, ["no", "no"]), (1.0, 50.0, 25.0, ["yes", "no"])],
)
def test_says_no_where_it_is_not_so(
    latency: ModuleType, server: float, round_trip: float, pipelined: float, conclusions: list[str]
) -> None:
    lines = latency.report(latency.Latency(server, round_trip, pipelined)).splitlines()
    assert [line.rsplit(" ", 1)[1] for line in lines[-2:]] == conclusions


def test_reports_rates_of_the_same_measurement(latency: ModuleType) -> None:
    lines = latency.report(latency.Latency(1.0, 50.0, 5.0)).splitlines()
    assert lines[1].endswith("50 microseconds, or 20000 requests per second")
    assert lines[2].endswith("200000 requests per second")


def test_runs(
    latency: ModuleType, port: int, at_port: Callable[[int], None], capsys: pytest.CaptureFixture[str]
) -> None:
    at_port(port)
    assert latency.main() == 0
    assert len(capsys.readouterr().out.splitlines()) == 5


def test_without_a_server_it_says_so(
    latency: ModuleType, nobody: int, at_port: Callable[[int], None], capsys: pytest.CaptureFixture[str]
) -> None:
    at_port(nobody)
    assert latency.main() == 1
    written = capsys.readouterr()
    assert written.out == ""
    assert "Cannot reach Valkey" in written.err
