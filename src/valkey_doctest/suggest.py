"""Which markers would make two lines say the same."""

from __future__ import annotations

import re

from valkey_doctest import markers

_VALUE = re.compile(
    r"(?<![\w.-])(?:\d{1,3}(?:\.\d{1,3}){3}:\d{1,5}|\d{13,}-\d+|\d+\.\d+\.\d+|[0-9a-f]{16,}|-?\d+(?:\.\d+)?[BKMGT]?)"
    r"(?![\w]|[.-]\d)"
)
_TYPES = {
    "address": markers.ADDRESS,
    "stream-id": markers.STREAM_ID,
    "unix-time": markers.UNIX_TIME,
    "version": markers.VERSION,
    "hex": r"(?!\d+$)[0-9a-f]{16,}",
    "sizes": markers.SIZE,
    "range": markers.NUMBER,
}


def suggest(one: str, other: str) -> str | None:
    """The markers with which two lines say the same; ``None`` if there are none."""
    left, right = _values(one), _values(other)
    if len(left) != len(right) or _without(one, left) != _without(other, right):
        return None
    differ = [(a, b) for a, b in zip(left, right, strict=True) if a[0] != b[0]]
    proposed = []
    for a, b in differ:
        kinds = [kind for kind, type_ in _TYPES.items() if re.fullmatch(type_, a[0]) and re.fullmatch(type_, b[0])]
        if not kinds:
            return None
        is_id = kinds[0] == "range" and one[: a.start()].endswith("id=")
        proposed.append("client-id" if is_id else _proposal(kinds[0], a[0], b[0]))
    if not proposed:
        return None
    comment = ", ".join(proposed)
    try:
        marked = [value.span() for value in markers.Line(one, 0, markers.parse(comment)).values()]
    except markers.MarkerError:
        return None
    # Markers bind to the last values of their types, which need not be those that differ.
    return comment if marked == [a.span() for a, _ in differ] else None


def _values(line: str) -> list[re.Match[str]]:
    return list(_VALUE.finditer(line))


def _without(line: str, values: list[re.Match[str]]) -> list[str]:
    ends = [0, *(end for value in values for end in value.span()), len(line)]
    return [line[start:end] for start, end in zip(ends[::2], ends[1::2], strict=True)]


def _proposal(kind: str, one: str, other: str) -> str:
    if kind == "hex":
        return f"hex {len(one)}"
    if kind not in ("range", "sizes"):
        return kind
    unit = one[-1] if kind == "sizes" else ""
    if other[-1:] != one[-1:] and unit:
        unit, one, other = "B", f"{markers.number(one):g}B", f"{markers.number(other):g}B"
    low, high = sorted(float(each.removesuffix(unit)) for each in (one, other))
    # Two values say little about the next ones: the page's author has to look at it.
    if low < 0:
        return f"{low * 2:g}..{high + (high - low):g}"
    return f"{_plain(low / 2)}{unit}..{_plain(high * 2)}{unit}"


def _plain(value: float) -> str:
    """A number without an exponent."""
    return f"{value:.6f}".rstrip("0").rstrip(".")
