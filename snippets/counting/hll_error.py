"""Measure how far HyperLogLog is off, against a set that knows the truth."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import valkey

SIZES = (100, 1_000, 10_000, 100_000)
BATCH = 1_000
STANDARD_ERROR = 1.04 / 16_384**0.5  # of an estimate from 16,384 registers: 0.81 %
ESTIMATE, TRUTH = "hll_error:estimate", "hll_error:truth"


class Point(NamedTuple):
    """One measurement."""

    true: int
    """How many different elements the set holds."""
    estimate: int
    """How many PFCOUNT believes there were."""
    hll_bytes: int
    set_bytes: int

    @property
    def error(self) -> float:
        """The error as a fraction of the truth: -0.01 is one per cent too low."""
        return (self.estimate - self.true) / self.true


def names(start: int, stop: int, prefix: str) -> Iterator[list[str]]:
    """Different names, from number ``start`` up to ``stop``, in batches."""
    for first in range(start, stop, BATCH):
        yield [f"{prefix}{n}" for n in range(first, min(first + BATCH, stop))]


def measure(
    client: valkey.Valkey, sizes: Sequence[int] = SIZES, prefix: str = "rider:"
) -> list[Point]:
    """Grow a HyperLogLog and a set side by side, and compare them at each size."""
    points, filled = [], 0
    client.delete(ESTIMATE, TRUTH)
    try:
        for size in sizes:
            pipeline = client.pipeline(transaction=False)
            for batch in names(filled, size, prefix):
                pipeline.pfadd(ESTIMATE, *batch)
                pipeline.sadd(TRUTH, *batch)
            pipeline.execute()
            filled = size
            points.append(
                Point(
                    true=client.scard(TRUTH),
                    estimate=client.pfcount(ESTIMATE),
                    hll_bytes=client.memory_usage(ESTIMATE, samples=0),
                    set_bytes=client.memory_usage(TRUTH, samples=0),
                )
            )
    finally:
        client.unlink(ESTIMATE, TRUTH)
    return points


def report(points: Sequence[Point]) -> str:
    """The measurements as a table, and whether the errors are as promised."""
    lines = [f"{'true':>7} {'estimate':>9} {'error':>8} {'HLL':>9} {'set':>11}"]
    lines += [
        f"{p.true:7} {p.estimate:9} {p.error:+8.2%} {p.hll_bytes:7} B {p.set_bytes:9} B"
        for p in points
    ]
    limit = 3 * STANDARD_ERROR
    within = "yes" if all(abs(p.error) <= limit for p in points) else "no"
    lines.append(f"all within three standard errors ({limit:.2%}): {within}")
    return "\n".join(lines)


def main() -> int:
    """Measure on the training server; return the exit status."""
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
