"""The program that summarises sensor readings by the minute."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from types import ModuleType
from typing import Any

import pytest
import valkey

START = 1767261600000  # 2026-01-01T10:00:00Z


@pytest.fixture(scope="module")
def aggregate(snippet: Callable[[str], ModuleType]) -> ModuleType:
    """The program under test."""
    return snippet("streams/aggregate.py")


def add(client: Any, seconds: range) -> None:
    """A reading a second, of 0.1 degrees each: a value that no float can hold."""
    for second in seconds:
        client.xadd("readings", {"sensor": "north", "celsius": "0.1"}, id=START + 1000 * second)


def totals(client: Any) -> tuple[int, Decimal]:
    """All readings that are in summaries, and their sum."""
    found = [client.hgetall(key) for key in client.scan_iter(match="summary:*")]
    return sum(int(each["count"]) for each in found), sum((Decimal(each["total"]) for each in found), Decimal(0))


def test_one_summary_for_each_sensor_and_minute(aggregate: ModuleType, client: Any) -> None:
    for at, sensor, celsius in [
        (0, "north", "4.0"),
        (1, "south", "-1"),
        (59_999, "north", "5.5"),
        (60_000, "north", "7"),
    ]:
        client.xadd("readings", {"sensor": sensor, "celsius": celsius}, id=START + at)
    assert aggregate.summarise(client) == 4
    assert sorted(client.scan_iter(match="summary:*")) == [
        "summary:north:2026-01-01T10:00",
        "summary:north:2026-01-01T10:01",
        "summary:south:2026-01-01T10:00",
    ]
    assert client.hgetall("summary:north:2026-01-01T10:00") == {
        "count": "2",
        "total": "9.5",
        "lowest": "4.0",
        "highest": "5.5",
    }


def test_goes_on_where_it_stopped(aggregate: ModuleType, client: Any) -> None:
    add(client, range(50))
    assert aggregate.summarise(client, batch=7) == 50
    assert aggregate.summarise(client) == 0
    add(client, range(50, 90))
    assert aggregate.summarise(client) == 40
    assert totals(client) == (90, Decimal("9.0"))


def test_nothing_there_nothing_done(aggregate: ModuleType, client: Any) -> None:
    assert aggregate.summarise(client) == 0
    assert client.dbsize() == 0


@pytest.mark.parametrize(
    "bad",
    [
        {"sensor": "north", "celsius": "?"},
        {"sensor": "north", "celsius": "nan"},
        {"sensor": "north", "celsius": "Infinity"},
        {"sensor": "north"},
        {"celsius": "4.0"},
    ],
)
def test_what_is_damaged_is_put_aside_and_the_rest_goes_on(
    aggregate: ModuleType, client: Any, bad: dict[Any, Any]
) -> None:
    client.xadd("readings", bad, id=START)
    add(client, range(1, 4))
    assert aggregate.summarise(client) == 4
    assert totals(client)[0] == 3
    [(_, rejected)] = client.xrange(aggregate.REJECTED)
    assert rejected == {"id": f"{START}-0", **bad}


@pytest.mark.parametrize("crash", ["before", "after"])
def test_a_crash_at_the_transaction_neither_loses_nor_repeats(
    aggregate: ModuleType, client: Any, monkeypatch: pytest.MonkeyPatch, crash: str
) -> None:
    add(client, range(100))
    execute: Any = valkey.client.Pipeline.execute
    calls = 0

    def interrupted(pipeline: Any, *arguments: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls != 3:
            return execute(pipeline, *arguments)
        if crash == "after":
            execute(pipeline, *arguments)
        raise valkey.ConnectionError

    monkeypatch.setattr(valkey.client.Pipeline, "execute", interrupted)
    with pytest.raises(valkey.ConnectionError):
        aggregate.summarise(client, batch=10)
    assert totals(client)[0] == (30 if crash == "after" else 20)
    aggregate.summarise(client, batch=10)
    assert totals(client) == (100, Decimal("10.0"))


def test_several_at_once_beside_a_producer_count_each_reading_once(aggregate: ModuleType, client: Any) -> None:
    add(client, range(100))
    with ThreadPoolExecutor(5) as pool:
        producing = pool.submit(add, client, range(100, 400))
        done = [pool.submit(aggregate.summarise, client, 20) for _ in range(4)]
        counted = sum(each.result() for each in done)
        producing.result()
    counted += aggregate.summarise(client)
    assert counted == 400
    assert totals(client) == (400, Decimal("40.0"))


def test_runs(
    aggregate: ModuleType,
    client: Any,
    port: int,
    at_port: Callable[[int], None],
    capsys: pytest.CaptureFixture[str],
) -> None:
    add(client, range(61))
    at_port(port)
    assert aggregate.main() == 0
    assert capsys.readouterr().out.splitlines() == [
        "61 new readings, 0 rejected",
        "north:2026-01-01T10:00  60 readings, 0.1..0.1, mean 0.10",
        "north:2026-01-01T10:01  1 readings, 0.1..0.1, mean 0.10",
    ]


def test_without_a_server_it_says_so(
    aggregate: ModuleType, nobody: int, at_port: Callable[[int], None], capsys: pytest.CaptureFixture[str]
) -> None:
    at_port(nobody)
    assert aggregate.main() == 1
    assert "Cannot reach Valkey" in capsys.readouterr().err
