"""Changes to a page's file: documented lines out, real ones in, every other byte as it was."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from valkey_doctest import markers, whole
from valkey_doctest.markers import Line
from valkey_doctest.matching import matches


class Edit(NamedTuple):
    """New output for a command: the ``length`` lines from ``line`` (from 1) become ``lines``."""

    line: int
    length: int
    lines: tuple[int | str, ...]
    """A number keeps the page's line of that number as it is, with its marker; a text is new."""
    indent: str = ""

    @property
    def changed(self) -> bool:
        """Whether it changes anything."""
        return self.lines != tuple(range(self.line, self.line + self.length))


def edit(line: int, expected: Sequence[Line], actual: Sequence[str], indent: str) -> Edit:
    """The edit that makes the documented lines from ``line`` say what came back; markers that hold stay."""
    import difflib  # noqa: PLC0415  only what differs needs it

    kept: list[int | str] = []
    documented = [each.text for each in expected]
    if expected and expected[0].any_order:
        shown = [f"{text}  <!-- {markers.ANY_ORDER} -->" if not place else text for place, text in enumerate(actual)]
        return Edit(line, len(expected), tuple(shown), indent)
    matcher = difflib.SequenceMatcher(None, documented, list(actual), autojunk=False)
    for tag, first, last, start, end in matcher.get_opcodes():
        candidates = list(range(first, last))
        for place in range(start, end):
            found = next((each for each in candidates if matches(expected[each], actual[place])), None)
            if tag == "equal":
                found = candidates[0]
            if found is None:
                kept.append(actual[place])
            else:
                candidates = [each for each in candidates if each > found]
                kept.append(line + found)
    return Edit(line, len(expected), tuple(kept), indent)


def settle(first: Sequence[Edit], second: Sequence[Edit]) -> list[Edit] | None:
    """Edits that hold for both of two replays: where the two differ, with a marker.

    Returns:
        ``None`` if a value varies that no marker fits.
    """
    if [(each.line, each.length) for each in first] != [(each.line, each.length) for each in second]:
        return None
    settled = []
    for one, other in zip(first, second, strict=True):
        lines = _settle(one.lines, other.lines)
        if lines is None:
            return None
        settled.append(Edit(one.line, one.length, lines, one.indent))
    return settled


def _settle(one: tuple[int | str, ...], other: tuple[int | str, ...]) -> tuple[int | str, ...] | None:
    from valkey_doctest.suggest import suggest  # noqa: PLC0415

    if len(one) != len(other):
        return None
    if one != other and sorted(map(str, one)) == sorted(map(str, other)) and isinstance(one[0], str):
        return (f"{one[0]}  <!-- {markers.ANY_ORDER} -->", *one[1:])
    lines: list[int | str] = []
    for left, right in zip(one, other, strict=True):
        if left == right:
            lines.append(left)
        elif isinstance(left, str) and isinstance(right, str) and (marker := suggest(left, right)):
            lines.append(f"{left}  <!-- {marker} -->")
        else:
            return None
    return tuple(lines)


def apply(path: Path, edits: Sequence[Edit]) -> None:
    """Write the edits into a file, whole or not at all.

    Raises:
        OSError: it cannot be written; then it is as it was.
    """
    lines = path.read_bytes().split(b"\n")
    for each in sorted(edits, key=lambda each: each.line, reverse=True):
        start = each.line - 1
        ending = b"\r" if lines[start - 1].endswith(b"\r") else b""
        new = [
            lines[item - 1] if isinstance(item, int) else f"{each.indent}{item}".encode() + ending
            for item in each.lines
        ]
        lines[start : start + each.length] = new
    whole.write(path, b"\n".join(lines))
