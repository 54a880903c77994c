"""Count all keys and boil them down to one number, to compare data with data."""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import valkey

BATCH = 500

READ: dict[bytes, Callable[[Any, bytes], Any]] = {
    b"string": lambda pipe, key: pipe.get(key),
    b"hash": lambda pipe, key: pipe.hgetall(key),
    b"list": lambda pipe, key: pipe.lrange(key, 0, -1),
    b"set": lambda pipe, key: pipe.smembers(key),
    b"zset": lambda pipe, key: pipe.zrange(key, 0, -1, withscores=True),
    b"stream": lambda pipe, key: pipe.xrange(key),
}


class Fingerprint(NamedTuple):
    """What a data set looks like from afar."""

    keys: int
    expiring: int
    """How many of the keys have an end."""
    digest: str
    """Equal if keys, values and ends are equal, in whatever order they are stored."""


def canonical(kind: bytes, value: Any) -> str:
    """A value as text, the same for the same content: hashes and sets have no order."""
    if kind == b"hash":
        return repr(sorted(value.items()))
    return repr(sorted(value) if kind == b"set" else value)


def batches(client: valkey.Valkey) -> Iterator[list[bytes]]:
    """All keys, each once, some hundred at a time."""
    batch: list[bytes] = []
    for key in set(client.scan_iter(count=BATCH)):  # a scan may show a key twice
        batch.append(key)
        if len(batch) == BATCH:
            yield batch
            batch = []
    yield batch


def fingerprint(client: valkey.Valkey) -> Fingerprint:
    """Read everything in the client's database. Nobody may write meanwhile.

    Not looked at: consumer groups, ends of single hash fields, functions.

    Args:
        client: one that returns bytes, since values need not be text.

    Raises:
        valkey.ResponseError: a key changed its type while it was read.
    """
    keys = expiring = total = 0
    for batch in batches(client):
        pipe = client.pipeline(transaction=False)
        for key in batch:
            pipe.type(key)
            pipe.pexpiretime(key)
        facts = pipe.execute()
        kinds, ends = facts[::2], facts[1::2]
        there = [
            each for each in zip(batch, kinds, ends, strict=True) if each[1] in READ
        ]
        for key, kind, _ in there:
            READ[kind](pipe, key)
        for (key, kind, end), value in zip(there, pipe.execute(), strict=True):
            text = repr((key, kind, end, canonical(kind, value)))
            total += int.from_bytes(hashlib.sha256(text.encode()).digest())
            keys += 1
            expiring += end > 0
    # The sum of the digests does not depend on the order in which keys come.
    return Fingerprint(keys, expiring, f"{total % 2**256:064x}"[:16])


def main() -> int:
    """Print the fingerprint of the training server; return the exit status."""
    with valkey.Valkey(host="127.0.0.1", port=6379) as client:
        try:
            found = fingerprint(client)
        except valkey.ConnectionError as error:
            print(f"Cannot reach Valkey: {error}", file=sys.stderr)
            return 1
    print(f"keys {found.keys}, with an end {found.expiring}, digest {found.digest}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
