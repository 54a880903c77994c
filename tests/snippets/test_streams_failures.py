"""The two rehearsals: a worker that is killed, and an order that nobody can book."""

from __future__ import annotations

import logging
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

FOLDER = Path(__file__).parents[2] / "snippets" / "streams"
KILLED = -signal.SIGKILL


@pytest.fixture
def beside(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let programs import the worker that lies beside them."""
    monkeypatch.syspath_prepend(str(FOLDER))


@pytest.fixture
def crash(beside: None, snippet: Callable[[str], ModuleType]) -> ModuleType:
    """The rehearsal of a crash."""
    return snippet("streams/crash.py")


@pytest.fixture
def poison(beside: None, snippet: Callable[[str], ModuleType]) -> Iterator[ModuleType]:
    """The rehearsal with a bad order, which switches logging off."""
    yield snippet("streams/poison.py")
    logging.disable(logging.NOTSET)


@pytest.fixture
def here(port: int, at_port: Callable[[int], None]) -> None:
    """Lead the program to the server of this test."""
    at_port(port)


def test_a_killed_worker_leaves_one_order_to_be_handled_again(
    crash: ModuleType, client: Any, port: int, capsys: pytest.CaptureFixture[str]
) -> None:
    for _ in range(2):  # the second time there is a group already, with consumers
        crash.rehearse(client, port)
        assert capsys.readouterr().out.splitlines() == [
            f"first worker: exit status {KILLED}",
            "handled 25, delivered but not acknowledged: 6",
            "second worker: handled 16",
            "orders: 40, handled: 41, again: 1",
            "booked by adding:       410.00",
            "booked under a number:  400.00",
        ]
    assert client.xpending("orders", "booking")["pending"] == 0
    assert client.hlen("bookings") == crash.COUNT


def test_a_worker_that_cannot_start_is_not_waited_for(crash: ModuleType, nobody: int) -> None:
    assert crash.kill_one(nobody) in (1, KILLED)


@pytest.mark.usefixtures("here", "client")
def test_the_crash_runs(
    crash: ModuleType, port: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(crash, "PORT", port)
    assert crash.main() == 0
    assert "again: 1" in capsys.readouterr().out


@pytest.mark.usefixtures("here")
def test_poison_is_tried_three_times_and_put_aside(
    poison: ModuleType, client: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    assert poison.main() == 0
    assert capsys.readouterr().out.splitlines() == [
        "round 1: pending, with deliveries: {'1-0': 1}",
        "round 2: pending, with deliveries: {'1-0': 2}",
        "round 3: pending, with deliveries: {'1-0': 3}",
        "round 4: pending, with deliveries: nothing",
        "round 5: pending, with deliveries: nothing",
        "booked: {'202': '1250'}",
    ]
    assert client.xlen("orders:dead") == 1


@pytest.mark.parametrize("name", ["crash", "poison"])
def test_without_a_server_they_say_so(
    request: pytest.FixtureRequest,
    name: str,
    nobody: int,
    at_port: Callable[[int], None],
    capsys: pytest.CaptureFixture[str],
) -> None:
    program = request.getfixturevalue(name)
    at_port(nobody)
    assert program.main() == 1
    assert "Cannot reach Valkey" in capsys.readouterr().err
