"""Typed markers: what a page says about a value that differs from run to run.

A marker stands at the end of its line as an HTML comment, which the site does not show::

    (integer) 58  <!-- 55..60 -->

There are few, each names a type, and none matches anything. A marker binds to the last value of its
type in the line; several, separated by commas, bind in order to the last values of their types.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

ANY_ORDER = "any order"

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


def _marker(text: str) -> Marker:
    if found := _RANGE.match(text):
        low, high = float(found[1]), float(found[2])
        if low >= high:
            raise MarkerError(f"the range `{text}` is empty: write the smaller number first")
        return Marker(text, _NUMBER, lambda value: low <= float(value) <= high)
    if text == "stream-id":
        return Marker(text, r"(?<![\w-])\d{13,}-\d+(?![\w-])", lambda _: True, binds=True)
    if text == "version":
        return Marker(text, r"(?<![\w.])\d+\.\d+\.\d+(?![\w.])", lambda _: True)
    if found := re.match(r"hex (\d+)$", text):
        return Marker(text, rf"(?<!\w)[0-9a-f]{{{found[1]}}}(?!\w)", lambda _: True, binds=True)
    raise MarkerError(
        f"unknown marker `<!-- {text} -->`. Known are: 55..60 (a range), stream-id, hex 40 (its length), version, "
        "any order"
    )


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
            if not marker.accepts(matches[-1][0]):
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
