"""Measure how long KEYS and one step of SCAN block, as the keys grow in number."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from itertools import pairwise
from typing import NamedTuple

import valkey

PREFIX = "keys_cost:"
SIZES = (2_000, 20_000, 200_000)
BATCH = 1_000
TRIES = 5


class Cost(NamedTuple):
    """What commands cost the server, in microseconds: the best of a few tries."""

    there: int
    """How many keys there were."""
    keys: int
    """For KEYS."""
    scan: int
    """For one step of SCAN."""


def spent(client: valkey.Valkey, command: str) -> int:
    """The microseconds that the server has spent on this command so far."""
    counted = client.info("commandstats").get(f"cmdstat_{command}", {})
    return int(counted.get("usec", 0))


def cheapest(client: valkey.Valkey, *command: str) -> int:
    """Run the command a few times; the smallest of what the server spent on it."""
    name = command[0].lower()
    costs = []
    for _ in range(TRIES):
        before = spent(client, name)
        client.execute_command(*command)
        costs.append(spent(client, name) - before)
    return min(costs)


def names(start: int, stop: int) -> Iterator[list[str]]:
    """The names of our keys from number ``start`` up to ``stop``, in batches."""
    for first in range(start, stop, BATCH):
        last = min(first + BATCH, stop)
        yield [f"{PREFIX}{number}" for number in range(first, last)]


def measure(client: valkey.Valkey, sizes: tuple[int, ...] = SIZES) -> list[Cost]:
    """Fill the server up to each size, measure, and take our keys away again."""
    costs = []
    filled = 0
    try:
        for size in sizes:
            for batch in names(filled, size):
                client.mset(dict.fromkeys(batch, "x"))
            filled = size
            # The pattern fits no key: this is the price of looking, not of the answer.
            keys = cheapest(client, "KEYS", "nothing:*")
            scan = cheapest(client, "SCAN", "0")
            costs.append(Cost(size, keys, scan))
    finally:
        for batch in names(0, max(sizes)):
            client.unlink(*batch)
    return costs


def report(costs: list[Cost]) -> str:
    """The measurements, and what they show."""
    most = costs[-1]
    growing = all(more.keys > 5 * less.keys for less, more in pairwise(costs))
    grows = "yes" if growing else "no"
    steady = "yes" if 100 * most.scan < most.keys else "no"
    return "\n".join(
        [
            *(f"{c.there:6} keys: KEYS {c.keys:5} microseconds" for c in costs),
            f"{most.there:6} keys: SCAN {most.scan:5} microseconds for one step",
            f"each tenfold of keys takes KEYS more than 5 times as long: {grows}",
            f"in the end one SCAN step takes less than 1/100 of KEYS: {steady}",
        ]
    )


def main() -> int:
    """Measure the training server; return the exit status."""
    client = valkey.Valkey(host="127.0.0.1", port=6379, decode_responses=True)
    with client:
        try:
            print(report(measure(client)))
        except valkey.ConnectionError as error:
            print(f"Cannot reach Valkey: {error}", file=sys.stderr)
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
