"""Draw the errors of HyperLogLog that are kept in hll_error.csv."""

from __future__ import annotations

import csv
import math
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

DATA = Path(__file__).with_name("hll_error.csv")
STANDARD_ERROR = 1.04 / 16_384**0.5
MINUS = "\N{MINUS SIGN}"
LEFT, RIGHT, TOP, BOTTOM = 46, 344, 40, 264
SMALLEST, LARGEST, LIMIT = 2, 6, 0.03  # 10**2 to 10**6 elements, -3 % to 3 %


class Estimate(NamedTuple):
    """One of the measured estimates."""

    true: int
    run: int
    estimate: int


def read(path: Path = DATA) -> list[Estimate]:
    """The measurements that are kept with the course."""
    with path.open(encoding="utf-8", newline="") as file:
        return [
            Estimate(int(row["true"]), int(row["run"]), int(row["estimate"]))
            for row in csv.DictReader(file)
        ]


def across(true: int) -> float:
    """Where a number of elements lies from left to right."""
    part = (math.log10(true) - SMALLEST) / (LARGEST - SMALLEST)
    return LEFT + part * (RIGHT - LEFT)


def down(error: float) -> float:
    """Where an error lies from top to bottom."""
    return TOP + (LIMIT - error) / (2 * LIMIT) * (BOTTOM - TOP)


def draw(estimates: Iterable[Estimate]) -> str:
    """The picture, as SVG."""
    points = [(e.true, (e.estimate - e.true) / e.true) for e in estimates]
    far = [point for point in points if abs(point[1]) > 3 * STANDARD_ERROR]
    lines = [
        (
            '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 360 322"'
            ' font-family="sans-serif" font-size="12">'
        ),
        "  <title>The measured error of HyperLogLog</title>",
        (
            f"  <desc>{len(points)} estimates of 100 to 1,000,000 elements. Most lie in"
            " a band of 0.81 per cent above and below the truth, the others around it;"
            f" {len(far)} of them is further away than three standard errors.</desc>"
        ),
        (
            f'  <rect class="accent-box" x="{LEFT}" y="{down(STANDARD_ERROR):.1f}"'
            f' width="{RIGHT - LEFT}"'
            f' height="{down(-STANDARD_ERROR) - down(STANDARD_ERROR):.1f}"'
            ' fill="#e1edf8" stroke="none"/>'
        ),
        (
            '  <text class="ink" x="8" y="20" font-weight="600" fill="#23303d">'
            "Error of the estimate</text>"
        ),
    ]
    for percent in range(-3, 4):
        y = down(percent / 100)
        label = f"{percent:+d} %" if percent else "0"
        lines += [
            (
                f'  <path class="line" d="M{LEFT} {y:.1f}H{RIGHT}" fill="none"'
                f' stroke="#7d8b99" stroke-width="{0.4 if percent else 1.3}"/>'
            ),
            (
                f'  <text class="soft" x="{LEFT - 6}" y="{y + 4:.1f}" text-anchor="end"'
                f' fill="#5a6672">{label.replace("-", MINUS)}</text>'
            ),
        ]
    for true, label in ((100, "100"), (1000, "1,000"), (10_000, "10,000")):
        lines.append(tick(true, label))
    lines += [tick(100_000, "100,000"), tick(1_000_000, "1 million", anchor="end")]
    lines += [
        f'  <circle class="{"warm" if point in far else "accent"}"'
        f' cx="{across(point[0]):.1f}" cy="{down(point[1]):.1f}" r="2.2"'
        f' fill="{"#8a4b08" if point in far else "#1d5a96"}" fill-opacity="0.75"/>'
        for point in points
    ]
    lines += [
        (
            f'  <text class="soft" x="{(LEFT + RIGHT) / 2}" y="{BOTTOM + 34}"'
            ' text-anchor="middle" fill="#5a6672">different elements</text>'
        ),
        (
            f'  <text class="accent" x="8" y="{BOTTOM + 54}" fill="#1d5a96">'
            "shaded: one standard error, 0.81 % up and down</text>"
        ),
        "</svg>",
    ]
    return "\n".join(lines) + "\n"


def tick(true: int, label: str, anchor: str = "middle") -> str:
    """A label under the picture."""
    x = across(true) + (8 if anchor == "end" else 0)
    return (
        f'  <text class="soft" x="{x:.1f}" y="{BOTTOM + 17}" text-anchor="{anchor}"'
        f' fill="#5a6672">{label}</text>'
    )


if __name__ == "__main__":
    sys.stdout.write(draw(read()))
