"""An order that nobody can book: watch it fail, and be put aside."""

from __future__ import annotations

import logging
import sys

import order_worker as orders
import valkey

ROUNDS = 5
KEYS = ("orders", "orders:dead", "bookings")


def rehearse(client: valkey.Valkey) -> None:
    """Add a bad order and a good one, work for a few rounds, and report."""
    client.delete(*KEYS)
    orders.prepare(client)
    client.xadd(orders.STREAM, {"order": 201, "cents": "12,50"}, id="1-0")
    client.xadd(orders.STREAM, {"order": 202, "cents": 1250}, id="2-0")
    worker = orders.Worker(client, "ada")
    for number in range(1, ROUNDS + 1):
        worker.round(patience=0, wait=1)  # no patience: nobody else is at work
        pending = client.xpending_range(orders.STREAM, orders.GROUP, "-", "+", 10)
        counts = {each["message_id"]: each["times_delivered"] for each in pending}
        print(f"round {number}: pending, with deliveries: {counts or 'nothing'}")
    print(f"booked: {client.hgetall('bookings')}")


def main() -> int:
    """Rehearse on the training server; return the exit status."""
    logging.disable()  # the failures are expected here
    client = valkey.Valkey(host="127.0.0.1", port=6379, decode_responses=True)
    with client:
        try:
            rehearse(client)
        except valkey.ConnectionError as error:
            print(f"Cannot reach Valkey: {error}", file=sys.stderr)
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
