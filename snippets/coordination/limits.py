"""Four rate limiters, and what they let through of the same requests."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import valkey

LIBRARY = Path(__file__).with_name("limits.lua")
FUNCTIONS = ("limit_fixed", "limit_sliding", "limit_weighted", "limit_bucket")
LIMIT, WINDOW = 100, 60_000  # a hundred requests a minute
NOON = 1_767_268_800_000  # 1 January 2026, 12:00, in milliseconds since 1970
# Three seconds around 12:02, the end of a minute.
BURST = range(NOON + 118_500, NOON + 121_500, 10)


class Limiter:
    """So many requests in so many milliseconds, for each caller."""

    def __init__(
        self, client: valkey.Valkey, function: str, limit: int, window: int
    ) -> None:
        self._client = client
        self._function = function
        self._rule = (limit, window)

    def key(self, caller: str) -> str:
        """Where the state of a caller is kept."""
        return f"{self._function}:{caller}"

    def wait(self, caller: str, at: int | None = None) -> int:
        """0 if a request may pass now, otherwise for how many milliseconds to wait.

        With ``at``, a time in milliseconds, the server's clock is not asked.
        """
        key, times = self.key(caller), () if at is None else (at,)
        try:
            return self._client.fcall(self._function, 1, key, *self._rule, *times)
        except valkey.ResponseError as error:
            if "Function not found" not in str(error):
                raise
        install(self._client)
        return self._client.fcall(self._function, 1, key, *self._rule, *times)


def install(client: valkey.Valkey) -> None:
    """Load the library, in place of the version that may be there."""
    client.function_load(LIBRARY.read_text("utf-8"), replace=True)


def requests() -> list[int]:
    """Five minutes: one request a second, and a burst of 300 in three seconds."""
    return sorted([*range(NOON, NOON + 300_000, 1_000), *BURST])


def busiest(moments: Sequence[int], span: int) -> int:
    """The most of these moments that lie in one span of so many milliseconds."""
    most = first = 0
    for last, moment in enumerate(moments):
        while moments[first] <= moment - span:
            first += 1
        most = max(most, last - first + 1)
    return most


class Outcome(NamedTuple):
    """What a limiter did with the requests."""

    passed: int
    worst: int
    """The most that passed in any minute."""
    burst: int
    """How many passed in the three seconds of the burst."""
    memory: int
    """The bytes of the caller's state afterwards."""


def replay(client: valkey.Valkey, function: str) -> Outcome:
    """Send the requests with their own times, so that five minutes take none."""
    limiter = Limiter(client, function, LIMIT, WINDOW)
    key = limiter.key("replay")
    client.delete(key)
    passed = [moment for moment in requests() if limiter.wait("replay", moment) == 0]
    memory = client.memory_usage(key)
    client.delete(key)
    burst = sum(BURST.start <= moment < BURST.stop for moment in passed)
    return Outcome(len(passed), busiest(passed, WINDOW), burst, memory)


def main() -> int:
    """Compare the limiters on the training server; return the exit status."""
    client = valkey.Valkey(host="127.0.0.1", port=6379, decode_responses=True)
    with client:
        try:
            install(client)
            print(f"{len(requests())} requests    passed  worst minute  burst  bytes")
            for name in FUNCTIONS:
                passed, worst, burst, memory = replay(client, name)
                print(f"{name:15} {passed:6} {worst:13} {burst:6} {memory:6}")
        except valkey.ConnectionError as error:
            print(f"Cannot reach Valkey: {error}", file=sys.stderr)
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
