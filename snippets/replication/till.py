"""A till that goes on selling when the primary dies, and counts what was lost."""

from __future__ import annotations

import sys
import threading
import time
from dataclasses import dataclass, field

import valkey

SENTINELS = [("127.0.0.1", port) for port in (26379, 26380, 26381)]
NAME = "mymaster"
PATIENCE = 60.0  # seconds for one sale
RETRY_AFTER = 0.05


class NotConfirmedError(Exception):
    """Too few replicas have the sale yet."""


@dataclass
class Till:
    """Numbered sales in one hash. The same number may be recorded twice: no harm."""

    client: valkey.Valkey
    key: str
    copies: int = 0  # replicas that must have a sale before it counts
    acknowledged: list[int] = field(default_factory=list)
    failed_tries: int = 0
    longest_gap: float = 0.0

    def record(self, number: int) -> None:
        """Record a sale; return when it counts.

        Raises:
            TimeoutError: it did not within PATIENCE. It may be there or not.
        """
        began = time.monotonic()
        while True:
            try:
                self._try(number)
                break
            except (valkey.ConnectionError, valkey.TimeoutError, NotConfirmedError):
                pass  # away, or a new primary is being looked for
            except valkey.ResponseError as error:
                if not str(error).startswith(("NOREPLICAS", "READONLY", "LOADING")):
                    raise
            self.failed_tries += 1
            if time.monotonic() - began > PATIENCE:
                raise TimeoutError(f"sale {number} could not be recorded")
            time.sleep(RETRY_AFTER)
        self.acknowledged.append(number)
        self.longest_gap = max(self.longest_gap, time.monotonic() - began)

    def _try(self, number: int) -> None:
        # One connection for both, or WAIT would speak about somebody else's writes.
        with self.client.pipeline(transaction=False) as pipe:
            pipe.hset(self.key, str(number), "paid")
            if self.copies:
                pipe.wait(self.copies, 500)
            replies = pipe.execute(raise_on_error=False)
        for reply in replies:
            if isinstance(reply, Exception):
                raise reply
        if self.copies and replies[-1] < self.copies:
            raise NotConfirmedError

    def sell(self, stop: threading.Event, pause: float = 0.001) -> None:
        """Record one sale after another until told to stop."""
        while not stop.wait(pause):
            self.record(len(self.acknowledged) + 1)

    def lost(self) -> list[int]:
        """The acknowledged sales that the primary of now does not have."""
        kept = {int(number) for number in self.client.hkeys(self.key)}
        return [number for number in self.acknowledged if number not in kept]


def connect() -> valkey.Valkey:
    """A client that asks the Sentinels where the primary is, each time it connects."""
    sentinel = valkey.Sentinel(SENTINELS, socket_timeout=0.5)
    client: valkey.Valkey = sentinel.master_for(
        NAME, decode_responses=True, socket_timeout=1.0
    )
    return client


def main() -> int:
    """Record a hundred sales, each on one replica at least; return the exit status."""
    client = connect()
    try:
        client.delete("sales:main")
        till = Till(client, "sales:main", copies=1)
        for number in range(1, 101):
            till.record(number)
        lost = till.lost()
    except (valkey.ValkeyError, TimeoutError) as error:
        print(f"No primary can be found: {error}", file=sys.stderr)
        return 1
    finally:
        client.close()
    print(f"{len(till.acknowledged)} sales recorded, {len(lost)} lost")
    return 0


if __name__ == "__main__":
    sys.exit(main())
