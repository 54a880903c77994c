"""Which of the server's commands the pages run, and where: from the record alone.

``coverage.yml`` says why a command is left out on purpose, a line each: ``PFDEBUG: for those who work on Valkey``.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import yaml

from valkey_doctest.record import Command, Commands, Entry

DEFAULT_PATH = Path("coverage.yml")

Place = tuple[str, int]
"""A page and the line of a fence on it."""


class CoverageError(Exception):
    """The reasons are not what they have to be; ``str()`` says file, line, what and what to do."""


@dataclass(frozen=True)
class Coverage:
    """The commands of the newest version that was verified."""

    version: str
    commands: Commands
    run: Mapping[str, tuple[Place, ...]]
    """Each command that a verified fence runs, and where."""
    left_out: Mapping[str, str]
    """Each command that is left out on purpose, and why."""

    @property
    def open(self) -> dict[str, Command]:
        """The rest: neither run nor left out on purpose."""
        return {name: of for name, of in self.commands.items() if name not in self.run and name not in self.left_out}

    def open_by_group(self) -> list[str]:
        """The open ones for people, a line a group."""
        groups: dict[str, list[str]] = {}
        for name, of in self.open.items():
            groups.setdefault(of["group"], []).append(name)
        return [f"{group}: {', '.join(names)}" for group, names in sorted(groups.items())]

    def summary(self) -> str:
        """One line for people."""
        return (
            f"Commands of Valkey {self.version}: {len(self.run)} of {len(self.commands)} run; "
            f"{len(self.left_out)} not, with reasons; {len(self.open)} not yet."
        )


def cover(lists: Mapping[str, Commands], entries: Iterable[Entry], reasons: Path) -> Coverage | None:
    """What these fences run of the commands of the newest version they passed on; ``None`` if those are not known.

    A fence counts if it is verified. What it shows counts, and what servers counted while it ran.

    Args:
        reasons: the file that says why commands are left out; there may be none.

    Raises:
        CoverageError: it gives a reason for a command that is run, or that the version does not have.
    """
    verified = sorted((each for each in entries if each.status == "verified"), key=lambda each: (each.page, each.line))
    versions = {run.version for entry in verified for run in entry.runs if run.verdict == "passed"}
    if not versions & lists.keys():
        return None
    version = max(versions & lists.keys(), key=_number)
    commands = lists[version]
    run: dict[str, list[Place]] = {}
    for entry in verified:
        ran = {name for each in entry.runs if each.verdict == "passed" for name in each.ran}
        for name in sorted({*entry.commands, *ran}):
            if name in commands:
                run.setdefault(name, []).append((entry.page, entry.line))
    left_out = {}
    for name, (reason, line) in _reasons(reasons).items():
        where = f"{reasons}:{line}: `{name}`"
        if name not in commands:
            raise CoverageError(f"{where} is no command of Valkey {version}. Delete the line, or correct the name.")
        if name in run:
            page, at = run[name][0]
            raise CoverageError(f"{where} is run, at {page}:{at}. Delete the line.")
        left_out[name] = reason
    return Coverage(version, commands, {name: tuple(run[name]) for name in sorted(run)}, left_out)


def _reasons(path: Path) -> dict[str, tuple[str, int]]:
    """Command to reason and line.

    Raises:
        CoverageError: the file is not such a list.
    """
    try:
        root = yaml.compose(path.read_text("utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise CoverageError(f"{path}: cannot be read: {' '.join(str(error).split())}.") from None
    if root is None:
        return {}
    if not isinstance(root, yaml.MappingNode):
        raise CoverageError(f"{path}:{root.start_mark.line + 1}: a line looks like `PFDEBUG: why it is left out`.")
    found: dict[str, tuple[str, int]] = {}
    for name, reason in root.value:
        line = name.start_mark.line + 1
        if not isinstance(reason, yaml.ScalarNode) or not reason.value.strip():
            raise CoverageError(f"{path}:{line}: `{name.value}` is given no reason.")
        if name.value in found:
            raise CoverageError(f"{path}:{line}: `{name.value}` stands here twice.")
        found[name.value] = reason.value, line
    return found


def _number(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split("."))
