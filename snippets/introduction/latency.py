"""Measure how long one GET takes: in the server, and as a client sees it."""

from __future__ import annotations

import sys
import time
from dataclasses import dataclass

import valkey

KEY = "latency:probe"
BATCH = 100


@dataclass(frozen=True)
class Latency:
    """One measurement, in microseconds per GET."""

    server: float
    """What the server says it spent on executing the command."""
    round_trip: float
    """What the client waited, from the call to the reply."""
    pipelined: float
    """The same per command when it sent a hundred at once."""


def undisturbed(times: list[float]) -> float:
    """What the fastest tenth took at most: the rest waited for other programs, too."""
    return sorted(times)[len(times) // 10]


def executed(client: valkey.Valkey, command: str) -> tuple[int, int]:
    """How often the server has run this command, and its microseconds for it."""
    counted = client.info("commandstats").get(f"cmdstat_{command}", {})
    return int(counted.get("calls", 0)), int(counted.get("usec", 0))


def measure(client: valkey.Valkey, repeats: int = 3_000) -> Latency:
    """Run the same GET so many times one by one, then as often in batches."""
    client.set(KEY, "x" * 100)
    try:
        calls_before, spent_before = executed(client, "get")
        waits = []
        for _ in range(repeats):
            start = time.perf_counter()
            client.get(KEY)
            waits.append(time.perf_counter() - start)
        calls_after, spent_after = executed(client, "get")

        batches = []
        for _ in range(repeats // BATCH):
            start = time.perf_counter()
            pipeline = client.pipeline(transaction=False)
            for _ in range(BATCH):
                pipeline.get(KEY)
            pipeline.execute()
            batches.append((time.perf_counter() - start) / BATCH)
    finally:
        client.delete(KEY)
    return Latency(
        server=(spent_after - spent_before) / (calls_after - calls_before),
        round_trip=undisturbed(waits) * 1e6,
        pipelined=undisturbed(batches) * 1e6,
    )


def report(latency: Latency) -> str:
    """The measurement in words."""
    wait = latency.round_trip
    alone = f"{1e6 / wait:.0f} requests per second"
    batched = f"{1e6 / latency.pipelined:.0f} requests per second"
    outside = "yes" if wait > 5 * latency.server else "no"
    worth_it = "yes" if wait > 2 * latency.pipelined else "no"
    return "\n".join(
        [
            f"in the server, executing one GET: {latency.server:.1f} microseconds",
            f"in this program, waiting for it:  {wait:.0f} microseconds, or {alone}",
            f"with {BATCH} GETs on each trip:       {batched}",
            f"more than 4/5 of the wait is spent outside the command: {outside}",
            f"pipelining more than halves the cost of a GET: {worth_it}",
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
