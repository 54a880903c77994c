"""Write numbered entries, note which were acknowledged, and count what is missing."""

from __future__ import annotations

import sys
import time
from threading import Event, Thread
from typing import NamedTuple

import valkey
from valkey.backoff import NoBackoff
from valkey.retry import Retry

KEY = "journal"
PAUSE = 0.0005  # seconds after each entry: this is about a crash, not about load


def connect(port: int = 6379) -> valkey.Valkey:
    """A client that does not repeat a write by itself: twice would be counted twice."""
    once = Retry(NoBackoff(), 0)
    return valkey.Valkey(host="127.0.0.1", port=port, decode_responses=True, retry=once)


class Writer(Thread):
    """Appends 1, 2, 3, … to a list until it is told to stop, or the server is gone.

    A daemon thread: it does not keep the program alive.
    """

    def __init__(self, client: valkey.Valkey) -> None:
        super().__init__(daemon=True)
        self.client = client
        self.sent = 0
        """The last entry that was sent."""
        self.acknowledged = 0
        """The last entry that the server has confirmed."""
        self._enough = Event()

    def run(self) -> None:
        """Write one entry after the other, each after the reply to the one before."""
        while not self._enough.is_set():
            self.sent += 1
            try:
                self.client.rpush(KEY, self.sent)
            except valkey.ConnectionError:
                return  # nobody knows whether this entry was stored
            self.acknowledged = self.sent
            time.sleep(PAUSE)

    def stop(self) -> None:
        """Write no more, and return when the last reply is here."""
        self._enough.set()
        self.join()

    def reach(self, number: int) -> None:
        """Return when so many entries are acknowledged.

        Raises:
            valkey.ConnectionError: the server is gone before.
        """
        while self.acknowledged < number:
            if not self.is_alive() and self.acknowledged < number:
                raise valkey.ConnectionError(f"stopped at entry {self.acknowledged}")
            time.sleep(0.001)


class Audit(NamedTuple):
    """What is left of a journal."""

    acknowledged: int
    """How many entries the writer was told are stored."""
    stored: int
    """How many are there now."""
    in_order: bool
    """Whether these are the first ones, without a gap."""

    @property
    def lost(self) -> int:
        """Acknowledged entries that are not there. One too many is not a loss."""
        return max(0, self.acknowledged - self.stored)


def audit(client: valkey.Valkey, acknowledged: int) -> Audit:
    """Compare what is stored with what was acknowledged."""
    entries = [int(entry) for entry in client.lrange(KEY, 0, -1)]
    in_order = entries == list(range(1, len(entries) + 1))
    return Audit(acknowledged, len(entries), in_order)


def main() -> int:
    """Write 200 entries to the training server and audit; return the exit status."""
    with connect() as client:
        writer = Writer(client)
        try:
            client.delete(KEY)
            writer.start()
            writer.reach(200)
            writer.stop()
            found = audit(client, writer.acknowledged)
        except valkey.ConnectionError as error:
            print(f"Cannot reach Valkey: {error}", file=sys.stderr)
            return 1
    print(f"without a crash, lost: {found.lost}, in order: {found.in_order}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
