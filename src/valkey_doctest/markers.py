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
from typing import Literal, NamedTuple

ANY_ORDER = "any order"

DAY = 86_400.0

_COMMENT = re.compile(r"[ \t]*<!--[ \t]*(?P<text>.*?)[ \t]*-->[ \t]*$")

NUMBER = r"(?<![\w.])-?\d+(?:\.\d+)?(?![\w]|\.\d)"
SIZE = r"(?<![\w.])\d+(?:\.\d+)?[BKMGT](?![\w.])"
"""A size as ``INFO`` shows it: ``863.20K``, ``1.05M`` (bytesToHuman in Valkey's server.c)."""
ADDRESS = r"(?<![\w.:])\d{1,3}(?:\.\d{1,3}){3}:\d{1,5}(?!\w)"
STREAM_ID = r"(?<![\w-])\d{13,}-\d+(?![\w-])"
UNIX_TIME = r"(?<!\w)\d{10}(?:\d{3}|\d{6}|\.\d+)?(?!\w)"
VERSION = r"(?<![\w.])\d+\.\d+\.\d+(?![\w.])"
CLIENT_ID = r"(?:(?<=\bid=)|(?<!\S))[1-9]\d*(?!\S)"

_BOUND = r"(-?\d+(?:\.\d+)?)([BKMGT]?)"
_RANGE = re.compile(rf"{_BOUND}\.\.{_BOUND}$")
_WITHIN = re.compile(r"within (\d+(?:\.\d+)?) ?%$")


class MarkerError(ValueError):
    """A marker that is not known, or that does not fit the line it stands on."""


def _any(_documented: str, _real: str) -> bool:
    return True


class Marker(NamedTuple):
    """One typed marker."""

    text: str
    """As the page writes it, such as ``55..60``."""
    pattern: str
    """A regular expression for values of its type."""
    accepts: Callable[[str, str], bool] = _any
    """Whether a real value of the type is one the page allows, given the documented one."""
    binds: Literal["value", "client-id"] | None = None
    """How the documented value stands for the real one on the rest of the page, if it does."""


def split(line: str) -> tuple[str, str | None]:
    """A line as readers see it, and its marker comment's text, if it has one."""
    found = _COMMENT.search(line)
    return (line[: found.start()], found["text"]) if found else (line, None)


def parse(text: str) -> tuple[Marker, ...]:
    """The markers of a comment's text, without ``any order``, which is about the whole reply.

    Raises:
        MarkerError: a marker is not known.
    """
    return tuple(_marker(part) for part in _parts(text) if part != ANY_ORDER)


def _parts(text: str) -> list[str]:
    return [part.strip() for part in text.split(",")]


def _is_now(_documented: str, real: str) -> bool:
    """Whether it is a time of about today, in seconds, milli- or microseconds since 1970."""
    return abs(float(real[:10]) - time.time()) < DAY


_NAMED: dict[str, tuple[str, Callable[[str, str], bool], Literal["value", "client-id"] | None]] = {
    "stream-id": (STREAM_ID, _any, "value"),
    "address": (ADDRESS, _any, "value"),
    "client-id": (CLIENT_ID, _any, "client-id"),
    "unix-time": (UNIX_TIME, _is_now, None),
    "version": (VERSION, _any, None),
}


def _marker(text: str) -> Marker:
    if found := _RANGE.match(text):
        return _range(text, found)
    if found := _WITHIN.match(text):
        part = float(found[1]) / 100
        return Marker(text, NUMBER, lambda documented, real: _is_near(float(documented), float(real), part))
    if found := re.match(r"hex (\d+)$", text):
        return Marker(text, rf"(?<!\w)[0-9a-f]{{{found[1]}}}(?!\w)", binds="value")
    if text in _NAMED:
        return Marker(text, *_NAMED[text])
    raise MarkerError(
        f"unknown marker `<!-- {text} -->`. Known are: 55..60 (a range), 900K..2M (a range of sizes), within 5 %, "
        "stream-id, client-id, address, hex 40 (its length), version, unix-time, any order"
    )


def _range(text: str, found: re.Match[str]) -> Marker:
    if bool(found[2]) != bool(found[4]):
        raise MarkerError(f"the range `{text}` has a unit at one end only: write it at both, as in 900K..2M")
    low, high = number(found[1] + found[2]), number(found[3] + found[4])
    if low > high:
        raise MarkerError(f"the range `{text}` is empty: write the smaller number first")
    return Marker(text, SIZE if found[2] else NUMBER, lambda _documented, real: low <= number(real) <= high)


def number(text: str) -> float:
    """A number, or a size with its unit in bytes: 1K is 1024 B, as Valkey counts."""
    unit = "BKMGT".find(text[-1])
    return float(text[:-1]) * 1024**unit if unit >= 0 else float(text)


def _is_near(documented: float, real: float, part: float) -> bool:
    return abs(real - documented) <= abs(documented) * part


class Line(NamedTuple):
    """A documented line with its markers, and where it stands."""

    text: str
    number: int
    """The page's line, from 1."""
    markers: tuple[Marker, ...] = ()
    any_order: bool = False
    """Whether the elements of the outermost array that begins on this line may come in any order."""

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
            if ".." in marker.text and not marker.accepts(matches[-1][0], matches[-1][0]):
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
    line = Line(shown.rstrip(), number, parse(comment), any_order=ANY_ORDER in _parts(comment))
    line.values()
    return line
