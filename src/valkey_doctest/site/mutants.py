"""The table that says how many wrong things were planted in the pages and noticed: ``{$ mutants() $}``."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from valkey_doctest import fences

PATH = Path("build/mutants.json")
"""What ``make mutants`` writes, see :mod:`valkey_doctest.mutants`."""

NOT_MADE = (
    '!!! warning "No figure"\n'
    "    The figure was not made for this build: {why}. `make mutants` makes it; then build the site again.\n"
)

_WORDS = {
    "digit changed": "a digit of a reply is another",
    "character changed": "a character of a reply is another",
    "line dropped": "a line of a reply is missing",
    "line added": "a reply has a line more",
    "lines swapped": "two lines of a reply have changed places",
    "type changed": "a reply has another type, a string for an integer",
    "error text changed": "an error says something else",
    "reply emptied": "a reply is missing",
    "prompt changed": "a prompt has another port, database or state",
    "command changed": "a command names another key",
    "language misspelt": "a fence's language is misspelt",
    "marker loosened": "a marker, which says how far a value may vary, allows more",
}


def table(root: Path, docs: Path) -> str:
    """A table by kind in Markdown, or a note that there is no figure for the pages as they are.

    Args:
        root: the project's top folder.
        docs: where the pages are.
    """
    try:
        said = json.loads((root / PATH).read_text("utf-8"))
        made_of = said["digests"]
    except FileNotFoundError:
        return NOT_MADE.format(why=f"there is no `{PATH}`")
    except (OSError, ValueError, KeyError, TypeError):
        return NOT_MADE.format(why=f"`{PATH}` cannot be read")
    if made_of != _digests(root, docs):
        return NOT_MADE.format(why="the pages have changed since")
    return _table(said)


def _digests(root: Path, docs: Path) -> dict[str, str] | None:
    """Each page with fences, and the digest of all of them; ``None`` if one cannot be read."""
    try:
        pages = [fences.read_page(path, root=root) for path in sorted(docs.rglob("*.md"))]
    except (fences.FenceError, OSError):
        return None
    return {page.path: page.digest for page in pages if page.fences}


def _table(said: Mapping[str, Any]) -> str:
    columns = ("planted", "caught", "equivalent", "survived")
    rows = [(_WORDS.get(kind["kind"], kind["kind"]), *(kind[column] for column in columns)) for kind in said["kinds"]]
    sums = [sum(row[index] for row in rows) for index in range(1, len(columns) + 1)]
    lines = ["| What was made wrong | Planted | Noticed | Not wrong after all | Not noticed |", "|---|--:|--:|--:|--:|"]
    lines += [f"| {name} | {' | '.join(f'{number:,}' for number in numbers)} |" for name, *numbers in rows]
    lines += [f"| **all** | {' | '.join(f'**{number:,}**' for number in sums)} |", ""]
    lines += [f"{said['pages']} pages, {said['fences']} fences, Valkey {said['version']}.", ""]
    if said["equivalent"]:
        lines += ["Not wrong after all, because the changed page says what the page says:", ""]
        lines += [f"- {each['count']:,}: {each['reason']}" for each in said["equivalent"]]
    if said["left out"]:
        lines += ["", "In some fences only the language was made wrong:", ""]
        lines += [f"- {count:,}: {reason}" for reason, count in said["left out"].items()]
    return "\n".join(lines) + "\n"
