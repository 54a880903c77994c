"""Whether what came back says the same as the page."""

from __future__ import annotations

import difflib
import re
from collections.abc import Sequence

from valkey_doctest.markers import Line, suggest
from valkey_doctest.names import NameConflictError, Names

_INDEX = re.compile(r"\s*\d+[)~#] ")


def compare(expected: Sequence[Line], actual: Sequence[str], names: Names) -> str | None:
    """``None`` if the real lines are what the page shows, else the difference as a diff.

    Blanks at line ends do not count: some real error replies have them, and editors strip them.
    Values that a marker binds are bound in ``names`` when everything else agrees.
    """
    shown = [names.to_documented(line).rstrip() for line in actual]
    if expected and expected[0].any_order:
        documented = [line.text for line in expected]
        if _without_order(documented) == _without_order(shown):
            return None
        return diff(documented, shown)
    bound: list[tuple[str, str]] = []
    agreed = len(expected) == len(shown)
    for index, line in enumerate(expected[: len(shown)]):
        pairs = _match(line, shown[index])
        if pairs is None:
            agreed = False
            continue
        bound += pairs
        shown[index] = line.text  # within its marker: not a difference
    if not agreed:
        came = [names.to_documented(line).rstrip() for line in actual]
        return diff([line.text for line in expected], shown) + hint(expected, came)
    try:
        for documented_value, real in bound:
            names.bind(documented_value, real)
    except NameConflictError as conflict:
        return f"{conflict}\n"
    return None


def matches(line: Line, actual: str) -> bool:
    """Whether a documented line allows a real one."""
    return _match(line, actual) is not None


def _match(line: Line, actual: str) -> list[tuple[str, str]] | None:
    """The values to bind if ``actual`` is what the line allows, else ``None``."""
    if not line.markers:
        return [] if line.text == actual else None
    pattern, position = "", 0
    values = line.values()
    for marker, value in zip(line.markers, values, strict=True):
        pattern += re.escape(line.text[position : value.start()]) + f"({marker.pattern})"
        position = value.end()
    found = re.fullmatch(pattern + re.escape(line.text[position:]), actual)
    if not found:
        return None
    pairs = []
    for marker, value, real in zip(line.markers, values, found.groups(), strict=True):
        if not marker.accepts(real):
            return None
        if marker.binds and real != value[0]:
            pairs.append((value[0], real))
    return pairs


def _without_order(lines: Sequence[str]) -> tuple[list[str], list[tuple[str, ...]]]:
    """The indices of an array reply as they stand, and its elements sorted; of any other reply, its lines sorted."""
    indices: list[str] = []
    elements: list[list[str]] = []
    for line in lines:
        index = _INDEX.match(line)
        if index and (not elements or not line.startswith(" " * index.end())):
            indices.append(index[0])
            elements.append([line[index.end() :]])
        elif elements and line.startswith("   "):
            elements[-1].append(line)
        else:
            elements.append([line])
    return indices, sorted(tuple(element) for element in elements)


def hint(expected: Sequence[Line], actual: Sequence[str]) -> str:
    """What to do about lines that differ only in a value of a type that always varies; empty if there are none."""
    if len(expected) != len(actual):
        return ""
    found = {}
    for line, text in zip(expected, actual, strict=True):
        marker = None if line.markers or line.text == text else suggest(line.text, text)
        if marker and ".." not in marker:  # a wrong number is a wrong number
            found[line.number] = marker
    return "".join(
        f"If line {number} differs from run to run, mark it at its end: <!-- {marker} -->\n"
        for number, marker in found.items()
    )


def diff(expected: Sequence[str], actual: Sequence[str]) -> str:
    """A diff of two replies: ``-`` is what the page says, ``+`` what came back."""
    if not actual:
        return "".join(f"- {line}\n" for line in expected) + "+ (nothing came back)\n"
    return "".join(
        f"{line.rstrip()}\n" for line in difflib.ndiff(list(expected), list(actual)) if not line.startswith("?")
    )
