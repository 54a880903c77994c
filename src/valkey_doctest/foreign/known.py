"""The ratchet: differences that a project knows of, a line each, with the reason.

A line holds the page, the exchange's key, its command and the reason, with two blanks between them::

    commands/object.md  3fa91c02d7e4  OBJECT FREQ a  # shows 0, is 5 since 4.0

The key is of the command and the documented reply, so a line survives whatever changes around it. The
command is there for people. A listed exchange that agrees again, or is not on its page any more, has to
be taken off the list; so the list only ever gets shorter, unless somebody writes down why not.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

WHY = "WHY?"
"""The reason that ``--valkey-docs-known-write`` leaves for people to write; the next run refuses it."""

_LINE = re.compile(
    r"(?P<page>\S.*?) {2,}(?P<key>[0-9a-f]{12}(?:-\d+)?)(?: {2,}(?P<command>.*?))?(?: {2,}#(?P<reason>.*))?$"
)
_HEADER = "# Differences that we know of. A line each: page, key, command, and after # the reason.\n"


class KnownError(Exception):
    """The file cannot be read; ``str()`` begins with ``file:line: ``."""


@dataclass(frozen=True)
class Known:
    """One listed difference."""

    page: str
    key: str
    command: str
    reason: str
    line: int = 0
    """Where it stands in the file; 0 if it is not in a file yet."""


def load(path: Path) -> dict[tuple[str, str], Known]:
    """The listed differences, by page and key; none if there is no file.

    Raises:
        KnownError: a line cannot be read, has no reason, or is there twice.
    """
    if not path.exists():
        return {}
    found: dict[tuple[str, str], Known] = {}
    for number, text in enumerate(path.read_text("utf-8", errors="replace").splitlines(), 1):
        if not text.strip() or text.lstrip().startswith("#"):
            continue
        line = _LINE.match(text.strip())
        if not line:
            raise KnownError(f"{path}:{number}: not `PAGE  KEY  COMMAND  # reason`, with two blanks between them.")
        reason = (line["reason"] or "").strip()
        if not reason or reason == WHY:
            raise KnownError(f"{path}:{number}: no reason. Write after `  # ` why the page differs.")
        known = Known(line["page"], line["key"], line["command"] or "", reason, number)
        if earlier := found.get((known.page, known.key)):
            raise KnownError(f"{path}:{number}: the same as line {earlier.line}. Delete one of them.")
        found[known.page, known.key] = known
    return found


def save(path: Path, entries: Iterable[Known]) -> None:
    """Write a list, by page."""
    lines = [
        f"{each.page}  {each.key}  {' '.join(each.command.split())}  # {each.reason}\n"
        for each in sorted(entries, key=lambda each: (each.page, each.command, each.key))
    ]
    path.write_text(_HEADER + "".join(lines), "utf-8")
