"""The lock, and what happens to a holder that was stopped."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from valkey_doctest.session import SHIM

FOLDER = Path(__file__).parents[2] / "snippets" / "coordination"
PATIENCE = 20.0  # seconds, never used up unless something is broken
LONG = 60_000  # milliseconds: longer than a test


@pytest.fixture(scope="module")
def lock(snippet: Callable[[str], ModuleType]) -> ModuleType:
    """The program under test."""
    return snippet("coordination/lock.py")


@pytest.fixture
def environment(port: int) -> dict[str, str]:
    """What leads a process that asks at 6379 to the server of the test."""
    return {**os.environ, "PYTHONPATH": f"{SHIM}:{FOLDER}", "VALKEY_DOCTEST_PORTS": f"6379:{port}"}


def test_processes_that_fight_for_the_lock_lose_no_update(
    client: Any, environment: dict[str, str], tmp_path: Path
) -> None:
    path = tmp_path / "count.txt"
    path.write_text("0")
    program = (
        "import pathlib, valkey, lock\n"
        "client = valkey.Valkey(port=6379, decode_responses=True)\n"
        "lock.count(client, pathlib.Path('count.txt'), 40)\n"
    )
    command = [sys.executable, "-c", program]
    processes = [subprocess.Popen(command, env=environment, cwd=tmp_path) for _ in range(3)]
    assert [process.wait(PATIENCE) for process in processes] == [0, 0, 0]
    assert path.read_text() == "120"
    assert client.get("lock:{count}:token") == "120"
    assert not client.exists("lock:{count}")


def test_without_the_lock_the_same_work_loses_updates(
    lock: ModuleType, client: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    both_read = threading.Barrier(2, timeout=PATIENCE)
    path = tmp_path / "count.txt"
    path.write_text("0")

    def careless() -> None:
        value = int(path.read_text())
        both_read.wait()
        path.write_text(str(value + 1))

    with ThreadPoolExecutor(2) as pool:
        for done in [pool.submit(careless) for _ in range(2)]:
            done.result(PATIENCE)
    assert path.read_text() == "1"
    path.write_text("0")
    with ThreadPoolExecutor(8) as pool:
        for done in [pool.submit(lock.count, client, path, 10) for _ in range(8)]:
            done.result(PATIENCE)
    assert path.read_text() == "80"


def test_only_one_holds_it_and_only_the_holder_releases_it(lock: ModuleType, client: Any) -> None:
    ada, ben = lock.Lock(client, "x", LONG), lock.Lock(client, "x", LONG)
    assert ada.acquire()
    assert not ben.acquire()
    with pytest.raises(lock.LockLostError):
        ben.release()
    assert client.exists("lock:{x}")
    ada.release()
    assert ben.acquire()


def test_tokens_grow_with_each_holder_and_stay_when_asked_again(lock: ModuleType, client: Any) -> None:
    ada, ben = lock.Lock(client, "x", LONG), lock.Lock(client, "x", LONG)
    assert ada.acquire()
    first = ada.token
    client.pexpire("lock:{x}", 1_000)
    assert ada.acquire()  # as after a lost reply
    assert ada.token == first
    assert int(client.pttl("lock:{x}")) / 1_000 >= ada.left() - 0.001 > 1  # she believes in no more than there is
    client.delete("lock:{x}")  # as if her time were over
    assert ben.acquire()
    assert ben.token == first + 1


def test_a_lost_lock_cannot_be_renewed_or_released(lock: ModuleType, client: Any) -> None:
    ada, ben = lock.Lock(client, "x", LONG), lock.Lock(client, "x", LONG)
    ada.acquire()
    client.delete("lock:{x}")
    ben.acquire()
    client.pexpire("lock:{x}", 1_000)
    with pytest.raises(lock.LockLostError):
        ada.renew()
    assert int(client.pttl("lock:{x}")) <= 1_000  # not prolonged for somebody else
    assert ada.left() == 0
    with pytest.raises(lock.LockLostError):
        ada.release()
    ben.renew()
    assert int(client.pttl("lock:{x}")) > 1_000


def test_a_holder_that_works_for_long_keeps_the_lock(lock: ModuleType, client: Any) -> None:
    renewed = threading.Event()
    with lock.Lock(client, "x", 900).held() as holder:
        original = holder.renew

        def renew() -> None:
            original()
            renewed.set()

        holder.renew = renew
        client.pexpire("lock:{x}", LONG)  # not to expire during the test
        assert renewed.wait(PATIENCE)
        assert int(client.pttl("lock:{x}")) <= 900
        assert holder.left() > 0
    assert not client.exists("lock:{x}")


def test_the_end_of_the_block_says_that_the_lock_was_lost(lock: ModuleType, client: Any) -> None:
    with pytest.raises(lock.LockLostError), lock.Lock(client, "x", LONG).held():
        client.delete("lock:{x}")


def test_an_error_in_the_block_releases_the_lock(lock: ModuleType, client: Any) -> None:
    with pytest.raises(ZeroDivisionError), lock.Lock(client, "x", LONG).held():
        raise ZeroDivisionError
    assert not client.exists("lock:{x}")


def test_who_has_waited_long_enough_is_told(lock: ModuleType, client: Any) -> None:
    lock.Lock(client, "x", LONG).acquire()
    with pytest.raises(lock.LockBusyError), lock.Lock(client, "x", LONG).held(patience=0):
        pass


def test_the_lock_of_a_killed_process_becomes_free(lock: ModuleType, client: Any, environment: dict[str, str]) -> None:
    program = (
        "import os, signal, valkey, lock\n"
        "client = valkey.Valkey(port=6379, decode_responses=True)\n"
        "with lock.Lock(client, 'x', 300).held():\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    victim = subprocess.run([sys.executable, "-c", program], env=environment, timeout=PATIENCE, check=False)
    assert victim.returncode == -signal.SIGKILL
    heir = lock.Lock(client, "x", LONG)
    assert heir.acquire(PATIENCE)
    assert heir.token == 2


def test_a_stopped_holder_overwrites_and_the_token_prevents_it(
    client: Any, environment: dict[str, str], tmp_path: Path
) -> None:
    done = subprocess.run(
        [sys.executable, FOLDER / "paused.py"],
        env=environment,
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        text=True,
        timeout=PATIENCE,
        check=True,
    )
    lines = done.stdout.splitlines()
    assert lines[2:5:2] == ["Ada: goes on and writes: done", "The report says: 9 orders"]
    assert lines[7:10:2] == ["Ada: goes on and writes: refused", "The report says: 12 orders"]
    assert lines.count("Ada: learns when she releases it that the lock was lost") == 2


def test_a_fenced_store_takes_the_same_holder_twice_and_an_older_one_never(
    monkeypatch: pytest.MonkeyPatch, snippet: Callable[[str], ModuleType], tmp_path: Path
) -> None:
    monkeypatch.syspath_prepend(str(FOLDER))
    paused = snippet("coordination/paused.py")
    path = tmp_path / "report.db"
    paused.create(path)
    assert paused.write_fenced(path, "a", 7)
    assert paused.write_fenced(path, "b", 7)
    assert not paused.write_fenced(path, "c", 6)
    assert paused.read(path) == "b"


@pytest.mark.parametrize("program", ["lock.py", "paused.py"])
def test_without_a_server_they_say_so(program: str, nobody: int, environment: dict[str, str], tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, FOLDER / program],
        env={**environment, "VALKEY_DOCTEST_PORTS": f"6379:{nobody}"},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    assert done.returncode == 1
    assert "Cannot reach Valkey" in done.stderr
