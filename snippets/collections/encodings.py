"""Find where each collection changes its encoding, and what an element costs there."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import NamedTuple

import valkey

KEY = "encodings:probe"
LIMIT = 5_000  # elements after which to give up

Add = Callable[[valkey.client.Pipeline, int], object]
KINDS: dict[str, Add] = {
    "hash": lambda to, n: to.hset(KEY, f"field {n:04}", f"value {n:04}"),
    "set of numbers": lambda to, n: to.sadd(KEY, n),
    "set of words": lambda to, n: to.sadd(KEY, f"member {n:04}"),
    "sorted set": lambda to, n: to.zadd(KEY, {f"member {n:04}": n}),
    "list": lambda to, n: to.rpush(KEY, f"element {n:04}"),
}


class Switch(NamedTuple):
    """Where a collection's encoding changed."""

    compact: str
    """The encoding of the small collection."""
    size: int
    """How many elements it held at most."""
    roomy: str
    """The encoding after one element more."""
    before: int
    """Bytes an element, just before."""
    after: int
    """Bytes an element, just after."""


class NoSwitchError(RuntimeError):
    """The encoding did not change up to the limit."""


def grow(client: valkey.Valkey, add: Add, limit: int = LIMIT) -> Switch:
    """Add elements one by one until the encoding changes; leave nothing behind."""
    client.delete(KEY)
    compact, before = "", 0
    try:
        for size in range(1, limit + 1):
            trip = client.pipeline(transaction=False)
            add(trip, size)
            trip.object("ENCODING", KEY)
            trip.memory_usage(KEY, samples=0)  # 0: look at every element
            _, encoding, memory = trip.execute()
            if compact and encoding != compact:
                return Switch(compact, size - 1, encoding, before, memory // size)
            compact, before = encoding, memory // size
    finally:
        client.delete(KEY)
    raise NoSwitchError(f"{compact} with {limit} elements still")


def line(kind: str, switch: Switch) -> str:
    """One measurement in words."""
    change = f"{switch.compact} up to {switch.size}, then {switch.roomy}"
    return f"{kind:15} {change:33} {switch.before} -> {switch.after} bytes each"


def main() -> int:
    """Measure the training server; return the exit status."""
    client = valkey.Valkey(host="127.0.0.1", port=6379, decode_responses=True)
    with client:
        try:
            for kind, add in KINDS.items():
                print(line(kind, grow(client, add)))
        except valkey.ConnectionError as error:
            print(f"Cannot reach Valkey: {error}", file=sys.stderr)
            return 1
        except NoSwitchError as error:
            print(f"The limits of this server are higher: {error}", file=sys.stderr)
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
