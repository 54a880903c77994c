"""Sell the tickets of an event: hold them while the buyer pays, then sell or free."""

from __future__ import annotations

import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import valkey

LIBRARY = Path(__file__).with_name("tickets.lua")


class SoldOutError(Exception):
    """There are not so many tickets."""


class Event:
    """The tickets of one event. The rules are functions in the server."""

    def __init__(self, client: valkey.Valkey, name: str) -> None:
        self._client = client
        base = f"event:{{{name}}}"  # in a cluster: the same hash slot for all three
        self.keys = (f"{base}:free", f"{base}:orders", f"{base}:due")

    def _call(self, function: str, *arguments: str | int, write: bool = True) -> int:
        """Call a function; install the library first if the server has none yet."""
        call = self._client.fcall if write else self._client.fcall_ro
        try:
            return call(function, len(self.keys), *self.keys, *arguments)
        except valkey.ResponseError as error:
            if "Function not found" not in str(error):
                raise
        install(self._client)
        return call(function, len(self.keys), *self.keys, *arguments)

    def open(self, tickets: int) -> None:
        """Begin to sell, without any orders."""
        pipeline = self._client.pipeline()  # MULTI and EXEC
        pipeline.delete(*self.keys)
        pipeline.set(self.keys[0], tickets)
        pipeline.execute()

    def reserve(self, order: str, count: int, seconds: float = 300) -> None:
        """Hold tickets for an order; may be repeated after a lost reply.

        Raises:
            SoldOutError: there are not enough of them.
        """
        try:
            self._call("tickets_reserve", order, count, round(seconds * 1000))
        except valkey.ResponseError as error:
            if str(error).startswith("SOLDOUT"):
                raise SoldOutError(order) from None
            raise

    def confirm(self, order: str) -> int:
        """The buyer paid. How many tickets the order has now: 0 if it was too late.

        May be repeated after a lost reply: a paid order stays paid.
        """
        return self._call("tickets_confirm", order)

    def cancel(self, order: str) -> int:
        """The buyer gave up. How many tickets that freed: 0 if they were paid."""
        return self._call("tickets_cancel", order)

    def left(self) -> int:
        """How many tickets can be reserved now."""
        return self._call("tickets_left", write=False)


def install(client: valkey.Valkey) -> None:
    """Load the library, in place of the version that may be there."""
    client.function_load(LIBRARY.read_text("utf-8"), replace=True)


def ask(event: Event, order: str) -> bool:
    """Try to reserve two tickets."""
    try:
        event.reserve(order, 2)
    except SoldOutError:
        return False
    return True


def demonstrate(client: valkey.Valkey) -> None:
    """Thirty orders at once for two tickets each, of which there are 15."""
    install(client)
    event = Event(client, "concert")
    event.open(15)
    orders = [f"order-{number}" for number in range(30)]
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda order: ask(event, order), orders))
    held = [order for order, got in zip(orders, answers, strict=True) if got]
    print(f"{len(held)} of {len(orders)} orders hold tickets, {event.left()} left")
    freed = event.cancel(held.pop())
    sold = sum(event.confirm(order) for order in held)
    print(f"{sold} sold, {freed} given back, {event.left()} left")


def main() -> int:
    """Sell on the training server; return the exit status."""
    client = valkey.Valkey(host="127.0.0.1", port=6379, decode_responses=True)
    with client:
        try:
            demonstrate(client)
        except valkey.ConnectionError as error:
            print(f"Cannot reach Valkey: {error}", file=sys.stderr)
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
