"""What the record says of the pages as they are now: the last word of ``make site`` and of the gate.

Run as ``python -m valkey_doctest.audit docs``. It ends with status 1 if a fence was neither verified nor
marked, or failed; with ``--few-marked`` also if more than a hundredth were only marked; with ``--all-commands`` also if
a command of the newest Valkey is neither run nor left out with a reason.
"""

from __future__ import annotations

import argparse
import sys
from collections import Counter, defaultdict
from pathlib import Path

from valkey_doctest import coverage, record
from valkey_doctest.fences import FenceError, read_page
from valkey_doctest.record import Entry, Record, Status

SHOWN = 10
"""How many refused fences are listed."""

MAX_MARKED = 0.01
"""The part of all fences that may be marked as not run, where everything is at hand to run them."""


def audit(folder: Path, known: Record, root: Path) -> tuple[list[str], dict[Status, list[str]], list[Entry]]:
    """What to say, the places of the fences of each status, and all that is known of the fences.

    Raises:
        FenceError: a page cannot be read.
    """
    places: dict[Status, list[str]] = defaultdict(list)
    entries: list[Entry] = []
    fences = known.fences
    pages = 0
    for path in sorted(folder.rglob("*.md")):
        page = read_page(path, root=root)
        pages += bool(page.fences)
        for fence in page.fences:
            entry = fences.get(fence.digest)
            places[entry.status if entry else "unknown"].append(f"{fence.page}:{fence.line}")
            if entry:
                entries.append(entry._replace(page=fence.page, line=fence.line))
    counts = [f"{len(places[status])} {word}" for status, word in _WORDS.items() if places[status]]
    said = [f"{sum(map(len, places.values()))} fences on {pages} pages: {', '.join(counts) or 'none'}."]
    on: dict[tuple[str, str], list[Entry]] = defaultdict(list)
    for entry in entries:
        for server in {(run.version, run.provider) for run in entry.runs if run.verdict == "passed"}:
            on[server].append(entry)
    said += [
        f"  on Valkey {version} ({provider}): {len(passed)} fences, {sum(e.exchanges for e in passed)} exchanges"
        for (version, provider), passed in sorted(on.items())
    ]
    reasons = Counter(e.runs[0].reason for e in entries if e.status == "marked")
    said += [f"  not run, and marked so on the page: {count} ({reason})" for reason, count in reasons.items()]
    return said, places, entries


_WORDS: dict[Status, str] = {
    "verified": "verified",
    "marked": "marked as not run",
    "failed": "failed",
    "unknown": "never verified as they are now",
}


def main() -> int:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m valkey_doctest.audit", description=__doc__.split("\n")[0])
    parser.add_argument("folder", type=Path, help="where the pages are")
    parser.add_argument("--record", type=Path, default=record.DEFAULT_PATH)
    parser.add_argument(
        "--few-marked",
        action="store_true",
        help=f"also refuse that more than {MAX_MARKED:.0%} of the fences are only marked",
    )
    parser.add_argument(
        "--all-commands", action="store_true", help="also refuse that a command is neither run nor left out on purpose"
    )
    parser.add_argument(
        "--reasons",
        type=Path,
        default=coverage.DEFAULT_PATH,
        help=f"why commands are left out (default: {coverage.DEFAULT_PATH})",
    )
    options = parser.parse_args()
    try:
        known = record.load(options.record)
        said, places, entries = audit(options.folder, known, Path.cwd())
        print("\n".join(said))
        covered = coverage.cover(known.commands, entries, options.reasons)
    except (FenceError, record.RecordError, coverage.CoverageError) as error:
        print(error, file=sys.stderr)
        return 1
    print(covered.summary() if covered else "Commands: the record does not say which there are. Run `make verify`.")
    refused = [*places["failed"], *places["unknown"]]
    if options.few_marked and len(places["marked"]) > MAX_MARKED * sum(map(len, places.values())):
        refused += places["marked"]
    if refused:
        first = "".join(f"  {place}\n" for place in refused[:SHOWN])
        more = f"  and {len(refused) - SHOWN} more\n" if len(refused) > SHOWN else ""
        print(f"Not verified:\n{first}{more}Run `make verify`.", file=sys.stderr)
    open_ = covered.open_by_group() if covered else ["all"]
    if options.all_commands and open_:
        lines = "".join(f"  {line}\n" for line in open_)
        print(f"Commands that are not run:\n{lines}Run them, or say why not in {options.reasons}.", file=sys.stderr)
    return bool(refused or (options.all_commands and open_))


if __name__ == "__main__":
    sys.exit(main())
