"""The scheduler of jobs for later."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import valkey

SNIPPETS = Path(__file__).parents[2] / "snippets" / "messaging"
PATIENCE = 10.0  # seconds, never used up unless something is broken


@pytest.fixture(scope="module")
def scheduler(snippet: Callable[[str], ModuleType]) -> ModuleType:
    """The program under test."""
    return snippet("messaging/scheduler.py")


def test_what_is_due_moves_and_the_rest_stays(scheduler: ModuleType, client: valkey.Valkey) -> None:
    scheduler.schedule(client, "later", delay=60_000)
    scheduler.schedule(client, "second", delay=-10_000)
    scheduler.schedule(client, "first", delay=-20_000)
    assert scheduler.move_due(client) == ["first", "second"]
    assert client.lrange("reminders", 0, -1) == ["first", "second"]
    assert client.zrange("reminders:later", 0, -1) == ["later"]
    assert scheduler.move_due(client) == []


def test_pollers_side_by_side_move_each_job_once(scheduler: ModuleType, client: Any) -> None:
    jobs = [f"job {number}" for number in range(500)]
    client.zadd("reminders:later", dict.fromkeys(jobs, 1))

    def poll() -> list[str]:
        moved = []
        while client.exists("reminders:later"):
            moved += scheduler.move_due(client)
        return moved

    with ThreadPoolExecutor(4) as pool:
        moved = [job for each in [pool.submit(poll) for _ in range(4)] for job in each.result(PATIENCE)]
    assert sorted(moved) == sorted(jobs)
    assert sorted(client.lrange("reminders", 0, -1)) == sorted(jobs)


def test_two_killed_schedulers_lose_and_double_nothing(
    scheduler: ModuleType, client: Any, port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    jobs = [f"job {number}" for number in range(3_000)]
    client.zadd("reminders:later", dict.fromkeys(jobs, 1))
    program = (
        f"import scheduler, valkey\nscheduler.BATCH = 1\n"
        f"scheduler.run(valkey.Valkey(port={port}, decode_responses=True))\n"
    )
    victims = [
        subprocess.Popen([sys.executable, "-c", program], cwd=SNIPPETS, stdout=subprocess.DEVNULL) for _ in range(2)
    ]
    while client.llen("reminders") < 100:  # in the middle of it
        assert client.zcard("reminders:later") > 0
    for victim in victims:
        victim.kill()
        victim.wait(PATIENCE)
    monkeypatch.setattr(scheduler, "BATCH", 1_000)
    scheduler.run(client)
    assert sorted(client.lrange("reminders", 0, -1)) == sorted(jobs)


def test_the_same_job_gets_a_new_time(scheduler: ModuleType, client: valkey.Valkey) -> None:
    assert scheduler.schedule(client, "review", delay=1_000)
    assert not scheduler.schedule(client, "review", delay=-1)
    assert scheduler.move_due(client) == ["review"]


def test_calling_off_says_whether_it_was_in_time(scheduler: ModuleType, client: valkey.Valkey) -> None:
    scheduler.schedule(client, "pay", delay=60_000)
    assert scheduler.cancel(client, "pay")
    assert not scheduler.cancel(client, "pay")
    scheduler.schedule(client, "pay", delay=-1)
    scheduler.move_due(client)
    assert not scheduler.cancel(client, "pay")


def test_at_most_one_batch_at_a_time(scheduler: ModuleType, client: valkey.Valkey) -> None:
    client.zadd("reminders:later", {str(number): 1 for number in range(scheduler.BATCH + 5)})
    assert len(scheduler.move_due(client)) == scheduler.BATCH
    assert len(scheduler.move_due(client)) == 5


def test_survives_a_script_cache_that_was_emptied(scheduler: ModuleType, client: valkey.Valkey) -> None:
    scheduler.move_due(client)
    client.script_flush()
    scheduler.schedule(client, "due", delay=-1)
    assert scheduler.move_due(client) == ["due"]


def test_it_pauses_until_the_next_job_or_one_tick(scheduler: ModuleType, client: valkey.Valkey) -> None:
    assert scheduler.pause(client) == scheduler.TICK
    scheduler.schedule(client, "far", delay=60_000)
    assert scheduler.pause(client) == scheduler.TICK
    scheduler.schedule(client, "near", delay=200)
    assert 0 <= scheduler.pause(client) <= 0.2
    scheduler.schedule(client, "past", delay=-1_000)
    assert scheduler.pause(client) == 0


def test_runs(
    scheduler: ModuleType,
    client: valkey.Valkey,
    port: int,
    at_port: Callable[[int], None],
    capsys: pytest.CaptureFixture[str],
) -> None:
    at_port(port)
    assert scheduler.main() == 0
    assert capsys.readouterr().out.splitlines() == [
        "cleo has paid, called off: True",
        "due: tell ben that the parcel comes",
        "due: ask ada for a review",
        "in the queue: 2",
    ]
    assert client.exists("reminders:later") == 0


def test_without_a_server_it_says_so(
    scheduler: ModuleType, nobody: int, at_port: Callable[[int], None], capsys: pytest.CaptureFixture[str]
) -> None:
    at_port(nobody)
    assert scheduler.main() == 1
    assert "Cannot reach Valkey" in capsys.readouterr().err
