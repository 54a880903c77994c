"""Run the same tests again and again on a busy machine; say which fail sometimes: ``python bench/stress.py``.

``--times`` and ``--load`` set how often, and how many processes do nothing but keep the processors busy. What
else is given goes to pytest; the default is the course and the tests of terminals and deployments.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import textwrap
import time
from collections import defaultdict
from contextlib import ExitStack, suppress
from pathlib import Path
from xml.etree import ElementTree as ET

ROOT = Path(__file__).parents[1]
TESTS = ["docs", "tests/engine/test_terminals.py", "tests/engine/test_deployments.py", "--valkey-server=embedded"]
BUSY = "import os\nparent = os.getppid()\nwhile os.getppid() == parent:\n    sum(range(100_000))"
"""It ends when we do, however that comes."""


def failures(report: Path) -> dict[str, str]:
    """What failed in one run, each with its place and the first line of what was said; and all that was said."""
    found = {}
    for case in ET.parse(report).iter("testcase"):  # noqa: S314  pytest has just written it
        for problem in [*case.iter("failure"), *case.iter("error")]:
            said = (problem.get("message") or problem.text or "").strip()
            found[f"{case.get('classname')}::{case.get('name')}: {said.split(chr(10))[0][:200]}"] = said
    return found


def main() -> int:
    """Run; 1 if anything failed."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("--times", type=int, default=50)
    parser.add_argument("--load", type=int, default=4)
    options, rest = parser.parse_known_args()
    seen: dict[str, list[int]] = defaultdict(list)
    number = 0
    with suppress(KeyboardInterrupt), ExitStack() as ends:  # what was seen by then is said
        folder = Path(ends.enter_context(tempfile.TemporaryDirectory()))
        for _ in range(options.load):
            ends.callback(subprocess.Popen([sys.executable, "-c", BUSY]).kill)
        for number in range(1, options.times + 1):
            report, started = folder / "report.xml", time.monotonic()
            own = ["-q", "-p", "no:cacheprovider", f"--junit-xml={report}", f"--valkey-record={folder / 'record.json'}"]
            said = subprocess.run(
                [sys.executable, "-m", "pytest", *own, *(rest or TESTS)],
                cwd=ROOT,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                check=False,
            ).stdout
            if not report.exists():
                sys.exit(said)
            for failure, all_of_it in failures(report).items():
                seen[failure].append(number)
                print(f"  {failure}\n{textwrap.indent(all_of_it, '    ')}", flush=True)
            report.unlink()
            last = said.rstrip().rsplit("\n", 1)[-1].strip("= ")
            print(f"run {number} of {options.times}, {time.monotonic() - started:.0f} s: {last}", flush=True)
    for failure, runs in sorted(seen.items()):
        print(f"{len(runs)} of {number} runs: {failure}")
    return bool(seen)


if __name__ == "__main__":
    sys.exit(main())
