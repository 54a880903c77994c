"""Move money between two accounts with eight clients: with WATCH, and with a script."""

from __future__ import annotations

import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from itertools import count
from threading import Barrier
from typing import NamedTuple

import valkey

CLIENTS, ROUNDS = 8, 50
BALANCE = 300  # less than what the clients ask for together: 400
DEADLINE = 10.0  # seconds after which a thread no longer waits for the others
ADA, BEN = "transfer:ada", "transfer:ben"
LOST = (valkey.ConnectionError, valkey.TimeoutError)

SCRIPT = """
if tonumber(server.call('GET', KEYS[1]) or 0) < tonumber(ARGV[1]) then
    return 0
end
server.call('DECRBY', KEYS[1], ARGV[1])
server.call('INCRBY', KEYS[2], ARGV[1])
return 1
"""


class Done(NamedTuple):
    """What became of one transfer, or of many."""

    paid: int
    refused: int
    retries: int
    """How often somebody else was faster."""


def watched(
    client: valkey.Valkey, amount: int, pause: Callable[[], object] = lambda: None
) -> Done:
    """Read, decide, and write only if the account was not changed in between.

    ``pause`` is called where a conflict can happen: after reading, before writing.
    A connection lost at ``EXEC`` is no conflict: the coins may have moved already.
    """
    retries = 0
    while True:
        with client.pipeline() as pipeline:  # one connection; no longer watched at exit
            try:
                pipeline.watch(ADA)
                balance = int(pipeline.get(ADA) or 0)
                pause()
                if balance < amount:
                    return Done(0, 1, retries)
                pipeline.multi()
                pipeline.decrby(ADA, amount)
                pipeline.incrby(BEN, amount)
                pipeline.execute()
            except valkey.WatchError as error:
                if isinstance(error.__context__, LOST):
                    raise error.__context__ from None
                retries += 1
            else:
                return Done(1, 0, retries)


def scripted(client: valkey.Valkey, amount: int) -> Done:
    """Let the server decide and write in one step: nobody can be faster."""
    paid = client.register_script(SCRIPT)(keys=[ADA, BEN], args=[amount])
    return Done(paid, 1 - paid, 0)


def compete(
    client: valkey.Valkey, first: Callable[[], Done], move: Callable[[], Done]
) -> tuple[Done, tuple[int, ...]]:
    """Let everybody pay from one account; the sums, and the balances at the end."""

    def pay() -> list[Done]:
        return [first(), *(move() for _ in range(ROUNDS - 1))]

    client.mset({ADA: BALANCE, BEN: 0})
    try:
        with ThreadPoolExecutor(CLIENTS) as pool:
            jobs = [pool.submit(pay) for _ in range(CLIENTS)]
            done = [each for job in jobs for each in job.result()]
        balances = tuple(int(balance) for balance in client.mget(ADA, BEN))
        return Done(*map(sum, zip(*done, strict=True))), balances
    finally:
        client.delete(ADA, BEN)


def first_together(client: valkey.Valkey, together: Barrier) -> Done:
    """A transfer whose first try writes only when all clients have read."""
    tries = count(1)

    def pause() -> None:
        if next(tries) == 1:
            together.wait(DEADLINE)

    return watched(client, 1, pause)


def main() -> int:
    """Compare both ways on the training server; return the exit status."""
    client = valkey.Valkey(host="127.0.0.1", port=6379, decode_responses=True)
    start = Barrier(CLIENTS)
    ways = {
        "WATCH": (lambda: first_together(client, start), lambda: watched(client, 1)),
        "script": (lambda: scripted(client, 1), lambda: scripted(client, 1)),
    }
    with client:
        try:
            for name, (first, move) in ways.items():
                done, (ada, ben) = compete(client, first, move)
                print(f"{name:7} {done.paid} paid, {done.refused} refused,", end=" ")
                print(f"Ada {ada}, Ben {ben}, tried again {done.retries} times")
        except LOST as error:
            print(f"Cannot reach Valkey: {error}", file=sys.stderr)
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
