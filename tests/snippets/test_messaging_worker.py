"""The worker whose jobs survive its death."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import ModuleType

import pytest
import valkey

SNIPPETS = Path(__file__).parents[2] / "snippets" / "messaging"
PATIENCE = 10.0  # seconds, never used up unless something is broken


@pytest.fixture(scope="module")
def worker(snippet: Callable[[str], ModuleType]) -> ModuleType:
    """The program under test."""
    return snippet("messaging/worker.py")


@pytest.fixture(autouse=True)
def patience(worker: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    """A worker that finds no end fails, and does not hang."""
    idle = worker.Queue.idle
    started: list[float] = []

    def impatient(queue: object) -> bool:
        started.append(time.monotonic())
        assert started[-1] < started[0] + 6 * PATIENCE, "there is still something to do"
        return bool(idle(queue))

    monkeypatch.setattr(worker.Queue, "idle", impatient)


def until(true: Callable[[], object]) -> None:
    """Wait until the server says so."""
    end = time.monotonic() + PATIENCE
    while not true():
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.005)


def start_process(port: int, name: str, alive_for: int) -> subprocess.Popen[bytes]:
    """A real worker in a process of its own, whose job does not end."""
    program = (
        "import time, valkey, worker\n"
        f"client = valkey.Valkey(port={port}, decode_responses=True)\n"
        f"worker.run(worker.Queue(client, {alive_for}), {name!r}, lambda job: time.sleep(60))\n"
    )
    return subprocess.Popen([sys.executable, "-c", program], cwd=SNIPPETS)


def test_a_worker_killed_in_the_middle_of_a_job_loses_nothing(
    worker: ModuleType, client: valkey.Valkey, port: int
) -> None:
    client.rpush("invoices", "one", "two", "three")
    victim = start_process(port, "victim", alive_for=300)
    until(lambda: client.exists("invoices:hands:victim"))
    victim.send_signal(signal.SIGKILL)
    assert victim.wait(PATIENCE) == -signal.SIGKILL
    assert client.lrange("invoices:hands:victim", 0, -1) == ["one"]

    done: list[str] = []
    worker.run(worker.Queue(client, 60_000), "heir", done.append)
    assert sorted(done) == ["one", "three", "two"]
    assert client.exists("invoices", "invoices:hands:victim", "invoices:hands:heir") == 0


def test_many_killed_workers_lose_nothing(worker: ModuleType, client: valkey.Valkey, port: int) -> None:
    client.rpush("invoices", *range(10))
    victims = [start_process(port, f"victim-{number}", alive_for=60_000) for number in range(3)]
    until(lambda: all(client.exists(f"invoices:hands:victim-{number}") for number in range(3)))
    for victim in victims:
        victim.kill()
        victim.wait(PATIENCE)
    client.delete(*(f"invoices:alive:victim-{number}" for number in range(3)))  # no need to wait for it
    done: list[str] = []
    worker.run(worker.Queue(client, 60_000), "heir", done.append)
    assert sorted(done) == [str(number) for number in range(10)]


def test_workers_side_by_side_do_each_job_once(worker: ModuleType, client: valkey.Valkey) -> None:
    client.rpush("invoices", *range(200))
    done: list[str] = []

    def work(name: str) -> None:
        worker.run(worker.Queue(client, alive_for=60_000), name, done.append)

    with ThreadPoolExecutor(4) as pool:
        for finished in [pool.submit(work, f"worker-{number}") for number in range(4)]:
            finished.result(PATIENCE)
    assert sorted(map(int, done)) == list(range(200))


def test_a_job_of_a_living_worker_is_not_recovered(worker: ModuleType, client: valkey.Valkey) -> None:
    queue = worker.Queue(client, alive_for=60_000)
    client.rpush("invoices", "one")
    queue.beat("alive")
    assert queue.take("alive", wait=1) == "one"
    assert queue.recover() == []
    assert queue.done("alive", "one")


def test_a_job_done_late_is_known_to_be_done_twice(worker: ModuleType, client: valkey.Valkey) -> None:
    queue = worker.Queue(client, alive_for=60_000)
    client.rpush("invoices", "one")
    queue.beat("late")
    queue.take("late", wait=1)
    client.delete("invoices:alive:late")
    assert queue.recover() == ["one"]
    assert queue.take("other", wait=1) == "one"
    assert queue.done("other", "one")
    assert not queue.done("late", "one")


def test_what_is_recovered_comes_first(worker: ModuleType, client: valkey.Valkey) -> None:
    queue = worker.Queue(client)
    client.rpush("invoices", "first", "second")
    queue.beat("dead")
    queue.take("dead", wait=1)
    client.delete("invoices:alive:dead")
    queue.recover()
    assert client.lrange("invoices", 0, -1) == ["first", "second"]


def test_after_a_restart_a_worker_goes_on_with_its_own_job(worker: ModuleType, client: valkey.Valkey) -> None:
    client.rpush("invoices:hands:me", "left over")
    client.rpush("invoices", "new")
    done: list[str] = []
    worker.run(worker.Queue(client, alive_for=60_000), "me", done.append)
    assert done == ["left over", "new"]


def test_the_heartbeat_goes_on_during_a_long_job(worker: ModuleType, client: valkey.Valkey) -> None:
    queue = worker.Queue(client, alive_for=90)
    with worker.heartbeat(queue, "busy"):
        client.delete("invoices:alive:busy")
        until(lambda: client.exists("invoices:alive:busy"))  # set again, though nobody asked for a job
    until(lambda: not client.exists("invoices:alive:busy"))  # and no longer after the end


def test_a_job_that_fails_is_put_aside_and_the_others_are_done(
    worker: ModuleType, client: valkey.Valkey, capsys: pytest.CaptureFixture[str]
) -> None:
    def handle(job: str) -> None:
        if job == "bad":
            raise ValueError("cannot be read")

    client.rpush("invoices", "bad", "good")
    worker.run(worker.Queue(client, alive_for=60_000), "me", handle)
    assert client.lrange("invoices:failed", 0, -1) == ["bad"]
    written = capsys.readouterr()
    assert "bad failed: cannot be read" in written.err
    assert "did good" in written.out


def test_runs(
    worker: ModuleType,
    client: valkey.Valkey,
    at_port: Callable[[int], None],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    at_port(client.get_connection_kwargs()["port"])
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["worker.py", "ada"])
    client.rpush("invoices", "order-1", "order-1", "order-2")
    assert worker.main() == 0
    assert sorted(path.name for path in tmp_path.iterdir()) == ["order-1.txt", "order-2.txt"]
    assert (tmp_path / "order-1.txt").read_text() == "Invoice for order-1\n"


def test_without_a_server_it_says_so(
    worker: ModuleType,
    nobody: int,
    at_port: Callable[[int], None],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(sys, "argv", ["worker.py"])
    at_port(nobody)
    assert worker.main() == 1
    assert "Cannot reach Valkey" in capsys.readouterr().err
