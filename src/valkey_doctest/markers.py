"""Typed markers: what a page says about a value that differs from run to run.

A marker stands at the end of its line as an HTML comment, which the site does not show::

    (integer) 58  <!-- 55..60 -->

There are few, each names a type, and none matches anything. A marker binds to the last value of its
type in the line; several, separated by commas, bind in order to the last values of their types.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from dataclasses import dataclass

ANY_ORDER = "any order"

DAY = 86_400.0

_COMMENT = re.compile(r"[ \t]*<!--[ \t]*(?P<text>.*?)[ \t]*-->[ \t]*$")
_RANGE = re.compile(r"(-?\d+(?:\.\d+)?)\.\.(-?\d+(?:\.\d+)?)$")
_NUMBER = r"(?<![\w.])-?\d+(?:\.\d+)?(?![\w]|\.\d)"


class MarkerError(ValueError):
    """A marker that is not known, or that does not fit the line it stands on."""


@dataclass(frozen=True)
class Marker:
    """One typed marker."""

    text: str
    """As the page writes it, such as ``55..60``."""
    pattern: str
    """A regular expression for values of its type."""
    accepts: Callable[[str], bool]
    """Whether a value of the type is one the page allows."""
    binds: bool = False
    """Whether the documented value stands for the real one on the rest of the page."""


def split(line: str) -> tuple[str, str | None]:
    """A line as readers see it, and its marker comment's text, if it has one."""
    found = _COMMENT.search(line)
    return (line[: found.start()], found["text"]) if found else (line, None)


def parse(text: str) -> tuple[Marker, ...]:
    """The markers of a comment's text; none for ``any order``, which is about the whole reply.

    Raises:
        MarkerError: a marker is not known.
    """
    if text == ANY_ORDER:
        return ()
    return tuple(_marker(part.strip()) for part in text.split(","))


def _is_now(value: str) -> bool:
    """Whether it is a time of about today, in seconds, milli- or microseconds since 1970."""
    seconds = float(value[:10])
    return abs(seconds - time.time()) < DAY


def _marker(text: str) -> Marker:
    if found := _RANGE.match(text):
        low, high = float(found[1]), float(found[2])
        if low >= high:
            raise MarkerError(f"the range `{text}` is empty: write the smaller number first")
        return Marker(text, _NUMBER, lambda value: low <= float(value) <= high)
    if text == "stream-id":
        return Marker(text, r"(?<![\w-])\d{13,}-\d+(?![\w-])", lambda _: True, binds=True)
    if text == "unix-time":
        return Marker(text, r"(?<!\w)\d{10}(?:\d{3}|\d{6}|\.\d+)?(?!\w)", _is_now, binds=False)
    if text == "version":
        return Marker(text, r"(?<![\w.])\d+\.\d+\.\d+(?![\w.])", lambda _: True)
    if found := re.match(r"hex (\d+)$", text):
        return Marker(text, rf"(?<!\w)[0-9a-f]{{{found[1]}}}(?!\w)", lambda _: True, binds=True)
    raise MarkerError(
        f"unknown marker `<!-- {text} -->`. Known are: 55..60 (a range), stream-id, hex 40 (its length), version, "
        "unix-time, any order"
    )


def suggest(one: str, other: str) -> str | None:
    """The markers with which two lines say the same; ``None`` if there are none."""
    types = ("stream-id", "unix-time", "version", "hex", "range")
    left, right = _values(one), _values(other)
    if len(left) != len(right) or _without(one, left) != _without(other, right):
        return None
    proposed: list[str] = []
    for a, b in zip(left, right, strict=True):
        if a[0] == b[0]:
            if proposed:
                return None  # markers bind to the last values: one in between would have to be marked, too
            continue
        kinds = [kind for kind in types if _fits(kind, a[0]) and _fits(kind, b[0])]
        if not kinds:
            return None
        proposed.append(_proposal(kinds[0], a[0], b[0]))
    return ", ".join(proposed) or None


_VALUE = re.compile(r"(?<![\w.-])(?:\d{13,}-\d+|\d+\.\d+\.\d+|[0-9a-f]{16,}|-?\d+(?:\.\d+)?)(?![\w]|[.-]\d)")


def _values(line: str) -> list[re.Match[str]]:
    return list(_VALUE.finditer(line))


def _without(line: str, values: list[re.Match[str]]) -> list[str]:
    ends = [0, *(end for value in values for end in value.span()), len(line)]
    return [line[start:end] for start, end in zip(ends[::2], ends[1::2], strict=True)]


def _fits(kind: str, value: str) -> bool:
    if kind == "hex":
        return bool(re.fullmatch(r"[0-9a-f]{16,}", value)) and not value.isdigit()
    pattern = _NUMBER if kind == "range" else _marker(kind).pattern
    return bool(re.fullmatch(pattern, value))


def _proposal(kind: str, one: str, other: str) -> str:
    if kind == "hex":
        return f"hex {len(one)}"
    if kind != "range":
        return kind
    low, high = sorted((float(one), float(other)))
    # Two values say little about the next ones: the page's author has to look at it.
    return f"{low / 2:g}..{high * 2:g}" if low >= 0 else f"{low * 2:g}..{high + (high - low):g}"


@dataclass(frozen=True)
class Line:
    """A documented line with its markers, and where it stands."""

    text: str
    number: int
    """The page's line, from 1."""
    markers: tuple[Marker, ...] = ()
    any_order: bool = False
    """Whether the lines of the reply that this one begins may come in any order."""

    def values(self) -> list[re.Match[str]]:
        """The documented values the markers bind to, left to right.

        Raises:
            MarkerError: the line has no value for a marker, or one the marker forbids.
        """
        end, found = len(self.text), []
        for marker in reversed(self.markers):
            matches = [m for m in re.finditer(marker.pattern, self.text) if m.end() <= end]
            if not matches:
                raise MarkerError(f"nothing on this line fits the marker `<!-- {marker.text} -->`")
            if ".." in marker.text and not marker.accepts(matches[-1][0]):
                raise MarkerError(
                    f"the value {matches[-1][0]} on this line is outside its own marker `<!-- {marker.text} -->`"
                )
            found.append(matches[-1])
            end = matches[-1].start()
        return found[::-1]


def read(text: str, number: int) -> Line:
    """Read a documented line.

    Raises:
        MarkerError: its marker is not known or does not fit.
    """
    shown, comment = split(text)
    if comment is None:
        return Line(text.rstrip(), number)
    line = Line(shown.rstrip(), number, parse(comment), any_order=comment == ANY_ORDER)
    line.values()
    return line
