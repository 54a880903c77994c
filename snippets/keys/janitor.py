"""A janitor for the keyspace: what is there, what has no end, what can go."""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass

import valkey

BATCH = 500
ENDLESS, GONE = -1, -2  # what PTTL answers for a key without expiry, and for no key


@dataclass
class Share:
    """What the keys with one prefix come to."""

    keys: int = 0
    bytes: int = 0
    endless: int = 0
    """How many of them have no expiry."""


def batches(client: valkey.Valkey, pattern: str) -> Iterator[list[str]]:
    """The names of the keys that fit, a step of SCAN at a time.

    A name may come twice, and the key may be gone when the caller looks at it.
    """
    cursor = 0
    while True:
        cursor, names = client.scan(cursor, match=pattern, count=BATCH)
        if names:  # an empty step is not the end: only cursor 0 is
            yield names
        if cursor == 0:
            return


def starting_with(prefix: str) -> str:
    """The pattern for exactly this prefix, even if there is a * in it."""
    if not prefix:
        message = "an empty prefix would mean every key"
        raise ValueError(message)
    return re.sub(r"([*?\[\]\\])", r"\\\1", prefix) + "*"


def survey(client: valkey.Valkey) -> dict[str, Share]:
    """Count keys and bytes by what stands before the first colon."""
    shares: dict[str, Share] = {}
    seen: set[str] = set()  # costs this program about 100 bytes a key
    for names in batches(client, "*"):
        fresh = [name for name in dict.fromkeys(names) if name not in seen]
        seen.update(fresh)
        pipeline = client.pipeline(transaction=False)
        for name in fresh:
            pipeline.memory_usage(name)
            pipeline.pttl(name)
        replies = iter(pipeline.execute())
        for name, size, left in zip(fresh, replies, replies, strict=True):
            if size is None or left == GONE:  # since SCAN named it
                continue
            share = shares.setdefault(name.split(":")[0], Share())
            share.keys += 1
            share.bytes += size
            share.endless += left == ENDLESS
    return shares


def limit(client: valkey.Valkey, prefix: str, seconds: int) -> int:
    """Give the keys that have no expiry one, and leave the others alone."""
    limited = 0
    for names in batches(client, starting_with(prefix)):
        pipeline = client.pipeline(transaction=False)
        for name in names:
            pipeline.expire(name, seconds, nx=True)  # checks and acts in one command
        limited += sum(pipeline.execute())
    return limited


def remove(client: valkey.Valkey, prefix: str) -> int:
    """Unlink the keys with this prefix, a batch at a time; say how many there were."""
    found = batches(client, starting_with(prefix))
    return sum(client.unlink(*names) for names in found)


def report(shares: dict[str, Share]) -> str:
    """A table, the largest first."""
    lines = [f"{'prefix':10} {'keys':>6} {'no expiry':>9} {'bytes':>8}"]
    for name, share in sorted(shares.items(), key=lambda item: -item[1].bytes):
        shown = name.encode("utf-8", "backslashreplace").decode()
        counts = f"{share.keys:6} {share.endless:9} {share.bytes:8}"
        lines.append(f"{shown:10} {counts}")
    return "\n".join(lines)


def main(arguments: list[str] | None = None) -> int:
    """Do what the command line says; return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("survey")
    limiting = commands.add_parser("limit")
    limiting.add_argument("prefix")
    limiting.add_argument("seconds", type=int)
    commands.add_parser("remove").add_argument("prefix")
    options = parser.parse_args(arguments)
    client = valkey.Valkey(
        host="127.0.0.1",
        port=6379,
        decode_responses=True,
        encoding_errors="surrogateescape",  # a name may be any bytes
    )
    with client:
        try:
            if options.command == "survey":
                print(report(survey(client)))
            elif options.command == "limit":
                count = limit(client, options.prefix, options.seconds)
                print(f"{count} keys will expire")
            else:
                print(f"{remove(client, options.prefix)} keys removed")
        except (valkey.ConnectionError, ValueError) as error:
            print(f"Stopped: {error}", file=sys.stderr)
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
