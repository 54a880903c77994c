"""What was verified, fence by fence, on which server: written by the tests, read by the site.

The file is ``build/verified.json``. Its form is a promise to others (schema 1): a list ``fences``,
each with its digest, page, line, language, number of exchanges, the commands it shows, and ``runs``,
one for each server version, provider and deployment. ``commands`` says for each version which commands it has.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, NamedTuple, TypedDict

from valkey_doctest import whole

Verdict = Literal["passed", "failed", "skipped"]
Status = Literal["verified", "marked", "failed", "unknown"]

SCHEMA = 1
DEFAULT_PATH = Path("build/verified.json")


class RecordError(Exception):
    """The record's file is not one of ours."""


class Run(NamedTuple):
    """One verdict on one fence."""

    version: str
    """The server's, such as ``9.1.2``."""
    provider: str
    deployment: str
    verdict: Verdict
    reason: str | None = None
    """Why it failed or was skipped."""
    seconds: float = 0.0
    ran: tuple[str, ...] = ()
    """Commands that the servers counted beside those that the fence shows: of its programs and scripts."""


class Command(TypedDict):
    """What a server says of a command."""

    summary: str
    since: str
    """Such as ``7.0.0``."""
    group: str
    """Such as ``sorted-set``."""
    complexity: str
    flags: list[str]
    """``deprecated``, ``syscmd`` (for servers among themselves) or nothing."""


Commands = Mapping[str, Command]
"""A server's commands and subcommands by their names in capitals, such as ``CONFIG GET``."""


class Entry(NamedTuple):
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


def plain(entry: Entry) -> dict[str, Any]:
    """An entry in a form that can be written, and sent between processes."""
    return entry._asdict() | {"runs": [run._asdict() for run in entry.runs]}


@dataclass
class Record:
    """All entries, by page and digest."""

    entries: dict[tuple[str, str], Entry] = field(default_factory=dict)
    commands: dict[str, Commands] = field(default_factory=dict)
    """By the server's version."""

    @property
    def fences(self) -> dict[str, Entry]:
        """The entries by digest alone. Pages that begin alike share a digest: theirs are one, with all its runs."""
        fences: dict[str, Entry] = {}
        for each in self.entries.values():
            known = fences.get(each.digest)
            fences[each.digest] = each._replace(runs=(*known.runs, *each.runs)) if known else each
        return fences

    def merge(self, entries: Iterable[Entry], *, current: dict[str, set[str]]) -> None:
        """Add what a run found out.

        A run replaces an earlier one of the same fence on the same version, provider and deployment.
        ``current`` holds, for each page the run collected, the digests it has now: others go.
        """
        self.entries = {
            (page, digest): each
            for (page, digest), each in self.entries.items()
            if page not in current or digest in current[page]
        }
        for each in entries:
            if each.digest not in current.get(each.page, {each.digest}):
                continue  # the page was changed meanwhile
            known = self.entries.get((each.page, each.digest))
            runs = {_key(run): run for run in (*(known.runs if known else ()), *each.runs)}
            self.entries[each.page, each.digest] = each._replace(runs=tuple(runs[key] for key in sorted(runs)))


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
        commands = data.get("commands", {})
    except (ValueError, KeyError, TypeError) as error:
        raise RecordError(f"{path}: not a record of verified fences ({error}). Delete it and verify again.") from None
    if schema != SCHEMA:
        raise RecordError(f"{path}: its schema is {schema!r}, not {SCHEMA}. Delete it and verify again.")
    return Record({(each.page, each.digest): each for each in entries}, commands)


def lists(path: Path, version: str) -> bool:
    """Whether a record says which commands a version has: a look at the file, for it takes longer to read it."""
    try:
        return f'\n"{version}": {{' in path.read_text("utf-8")
    except (OSError, UnicodeDecodeError):
        return False


def entry(item: dict[str, Any]) -> Entry:
    """An entry from its JSON form.

    Raises:
        TypeError, KeyError: it is not one.
    """
    runs = tuple(Run(**{**run, "ran": tuple(run.get("ran", ()))}) for run in item["runs"])
    return Entry(**{**item, "runs": runs, "commands": tuple(item["commands"])})


def save(record: Record, path: Path) -> None:
    """Write a record, whole or not at all."""
    entries = sorted(record.entries.values(), key=lambda e: (e.page, e.line))
    # A line for each fence and each version: quick to write, and changes can be seen.
    fences = ",\n".join(json.dumps(plain(entry)) for entry in entries)
    commands = ",\n".join(f"{json.dumps(version)}: {json.dumps(of)}" for version, of in record.commands.items())
    text = f'{{"schema": {SCHEMA}, "fences": [\n{fences}\n], "commands": {{\n{commands}\n}}}}\n'
    whole.write(path, text.encode())


@contextlib.contextmanager
def locked(path: Path) -> Iterator[None]:
    """Keep two runs in one checkout from losing each other's verdicts."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.with_name(f".{path.name}.lock").open("w") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
