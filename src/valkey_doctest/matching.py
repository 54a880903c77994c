"""Whether what came back says the same as the page."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from typing import TypeVar

from valkey_doctest.markers import Line
from valkey_doctest.names import NameConflictError, Names

_INDEX = re.compile(r"\s*\d+[)~#] ")

_E = TypeVar("_E")
_A = TypeVar("_A")

Pairs = list[tuple[str, str, str]]
"""How a documented value is bound, the value, and the real one it stands for."""


def compare(expected: Sequence[Line], actual: Sequence[str], names: Names) -> str | None:
    """``None`` if the real lines are what the page shows, else the difference as a diff.

    Blanks at line ends do not count: some real error replies have them, and editors strip them.
    Values that a marker binds are bound in ``names`` when everything else agrees.
    """
    shown = [names.to_documented(line).rstrip() for line in actual]
    bound = _same(expected, shown)
    if bound is None:
        return _difference(expected, shown)
    try:
        for how, documented, real in bound:
            if how == "client-id":
                names.bind_client_id(documented, real)
            else:
                names.bind(documented, real)
    except NameConflictError as conflict:
        return f"{conflict}\n"
    return None


def matches(line: Line, actual: str) -> bool:
    """Whether a documented line allows a real one."""
    return _match(line, actual) is not None


def _match(line: Line, actual: str) -> Pairs | None:
    """The values to bind if ``actual`` is what the line allows, else ``None``."""
    if not line.markers:
        return [] if line.text == actual else None
    pattern, position = "", 0
    values = line.values()
    for marker, value in zip(line.markers, values, strict=True):
        before = line.text[position : value.start()]
        # A number may be right-aligned: more digits, fewer blanks before it.
        pattern += f"{re.escape(before.rstrip(' '))}( *)({marker.pattern})"
        position = value.end()
    found = re.fullmatch(pattern + re.escape(line.text[position:]), actual)
    if not found:
        return None
    pairs: Pairs = []
    position = 0
    for place, (marker, value) in enumerate(zip(line.markers, values, strict=True)):
        blanks, real = found[2 * place + 1], found[2 * place + 2]
        before = line.text[position : value.start()]
        padding = len(before) - len(before.rstrip(" "))
        position = value.end()
        if len(blanks) != padding and len(blanks) + len(real) != padding + len(value[0]):
            return None
        if not marker.accepts(value[0], real):
            return None
        if marker.binds and real != value[0]:
            pairs.append((marker.binds, value[0], real))
    return pairs


def _same(expected: Sequence[Line], actual: Sequence[str]) -> Pairs | None:
    """The values to bind if the lines say the same as the page's, some of them perhaps in any order."""
    if len(expected) != len(actual):
        return None
    if not any(line.any_order for line in expected):
        return _all(map(_match, expected, actual))
    documented, shown = _elements([line.text for line in expected]), _elements(actual)
    if documented is None or shown is None:  # not an array: its lines
        return _assign(expected, actual, _match) if expected[0].any_order else _all(map(_match, expected, actual))
    if [index for index, _ in documented] != [index for index, _ in shown]:
        return None
    elements, place = [], 0
    for _, texts in documented:
        # The outermost array that begins on a line takes its `any order`.
        elements.append(
            [
                expected[at]._replace(text=text, any_order=expected[at].any_order and at > 0)
                for at, text in enumerate(texts, place)
            ]
        )
        place += len(texts)
    others = [texts for _, texts in shown]
    if expected[0].any_order:
        return _assign(elements, others, _same)
    return _all(map(_same, elements, others))


def _elements(lines: Sequence[str]) -> list[tuple[str, list[str]]] | None:
    """An array's elements: what is before each, and its lines without that; ``None`` if it is no array."""
    first = _INDEX.match(lines[0])
    if not first:
        return None
    width, elements = first.end(), []
    for line in lines:
        index, text = line[:width], line[width:]
        if _INDEX.fullmatch(index):
            elements.append((index, [text]))
        elif index.isspace() and elements:
            elements[-1][1].append(text)
        else:
            return None
    return elements


def _all(results: Iterable[Pairs | None]) -> Pairs | None:
    """The pairs of all, if there is no ``None`` among them."""
    pairs: Pairs = []
    for result in results:
        if result is None:
            return None
        pairs += result
    return pairs


def _assign(expected: Sequence[_E], actual: Sequence[_A], same: Callable[[_E, _A], Pairs | None]) -> Pairs | None:
    """The pairs of a way to give each documented element a real one of its own, if there is a way.

    By augmenting paths (Kuhn's algorithm), because a marked element may fit several real ones.
    """
    if len(expected) != len(actual):
        return None
    fits = [[same(one, other) for other in actual] for one in expected]
    owner: dict[int, int] = {}  # of a real element

    def place(one: int, seen: set[int]) -> bool:
        for other, pairs in enumerate(fits[one]):
            if pairs is not None and other not in seen:
                seen.add(other)
                if other not in owner or place(owner[other], seen):
                    owner[other] = one
                    return True
        return False

    if not all(place(one, set()) for one in range(len(expected))):
        return None
    return _all(fits[one][other] for other, one in sorted(owner.items(), key=lambda pair: pair[1]))


def _difference(expected: Sequence[Line], came: Sequence[str]) -> str:
    """A diff in which lines within their markers do not differ, and what to do about those that do."""
    shown = list(came)
    if not any(line.any_order for line in expected):
        for index, line in enumerate(expected[: len(shown)]):
            if matches(line, shown[index]):
                shown[index] = line.text
    return diff([line.text for line in expected], shown) + hint(expected, came)


def hint(expected: Sequence[Line], actual: Sequence[str]) -> str:
    """What to do about lines that differ only in a value of a type that always varies; empty if there are none."""
    from valkey_doctest.suggest import suggest  # noqa: PLC0415  only what differs needs it

    if len(expected) != len(actual):
        return ""
    found = {}
    for line, text in zip(expected, actual, strict=True):
        marker = None if line.markers or line.text == text else suggest(line.text, text)
        if marker and not (".." in marker and _is_count(line.text)):
            found[line.number] = marker
    return "".join(
        f"If line {number} differs from run to run, mark it at its end: <!-- {marker} -->\n"
        for number, marker in found.items()
    )


def _is_count(text: str) -> bool:
    """Whether a line's numbers are small whole ones: those are wrong far more often than they vary."""
    return not re.search(r"\d{3}|\d\.\d", text)


def diff(expected: Sequence[str], actual: Sequence[str]) -> str:
    """A diff of two replies: ``-`` is what the page says, ``+`` what came back."""
    import difflib  # noqa: PLC0415

    if not actual:
        return "".join(f"- {line}\n" for line in expected) + "+ (nothing came back)\n"
    return "".join(
        f"{line.rstrip()}\n" for line in difflib.ndiff(list(expected), list(actual)) if not line.startswith("?")
    )
