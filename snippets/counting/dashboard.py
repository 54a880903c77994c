"""Who came? Unique riders and visitors a day and a week, and how many return."""

from __future__ import annotations

import random
import sys
from collections.abc import Sequence
from typing import NamedTuple

import valkey
from valkey.backoff import ExponentialBackoff
from valkey.retry import Retry

WEEK = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
KEEP = 40 * 24 * 60 * 60  # seconds for which a day's keys are kept
HIGHEST = 10_000_000  # a rider's number beyond this is a mistake, and a costly one
RIDERS, VISITORS = "dashboard:riders:", "dashboard:visitors:"


class Visit(NamedTuple):
    """One look at the site: always a cookie, and a rider's number if logged in."""

    cookie: str
    rider: int | None = None


def record(client: valkey.Valkey, day: str, visits: Sequence[Visit]) -> None:
    """Note visits, all or none. To note them twice is the same as once."""
    numbers = [visit.rider for visit in visits if visit.rider is not None]
    for number in numbers:
        if not 0 <= number <= HIGHEST:
            message = f"not a rider's number: {number}"
            raise ValueError(message)
    pipeline = client.pipeline(transaction=True)
    pipeline.pfadd(VISITORS + day, *(visit.cookie for visit in visits))
    for number in sorted(numbers, reverse=True):  # the largest first: it grows once
        pipeline.setbit(RIDERS + day, number, 1)
    pipeline.expire(VISITORS + day, KEEP)
    pipeline.expire(RIDERS + day, KEEP)
    pipeline.execute()


def combined(client: valkey.Valkey, operation: str, days: Sequence[str]) -> int:
    """How many riders came on any (OR) or on all (AND) of these days: exact."""
    result = f"{RIDERS}{operation}:{','.join(days)}"
    pipeline = client.pipeline(transaction=True)  # so nobody meets a half-done result
    pipeline.bitop(operation, result, *(RIDERS + day for day in days))
    pipeline.bitcount(result)
    pipeline.unlink(result)
    return int(pipeline.execute()[1])


def visitors(client: valkey.Valkey, days: Sequence[str]) -> int:
    """How many different cookies came on any of these days: an estimate."""
    return int(client.pfcount(*(VISITORS + day for day in days)))


def invent(seed: int) -> list[Visit]:
    """A day's visits, made up, and the same for the same seed."""
    dice = random.Random(seed)  # noqa: S311 - no secrets here
    people, known = 8_000, 2_000
    chosen = [dice.randrange(people) for _ in range(4_000)]
    return [Visit(f"cookie-{n}", n if n < known else None) for n in chosen]


def show(client: valkey.Valkey) -> None:
    """Print the dashboard."""
    first = combined(client, "OR", WEEK[:1])
    for day in WEEK:
        came = combined(client, "OR", [day])
        back = combined(client, "AND", [WEEK[0], day])
        share = back / first if first else 0.0
        print(
            f"{day}   {came:5} riders  {visitors(client, [day]):6} visitors"
            f"  {share:5.0%} of {WEEK[0]}'s riders"
        )
    faithful = combined(client, "AND", WEEK)
    came = combined(client, "OR", WEEK)
    print(f"week  {came:5} riders  {visitors(client, WEEK):6} visitors")
    print(f"{faithful} riders came every day")


def main() -> int:
    """Record a week on the training server and show it; return the exit status."""
    client = valkey.Valkey(
        host="127.0.0.1",
        port=6379,
        decode_responses=True,
        socket_timeout=5,  # seconds; without it a lost reply is waited for without end
        retry=Retry(ExponentialBackoff(cap=0.2, base=0.01), 5),
        retry_on_error=[valkey.ConnectionError, valkey.TimeoutError],
    )
    with client:
        try:
            for seed, day in enumerate(WEEK):
                record(client, day, invent(seed))
            show(client)
        except (valkey.ConnectionError, valkey.TimeoutError) as error:
            print(f"Cannot reach Valkey: {error}", file=sys.stderr)
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
