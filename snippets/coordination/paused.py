"""What a holder does that was stopped for longer than its lock lives."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
from contextlib import closing
from functools import partial
from pathlib import Path

import valkey
from lock import Lock, LockLostError

REPORT = Path("report.db")
say = partial(print, flush=True)  # two processes write to one terminal


def connect() -> valkey.Valkey:
    """A client of the training server."""
    return valkey.Valkey(host="127.0.0.1", port=6379, decode_responses=True)


def create(path: Path) -> None:
    """A database with one report, and the highest token that has written it."""
    path.unlink(missing_ok=True)
    with closing(sqlite3.connect(path)) as database, database:
        database.execute("CREATE TABLE report (text TEXT, token INTEGER)")
        database.execute("INSERT INTO report VALUES ('', 0)")


def write(path: Path, text: str, _: int) -> bool:
    """Write the report and trust that the caller holds the lock."""
    with closing(sqlite3.connect(path)) as database, database:
        database.execute("UPDATE report SET text = ?", (text,))
    return True


def write_fenced(path: Path, text: str, token: int) -> bool:
    """Write the report unless a later holder has; one statement decides."""
    update = "UPDATE report SET text = ?, token = ? WHERE token <= ?"
    with closing(sqlite3.connect(path)) as database, database:
        return database.execute(update, (text, token, token)).rowcount == 1


STORES = {"trusting": write, "fenced": write_fenced}


def read(path: Path) -> str:
    """What the report says."""
    with closing(sqlite3.connect(path)) as database:
        return str(database.execute("SELECT text FROM report").fetchone()[0])


def ada(store: str) -> None:
    """Take the lock, compute, stand still at the worst moment, and write."""
    with connect() as client:
        lock = Lock(client, "report", life=200)
        lock.acquire(patience=30)
        say(f"Ada: holds the lock, token {lock.token}. Computed: 9 orders")
        os.kill(os.getpid(), signal.SIGSTOP)  # as if the whole computer had slept
        done = STORES[store](REPORT, "9 orders", lock.token)
        say(f"Ada: goes on and writes: {'done' if done else 'refused'}")
        try:
            lock.release()
        except LockLostError:
            say("Ada: learns when she releases it that the lock was lost")


def ben(store: str) -> None:
    """Let Ada begin, wait until her lock is over, write, and wake her up."""
    program = [sys.executable, __file__, store]
    with connect() as client, subprocess.Popen(program) as other:
        try:
            _, status = os.waitpid(other.pid, os.WUNTRACED)
            if not os.WIFSTOPPED(status):
                message = "Ada ended before she had the lock"
                raise RuntimeError(message)
            with Lock(client, "report").held() as lock:
                STORES[store](REPORT, "12 orders", lock.token)
                say(f"Ben: holds the lock, token {lock.token}. Wrote: 12 orders")
            other.send_signal(signal.SIGCONT)
            other.wait()
        finally:
            other.kill()


def main() -> int:
    """Play it without and with a check of the token; return the exit status."""
    try:
        if len(sys.argv) > 1:
            ada(sys.argv[1])
            return 0
        for store in STORES:
            create(REPORT)
            ben(store)
            say(f"The report says: {read(REPORT)}")
    except valkey.ConnectionError as error:
        print(f"Cannot reach Valkey: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
