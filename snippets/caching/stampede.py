"""One popular copy has gone, and sixteen clients ask for it in the same moment."""

from __future__ import annotations

import sqlite3
import sys
import time
import uuid
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from threading import Barrier, Lock
from typing import Any

import valkey

CLIENTS, PROCESSES = 16, 4
KEY, LOCK, FRESH = "best:seller", "best:seller:lock", "best:seller:fresh"
MINUTE, HOUR = 60, 3_600  # seconds; an old copy must outlive the mark that it is fresh
DEADLINE = 10.0  # seconds after which nobody waits any longer
RELEASE = """
if server.call('GET', KEYS[1]) == ARGV[1] then return server.call('DEL', KEYS[1]) end
return 0
"""


class Database:
    """SQLite in memory; it counts what it is asked."""

    def __init__(self) -> None:
        self.queries = 0
        self._one_at_a_time = Lock()
        self._rows = sqlite3.connect(":memory:", check_same_thread=False)
        self._rows.execute("CREATE TABLE sold (product TEXT, pieces INTEGER)")
        self._rows.execute("INSERT INTO sold VALUES ('tea', 7), ('cup', 9), ('tea', 5)")

    def best_seller(self) -> str:
        """The product that was sold most often."""
        with self._one_at_a_time:
            self.queries += 1
            (name,) = self._rows.execute(
                "SELECT product FROM sold GROUP BY product ORDER BY sum(pieces) DESC"
            ).fetchone()
        return str(name)


class Flight:
    """One query that the threads of a process share. Make a new one for each miss."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._result: Future[str] | None = None

    def result(self, work: Callable[[], str]) -> str:
        """The first thread works, the others wait for what it returned."""
        with self._lock:
            first = self._result is None
            result = self._result = self._result or Future()
        if first:
            try:
                result.set_result(work())
            except Exception as error:  # noqa: BLE001  all who wait get it, too
                result.set_exception(error)
        return result.result(DEADLINE)


class Reader:
    """What each client does. It returns the value, and whether it was an old one."""

    def __init__(self, client: valkey.Valkey, database: Database) -> None:
        self.client, self.database = client, database
        self.missed = Barrier(CLIENTS)  # the unlucky moment: all look, then all go on

    def load(self, life: int = MINUTE) -> str:
        """Ask the database, and keep a copy for so many seconds."""
        value = self.database.best_seller()
        self.client.set(KEY, value, ex=life)
        return value

    def load_alone(self, life: int = MINUTE) -> str:
        """Whoever gets the lock asks the database; the others look again and again."""
        token, end = uuid.uuid4().hex, time.monotonic() + DEADLINE
        while time.monotonic() < end:
            if self.client.set(LOCK, token, nx=True, px=5_000):
                try:  # the one before us may have been faster: look once more
                    return self.client.get(KEY) or self.load(life)
                finally:
                    self.client.eval(RELEASE, 1, LOCK, token)
            time.sleep(0.005)
            found: Any = self.client.get(KEY)
            if found:
                return found
        return self.load(life)  # rather one query more than no answer

    def unprotected(self) -> tuple[str, bool]:
        """Whoever finds nothing asks the database."""
        found: Any = self.client.get(KEY)
        self.missed.wait(DEADLINE)
        return found or self.load(), False

    def single_flight(self, flight: Flight) -> tuple[str, bool]:
        """Whoever finds nothing joins the query of its process."""
        found: Any = self.client.get(KEY)
        self.missed.wait(DEADLINE)
        return found or flight.result(self.load), False

    def locked(self) -> tuple[str, bool]:
        """Whoever finds nothing asks under the lock."""
        found: Any = self.client.get(KEY)
        self.missed.wait(DEADLINE)
        return found or self.load_alone(), False

    def old_copy(self) -> tuple[str, bool]:
        """Whoever is first to see that the copy is old renews it; the others use it."""
        both: Any = self.client.mget(KEY, FRESH)
        found, fresh = both
        self.missed.wait(DEADLINE)
        if found is None:
            return self.load_alone(HOUR), False  # there is no old copy yet
        if fresh or not self.client.set(FRESH, 1, nx=True, ex=MINUTE):
            return found, not fresh
        return self.load(HOUR), False


def rush(
    reader: Reader, ways: Sequence[Callable[[], tuple[str, bool]]]
) -> tuple[int, int]:
    """All clients at once: queries to the database, and how many got an old copy."""
    before = reader.database.queries
    with ThreadPoolExecutor(CLIENTS) as pool:
        running = [pool.submit(way) for way in ways]
        old = sum(was_old for _, was_old in [each.result() for each in running])
    return reader.database.queries - before, old


def compare(client: valkey.Valkey) -> list[str]:
    """The four ways, a line each."""
    reader = Reader(client, Database())
    client.delete(KEY, LOCK, FRESH)
    try:
        first, _ = rush(reader, [reader.unprotected] * CLIENTS)
        client.delete(KEY)
        flights = [Flight() for _ in range(PROCESSES)]
        shared = [lambda f=flight: reader.single_flight(f) for flight in flights]
        second, _ = rush(reader, shared * (CLIENTS // PROCESSES))
        client.delete(KEY)
        third, _ = rush(reader, [reader.locked] * CLIENTS)
        fourth, old = rush(reader, [reader.old_copy] * CLIENTS)
    finally:
        client.delete(KEY, LOCK, FRESH)
    return [
        f"no protection:      {first:2} queries",
        f"single flight:      {second:2} queries from {PROCESSES} processes",
        f"lock in Valkey:     {third:2} query",
        f"old copy meanwhile: {fourth:2} query, {old} clients had nothing to wait for",
    ]


def main() -> int:
    """Run the rush on the training server; return the exit status."""
    client = valkey.Valkey(host="127.0.0.1", port=6379, decode_responses=True)
    with client:
        try:
            print("\n".join(compare(client)))
        except valkey.ConnectionError as error:
            print(f"Cannot reach Valkey: {error}", file=sys.stderr)
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
