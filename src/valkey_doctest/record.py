"""What was verified, fence by fence, on which server: written by the tests, read by the site.

The file is ``build/verified.json``. Its form is a promise to others (schema 1): a list ``fences``,
each with its digest, page, line, language, number of exchanges, the commands it ran, and ``runs``,
one for each server version, provider and deployment.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

Verdict = Literal["passed", "failed", "skipped"]
Status = Literal["verified", "marked", "failed", "unknown"]

SCHEMA = 1
DEFAULT_PATH = Path("build/verified.json")


class RecordError(Exception):
    """The record's file is not one of ours."""


@dataclass(frozen=True)
class Run:
    """One verdict on one fence."""

    version: str
    """The server's, such as ``9.1.2``."""
    provider: str
    deployment: str
    verdict: Verdict
    reason: str | None = None
    """Why it failed or was skipped."""
    seconds: float = 0.0


@dataclass(frozen=True)
class Entry:
    """A fence with all that is known of it."""

    digest: str
    page: str
    line: int
    language: str
    exchanges: int = 0
    commands: tuple[str, ...] = ()
    runs: tuple[Run, ...] = ()

    @property
    def status(self) -> Status:
        """``verified``: passed somewhere, failed nowhere. ``marked``: only skipped, with reasons."""
        verdicts = {run.verdict for run in self.runs}
        if "failed" in verdicts:
            return "failed"
        if "passed" in verdicts:
            return "verified"
        return "marked" if verdicts else "unknown"


@dataclass
class Record:
    """All entries, by digest."""

    fences: dict[str, Entry] = field(default_factory=dict)

    def status(self, digest: str) -> Status:
        """What is known of the fence with this digest; ``unknown`` if nothing is."""
        entry = self.fences.get(digest)
        return entry.status if entry else "unknown"

    def page(self, path: str) -> list[Entry]:
        """The entries of one page, top to bottom."""
        return sorted((e for e in self.fences.values() if e.page == path), key=lambda e: e.line)

    def merge(self, entries: Iterable[Entry], *, current: dict[str, set[str]]) -> None:
        """Add what a run found out.

        A run replaces an earlier one of the same fence on the same version, provider and deployment.
        ``current`` holds, for each page the run collected, the digests it has now: others go.
        """
        self.fences = {
            digest: entry
            for digest, entry in self.fences.items()
            if entry.page not in current or digest in current[entry.page]
        }
        for entry in entries:
            known = self.fences.get(entry.digest)
            runs = {_key(run): run for run in (*(known.runs if known else ()), *entry.runs)}
            self.fences[entry.digest] = replace(entry, runs=tuple(runs[key] for key in sorted(runs)))


def _key(run: Run) -> tuple[str, str, str]:
    return run.version, run.provider, run.deployment


def load(path: Path) -> Record:
    """Read a record; an absent or empty file is an empty record.

    Raises:
        RecordError: the file is something else.
    """
    try:
        text = path.read_text("utf-8")
    except FileNotFoundError:
        return Record()
    if not text.strip():
        return Record()
    try:
        data = json.loads(text)
        schema, entries = data["schema"], [entry(item) for item in data["fences"]]
    except (ValueError, KeyError, TypeError) as error:
        raise RecordError(f"{path}: not a record of verified fences ({error}). Delete it and verify again.") from None
    if schema != SCHEMA:
        raise RecordError(f"{path}: its schema is {schema!r}, not {SCHEMA}. Delete it and verify again.")
    return Record({entry.digest: entry for entry in entries})


def entry(item: dict[str, Any]) -> Entry:
    """An entry from its JSON form.

    Raises:
        TypeError, KeyError: it is not one.
    """
    runs = tuple(Run(**run) for run in item["runs"])
    return Entry(**{**item, "runs": runs, "commands": tuple(item["commands"])})


def save(record: Record, path: Path) -> None:
    """Write a record, whole or not at all."""
    entries = sorted(record.fences.values(), key=lambda e: (e.page, e.line))
    data = {"schema": SCHEMA, "fences": [asdict(entry) for entry in entries]}
    path.parent.mkdir(parents=True, exist_ok=True)
    scratch = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        scratch.write_text(json.dumps(data, indent=1) + "\n", "utf-8")
        scratch.replace(path)
    finally:
        scratch.unlink(missing_ok=True)


@contextlib.contextmanager
def locked(path: Path) -> Iterator[None]:
    """Keep two runs in one checkout from losing each other's verdicts."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.with_name(f".{path.name}.lock").open("w") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
