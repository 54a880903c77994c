"""Handle a stream's entries in a group; take over what a dead worker left behind."""

from __future__ import annotations

import logging
import signal
import sys
from collections.abc import Callable

import valkey

STREAM, GROUP, DEAD = "orders", "booking", "orders:dead"
BATCH = 10
ATTEMPTS = 3  # after so many deliveries an entry is put aside
PATIENCE = 30_000  # ms; must be more than handling a whole batch can take
WAIT = 1_000  # ms to wait for new entries before looking for abandoned ones again

Fields = dict[str, str]
Handle = Callable[[valkey.Valkey, Fields], None]
log = logging.getLogger("worker")


def prepare(client: valkey.Valkey) -> None:
    """Create the group, from the stream's beginning, unless it is there."""
    try:
        client.xgroup_create(STREAM, GROUP, id="0", mkstream=True)
    except valkey.ResponseError as error:
        if not str(error).startswith("BUSYGROUP"):
            raise


def book(client: valkey.Valkey, fields: Fields) -> None:
    """Book an order under its number: twice has the same effect as once."""
    client.hset("bookings", fields["order"], int(fields["cents"]))


class Worker:
    """One consumer of the group. Every name must be used by one worker at a time."""

    def __init__(self, client: valkey.Valkey, name: str, handle: Handle = book) -> None:
        self.client = client
        self.name = name
        self.handle = handle
        self.cursor = "0-0"
        self.handled = 0
        self.running = True

    def stop(self, *_: object) -> None:
        """End after the batch at hand; fit to be a signal handler."""
        self.running = False

    def resume(self) -> None:
        """Finish what this name was given before it was restarted, one by one."""
        last = "0"
        while entries := self.read(last, None, count=1):
            self.work(entries)
            last = entries[-1][0]

    def round(self, patience: int = PATIENCE, wait: int = WAIT) -> int:
        """Take an abandoned entry, or else new ones; return how many they were.

        Only one, because it may be what killed its worker. If it kills this one as
        well, no other entry has been handed out once more for nothing.
        """
        self.cursor, entries, deleted = self.client.xautoclaim(
            STREAM, GROUP, self.name, patience, self.cursor, count=1
        )
        if deleted:
            log.warning("deleted before they were handled: %s", deleted)
        if not entries:  # wait only if the whole list has been looked through
            entries = self.read(">", wait if self.cursor == "0-0" else None)
        self.work(entries)
        return len(entries)

    def read(
        self, after: str, wait: int | None, count: int = BATCH
    ) -> list[tuple[str, Fields]]:
        """Up to a batch: new entries (``>``), or this consumer's own pending ones."""
        reply = self.client.xreadgroup(GROUP, self.name, {STREAM: after}, count, wait)
        return reply[0][1] if reply else []

    def work(self, entries: list[tuple[str, Fields]]) -> None:
        """Handle each entry, then acknowledge it: in this order, one by one."""
        for entry, fields in entries:
            if not fields:
                log.warning("deleted before it was handled: %s", entry)
                self.client.xack(STREAM, GROUP, entry)
            elif self.deliveries(entry) > ATTEMPTS:
                self.put_aside(entry, fields)
            else:
                self.attempt(entry, fields)

    def attempt(self, entry: str, fields: Fields) -> None:
        """Handle the entry. If that fails it stays pending, and is tried again."""
        try:
            self.handle(self.client, fields)
        except (valkey.ConnectionError, valkey.TimeoutError):
            raise  # not the entry's fault
        except Exception:  # whatever the handler does, the other entries go on
            log.exception("%s failed", entry)
        else:
            self.handled += 1
            self.client.xack(STREAM, GROUP, entry)

    def deliveries(self, entry: str) -> int:
        """How often the entry has been handed out, this time included."""
        found = self.client.xpending_range(STREAM, GROUP, entry, entry, 1)
        return found[0]["times_delivered"] if found else 0

    def put_aside(self, entry: str, fields: Fields) -> None:
        """Move the entry to the dead letters: both or neither, in a transaction."""
        pipeline = self.client.pipeline(transaction=True)
        pipeline.xadd(DEAD, {**fields, "id": entry, "worker": self.name})
        pipeline.xack(STREAM, GROUP, entry)
        pipeline.execute()


def run(client: valkey.Valkey, worker: Worker, *, drain: bool) -> None:
    """Work until told to stop; if ``drain``, until nothing is pending or new."""
    prepare(client)
    worker.resume()
    while worker.running:
        done = worker.round(wait=1 if drain else WAIT)
        if drain and not done and not client.xpending(STREAM, GROUP)["pending"]:
            return


def main(arguments: list[str]) -> int:
    """Work on the training server: order_worker.py NAME [--drain]."""
    logging.basicConfig(format="%(levelname)s %(message)s", level=logging.INFO)
    drain = "--drain" in arguments
    name = next((each for each in arguments if each != "--drain"), "worker-1")
    client = valkey.Valkey(host="127.0.0.1", port=6379, decode_responses=True)
    worker = Worker(client, name)
    for each in (signal.SIGINT, signal.SIGTERM):  # Ctrl-C, docker stop
        signal.signal(each, worker.stop)
    with client:
        try:
            run(client, worker, drain=drain)
        except (valkey.ConnectionError, valkey.TimeoutError) as error:
            # What was being handled stays pending; whoever starts us starts us again.
            print(f"Cannot reach Valkey: {error}", file=sys.stderr)
            return 1
    print(f"{name} handled {worker.handled}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
