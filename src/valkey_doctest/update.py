"""``pytest --update-docs``: the real replies into the pages, and nothing else."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from valkey_doctest.edits import Edit, apply, settle
from valkey_doctest.page import Result


def update(path: Path, results: Sequence[Result], again: Callable[[], Sequence[Result]]) -> str | None:
    """Make a page say what came back; what was done or why not, or ``None`` if nothing was wrong.

    A page that fails for another reason than a stale reply is not touched. The page is replayed a second
    time: what differs between the two replays gets a marker, or, if none fits, the page is not touched.

    Args:
        results: of the first replay.
        again: replays the page once more.

    Raises:
        OSError: the file cannot be written; then it is as it was.
    """
    failed = [result for result in results if result.verdict == "failed"]
    if not failed:
        return None
    for result in failed:
        if not result.edits:
            return f"not updated, because line {result.line} fails for another reason than a stale reply"
    edits = settle(_edits(results), _edits(again()))
    if edits is None:
        return "not updated, because a value differs from run to run, and no marker fits it"
    apply(path, edits)
    changed = ", ".join(str(edit.line) for edit in edits if edit.changed)
    marked = sum("<!-- " in line for edit in edits for line in edit.lines if isinstance(line, str))
    proposed = f"; markers were proposed in {marked} places: look at them" if marked else ""
    return f"updated from line {changed}{proposed}. Run pytest again to verify it"


def _edits(results: Sequence[Result]) -> list[Edit]:
    return [edit for result in results for edit in result.edits]
