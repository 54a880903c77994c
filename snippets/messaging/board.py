"""A board of orders that is never wrong for long: a hash says what, a channel when."""

from __future__ import annotations

import sys
from collections.abc import Generator

import valkey
from valkey.backoff import ExponentialBackoff
from valkey.retry import Retry

ORDERS = "orders"  # the hash: an order and where it stands
CHANGED = "orders:changed"  # the channel: the name of an order, and nothing else
RETRIES = 10


def change(client: valkey.Valkey, order: str, state: str) -> int:
    """Note a new state and tell whoever listens; how many those were."""
    pipeline = client.pipeline()  # MULTI and EXEC: nobody is told before it is so
    pipeline.hset(ORDERS, order, state)
    pipeline.publish(CHANGED, order)
    return int(pipeline.execute()[1])


class Board:
    """What one screen shows."""

    def __init__(self, client: valkey.Valkey) -> None:
        self.client = client
        self.shown: dict[str, str] = {}
        self.loaded = 0
        """How often everything was read: once at first, once after each failure."""

    def load(self) -> None:
        """Read everything there is."""
        self.shown = self.client.hgetall(ORDERS)
        self.loaded += 1

    def follow(self) -> Generator[str, None, None]:
        """Keep the board right; yield what happened, for ever.

        The subscription is confirmed before the hash is read. So a change is either
        in what is read, or its message comes afterwards, or both: never neither.
        """
        with self.client.pubsub() as subscription:
            subscription.subscribe(CHANGED)
            for message in subscription.listen():
                if message["type"] == "subscribe":  # again after each lost connection
                    self.load()
                    yield "loaded"
                elif message["type"] == "message":
                    order = message["data"]
                    state = self.client.hget(ORDERS, order)  # the newest, not the told
                    if state is None:
                        self.shown.pop(order, None)
                    else:
                        self.shown[order] = state
                    yield order


def persistent() -> valkey.Valkey:
    """A client that makes a lost connection anew, with growing pauses between tries."""
    return valkey.Valkey(
        host="127.0.0.1",
        port=6379,
        decode_responses=True,
        retry=Retry(ExponentialBackoff(cap=1.0, base=0.01), RETRIES),
        retry_on_error=[valkey.ConnectionError],
    )


def demonstrate(client: valkey.Valkey) -> None:
    """Cut the board's connection between two changes, and look at the board."""
    client.delete(ORDERS)
    board = Board(client)
    happened = board.follow()
    next(happened)
    print("heard by", change(client, "order 17", "paid"))
    print(next(happened), "is", board.shown["order 17"])
    client.client_kill_filter(_type="pubsub")
    print("heard by", change(client, "order 17", "packed"))
    print(next(happened), "again: order 17 is", board.shown["order 17"])
    happened.close()


def main() -> int:
    """Run the demonstration on the training server; return the exit status."""
    with persistent() as client:
        try:
            demonstrate(client)
        except valkey.ConnectionError as error:
            print(f"Cannot reach Valkey: {error}", file=sys.stderr)
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
