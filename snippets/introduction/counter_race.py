"""Count to 800 with eight clients: once with INCR, once with GET and SET."""

from __future__ import annotations

import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import valkey

CLIENTS = 8
ROUNDS = 100
DEADLINE = 10.0  # seconds after which a thread no longer waits for the others


def with_incr(client: valkey.Valkey, key: str) -> None:
    """Count with one command: the server reads, adds and writes."""
    for _ in range(ROUNDS):
        client.incr(key)


def with_get_and_set(client: valkey.Valkey, key: str, together: Barrier) -> None:
    """Count with two commands: between them, the other clients do the same.

    The barrier makes the unlucky moment happen in every round, so that the loss
    is the same on every machine. Without it the loss depends on chance, which is
    harder to find, not better.
    """
    for _ in range(ROUNDS):
        value = int(client.get(key) or 0)
        together.wait(DEADLINE)  # everybody has read, nobody has written
        client.set(key, value + 1)
        together.wait(DEADLINE)  # everybody has written


Count = Callable[[valkey.Valkey], None]


def run(client: valkey.Valkey, key: str, count: Count) -> int:
    """Let all clients count from zero at once; return where the counter stands."""
    client.delete(key)
    try:
        with ThreadPoolExecutor(CLIENTS) as pool:
            for finished in [pool.submit(count, client) for _ in range(CLIENTS)]:
                finished.result()  # raises here what was raised in the thread
        return int(client.get(key) or 0)
    finally:
        client.delete(key)


def compare(client: valkey.Valkey) -> tuple[int, int]:
    """The counter after INCR, and the counter after GET and SET."""
    together = Barrier(CLIENTS)
    one, two = "race:one-command", "race:two-commands"
    return (
        run(client, one, lambda each: with_incr(each, one)),
        run(client, two, lambda each: with_get_and_set(each, two, together)),
    )


def main() -> int:
    """Run the race on the training server; return the exit status."""
    # Threads may share this object: each command takes its own connection.
    client = valkey.Valkey(host="127.0.0.1", port=6379, decode_responses=True)
    with client:
        try:
            incremented, read_and_written = compare(client)
        except valkey.ConnectionError as error:
            print(f"Cannot reach Valkey: {error}", file=sys.stderr)
            return 1
    expected = CLIENTS * ROUNDS
    print(f"expected:     {expected}")
    print(f"INCR:         {incremented}, lost {expected - incremented}")
    print(f"GET then SET: {read_and_written}, lost {expected - read_and_written}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
