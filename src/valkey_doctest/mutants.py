"""Plants a wrong thing in a page, each kind in every fence, and requires that it is caught: ``make mutants``.

Run as ``python -m valkey_doctest.mutants docs``. Each page is replayed once; mutants are read and planned from
scratch, then their steps run on what was recorded (:mod:`valkey_doctest.playback`). Where a mutant would make a
server do something else, it is replayed in earnest: of changed commands one for each transcript at most.
It ends with status 1 if a mutant is not caught and nothing says why it need not be. ``build/mutants.json``::

    {"schema": 1, "version": "9.1.2", "provider": "embedded", "pages": 5, "fences": 130, "seconds": 21.0,
     "kinds": [{"kind": "digit changed", "planted": 9, "caught": 8, "replayed": 0, "equivalent": 1, "survived": 0}],
     "equivalent": [{"reason": "…", "count": 1, "mutants": [{"kind": "…", "page": "…", "fence": 0, "line": 1,
                     "was": "…", "now": "…"}]}],
     "survived": [{"kind": "…", "page": "…", "fence": 0, "line": 1, "was": "…", "now": "…"}],
     "left out": {"needs Docker": 5}, "commands": {"candidates": 60, "replayed": 40, "seed": 1},
     "digests": {"docs/page.md": "…"}, "of each page": […], "made with": {…}}

A page whose fences are as they were (``digests``, see :attr:`valkey_doctest.fences.Page.digest`) is not judged again
by the same program with the same options (``made with``): what was found is taken over, survivors excepted.
"""

from __future__ import annotations

import argparse
import copy
import functools
import hashlib
import json
import multiprocessing
import os
import random
import sys
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from valkey_doctest import fences, whole
from valkey_doctest import page as page_of
from valkey_doctest.fences import Fence, FenceError, Page, parse_page, read_page
from valkey_doctest.files import FileStep
from valkey_doctest.names import Names
from valkey_doctest.page import Plan, plan, replay
from valkey_doctest.planting import KINDS, Mutant, Planter, replies
from valkey_doctest.playback import DivergedError, Recording, RecordingSession, play, record
from valkey_doctest.reaper import Reaper
from valkey_doctest.servers import Provider, ServerError
from valkey_doctest.servers.choose import choose
from valkey_doctest.session import Failure, Session, Skip
from valkey_doctest.steps import Step
from valkey_doctest.transcript import Blocked

Fate = Literal["caught", "equivalent", "survived"]
FATES: tuple[Fate, ...] = ("caught", "equivalent", "survived")

DEADLINE = 10.0
MUTANT_DEADLINE = 2.0
"""How long a command of a mutant may take; one that does not answer is caught."""
INCLUDED = "the text is another file's"
DEFAULT_PATH = Path("build/mutants.json")


@dataclass
class Tally:
    """What became of the mutants of a page."""

    page: str
    fences: int = 0
    version: str = ""
    fates: list[tuple[Mutant, Fate, bool]] = field(default_factory=list)
    """Each with whether it was replayed in earnest."""
    open: list[Mutant] = field(default_factory=list)
    """Only a real replay can judge them."""
    candidates: int = 0
    left_out: Counter[str] = field(default_factory=Counter)
    problem: str | None = None

    def add(self, mutant: Mutant, fate: Fate, *, replayed: bool) -> None:
        """Note a fate; the page that was changed is no longer needed."""
        self.fates.append((replace(mutant, text=""), fate, replayed))


def judge_page(path: Path, root: Path, most: int, seed: int) -> Tally:
    """Plant and judge the mutants of a page, but for those that need a real replay."""
    page = read_page(path, root=root)
    tally = Tally(page.path, len(page.fences))
    with _servers() as (provider, reaper), _cached_includes(), _cached_steps():
        planned = plan(page)
        tally.version = provider.version
        results, recordings = record(
            planned, lambda kind: RecordingSession(provider, reaper, kind, DEADLINE), provider.version
        )
        for step, result, recording in zip(planned.steps, results, recordings, strict=True):
            if result.verdict == "failed":
                tally.problem = f"{page.path}:{result.line}: the page itself fails, see `make verify`: {result.reason}"
                return tally
            if result.verdict == "skipped":
                tally.left_out[result.reason or ""] += 1
            elif step.fence.included:
                tally.left_out[INCLUDED] += 1
            elif recording and (wrong := _control(step, recording)):
                tally.problem = f"{page.path}:{step.fence.line}: its playback would fail unchanged: {wrong}"
                return tally
        for mutant in _planted(planned, recordings):
            try:
                fate: Fate = "caught" if _is_caught(mutant, planned, recordings, root) else _otherwise(mutant)
                tally.add(mutant, fate, replayed=False)
            except DivergedError:
                tally.open.append(mutant)
    planter = Planter(planned)
    ran = [place for place, recording in enumerate(recordings) if recording]
    chance = random.Random(f"{seed} {page.path}")  # noqa: S311  no secret
    one_each = [chance.choice(mutants) for place in ran if (mutants := planter.commands(place))]
    tally.candidates = len(one_each)
    tally.open += chance.sample(one_each, min(most, len(one_each)))
    return tally


def _control(step: Step, recording: Recording) -> str | None:
    """What a playback of the page as it is finds wrong: nothing, or else it would find the same in every mutant."""
    if isinstance(step, FileStep):
        return None  # it talks to nobody, and is not played
    names = copy.deepcopy(recording.before)
    try:
        return play(step, recording, names) or (None if names == recording.after else "it names other things")
    except DivergedError:
        return "it asks for something else"


def _planted(planned: Plan, recordings: list[Recording | None]) -> Iterator[Mutant]:
    planter = Planter(planned)
    for place, (step, recording) in enumerate(zip(planned.steps, recordings, strict=True)):
        yield from planter.language(place)
        if recording and not step.fence.included:
            yield from planter.output(place)
            yield from planter.prompts(place)


def _otherwise(mutant: Mutant) -> Fate:
    return "equivalent" if mutant.equivalent else "survived"


def _is_caught(mutant: Mutant, planned: Plan, recordings: list[Recording | None], root: Path) -> bool:
    """Whether reading the mutant, or a playback of its step and of what depends on the names it binds, fails."""
    try:
        steps = plan(parse_page(mutant.text, planned.page.path, root=root)).steps
    except FenceError:
        return True
    if len(steps) != len(planned.steps):
        raise DivergedError
    recording = recordings[mutant.place]
    if recording is None or mutant.kind == "language misspelt":
        return False  # reading has to notice
    names = copy.deepcopy(recording.before)
    if play(steps[mutant.place], recording, names) is not None:
        return True
    if names == recording.after:
        return False
    for step, later in zip(steps[mutant.place + 1 :], recordings[mutant.place + 1 :], strict=True):
        if later and replies(step) and play(step, later, _rebound(later.before, recording.after, names)) is not None:
            return True
    return False


def _rebound(before: Names, were: Names, are: Names) -> Names:
    """Names as a later step finds them, if some stand for something else since an earlier step."""
    changed = copy.deepcopy(before)
    for table, old, new in (
        (changed._real, were._real, are._real),  # noqa: SLF001
        (changed._shown, were._shown, are._shown),  # noqa: SLF001
    ):
        for key in old.keys() - new.keys():
            table.pop(key, None)
        table.update({key: value for key, value in new.items() if old.get(key) != value})
    return changed


class _UpToFault:
    """A step that is not run once another of its page has failed: the mutant is caught."""

    def __init__(self, step: Step, faults: list[Failure]) -> None:
        self.fence, self.lane, self.exchanges, self.commands = step.fence, step.lane, step.exchanges, step.commands
        self._step, self._faults = step, faults

    def run(self, session: Session) -> None:
        if self._faults:
            raise Skip("the mutant is caught")
        try:
            self._step.run(session)
        except Failure as failure:
            self._faults.append(failure)
            raise


def judge_in_earnest(page: str, mutant: Mutant, root: Path) -> Fate:
    """Replay a mutant on real servers."""
    try:
        planned = plan(parse_page(mutant.text, page, root=root))
    except FenceError:
        return "caught"
    faults: list[Failure] = []
    steps = tuple(_UpToFault(step, faults) for step in planned.steps)
    with _servers() as (provider, reaper):
        results = replay(
            planned._replace(steps=steps),
            lambda kind: Session(provider, reaper, kind, MUTANT_DEADLINE),
            provider.version,
        )
    return "caught" if any(result.verdict == "failed" for result in results) else _otherwise(mutant)


@contextmanager
def _servers() -> Iterator[tuple[Provider, Reaper]]:
    reaper = Reaper()
    try:
        yield choose("embedded", [], "valkey/valkey", reaper)[0], reaper
    finally:
        reaper.close()


@contextmanager
def _cached_includes() -> Iterator[None]:
    """Read other files once, not for every mutant; they do not change, and it takes most of the time.

    So does what most mutants have in common.
    """
    real, normalize = fences._include, fences.normalize  # noqa: SLF001
    fences._include = functools.cache(real)  # noqa: SLF001
    fences.normalize = functools.cache(normalize)
    try:
        yield
    finally:
        fences._include = real  # noqa: SLF001
        fences.normalize = normalize


@contextmanager
def _cached_steps() -> Iterator[None]:
    """Plan a fence once for all mutants in which it, its place and what its step depends on are the same."""
    real = page_of._step  # noqa: SLF001
    known: dict[object, Step] = {}

    def step(
        fence: Fence, previous: Step | None, following: Fence | None, blocked: Mapping[str, Blocked | None]
    ) -> Step:
        attributes = tuple(sorted(fence.attributes.items()))
        what = fence.line, fence.indent, fence.language, attributes, fence.text, fence.included
        around = type(previous), following and (following.language, following.title), blocked.get(fence.title or "")
        if (what, around) not in known:
            known[what, around] = real(fence, previous, following, blocked)
        return known[what, around]

    page_of._step = step  # noqa: SLF001
    try:
        yield
    finally:
        page_of._step = real  # noqa: SLF001


def run(paths: list[Path], root: Path, *, jobs: int, most: int, seed: int) -> list[Tally]:
    """Judge all mutants of the pages, in ``jobs`` processes."""
    if jobs == 1:
        tallies = [judge_page(path, root, most, seed) for path in paths]
        for tally in tallies:
            for mutant in tally.open:
                tally.add(mutant, judge_in_earnest(tally.page, mutant, root), replayed=True)
        return tallies
    with ProcessPoolExecutor(jobs, multiprocessing.get_context("spawn")) as pool:
        tallies = list(pool.map(judge_page, paths, *([each] * len(paths) for each in (root, most, seed))))
        waiting = [(tally, mutant) for tally in tallies for mutant in tally.open]
        fates = pool.map(judge_in_earnest, [t.page for t, _ in waiting], [m for _, m in waiting], [root] * len(waiting))
        for (tally, mutant), fate in zip(waiting, fates, strict=True):
            tally.add(mutant, fate, replayed=True)
    return tallies


Said = dict[str, Any]
"""What is said of a page, in the form of the file."""


def say(tally: Tally, page: Page) -> Said:
    """What is said of a page in ``build/mutants.json``: enough to be taken over as long as its fences stay."""
    kinds = {}
    for kind in KINDS:
        count = Counter(fate for mutant, fate, _ in tally.fates if mutant.kind == kind)
        replayed = sum(real for mutant, _, real in tally.fates if mutant.kind == kind)
        kinds[kind] = {"planted": count.total(), "replayed": replayed} | {fate: count[fate] for fate in FATES}
    equivalent: dict[str, list[Said]] = {}
    for mutant, fate, _ in tally.fates:
        if fate == "equivalent":
            equivalent.setdefault(mutant.equivalent or "", []).append(_shown(tally.page, mutant))
    return {
        "page": tally.page,
        "digest": page.digest,
        "lines": [fence.line for fence in page.fences],
        "kinds": kinds,
        "equivalent": equivalent,
        "survived": [_shown(tally.page, mutant) for mutant, fate, _ in tally.fates if fate == "survived"],
        "left out": dict(tally.left_out),
        "candidates": tally.candidates,
    }


def _shown(page: str, mutant: Mutant) -> Said:
    shown = {"kind": mutant.kind, "page": page, "fence": mutant.place, "line": mutant.line}
    return shown | {"was": mutant.was, "now": mutant.now}


def take_over(path: Path, made_with: Said, pages: Iterable[Page]) -> dict[str, Said]:
    """What the file says of pages whose fences are as they were, by page; lines are those of the page now."""
    try:
        said = json.loads(path.read_text("utf-8"))
        known = {each["page"]: each for each in said["of each page"] if said["made with"] == made_with}
    except (OSError, ValueError, KeyError, TypeError):
        return {}  # it is made anew
    taken = {}
    for page in pages:
        each = known.get(page.path)
        if each and each["digest"] == page.digest and not each["survived"]:
            lines = [fence.line for fence in page.fences]
            for mutant in (mutant for mutants in each["equivalent"].values() for mutant in mutants):
                mutant["line"] += lines[mutant["fence"]] - each["lines"][mutant["fence"]]
            taken[page.path] = each | {"lines": lines}
    return taken


def summary(each: Sequence[Said], seconds: float, made_with: Said) -> Said:
    """What ``build/mutants.json`` says."""
    equivalent: dict[str, list[Said]] = {}
    for of in each:
        for why, mutants in of["equivalent"].items():
            equivalent.setdefault(why, []).extend(mutants)
    counted = ("planted", "replayed", *FATES)
    kinds = [{"kind": kind} | {what: sum(of["kinds"][kind][what] for of in each) for what in counted} for kind in KINDS]
    return {
        "schema": 1,
        "version": made_with["version"],
        "provider": "embedded",
        "pages": len(each),
        "fences": sum(len(of["lines"]) for of in each),
        "seconds": round(seconds, 1),
        "kinds": kinds,
        "equivalent": [{"reason": why, "count": len(them), "mutants": them} for why, them in equivalent.items()],
        "survived": [mutant for of in each for mutant in of["survived"]],
        "left out": dict(sum((Counter(of["left out"]) for of in each), Counter())),
        "commands": {
            "candidates": sum(of["candidates"] for of in each),
            "replayed": sum(of["kinds"]["command changed"]["planted"] for of in each),
            "seed": made_with["seed"],
        },
        "digests": {of["page"]: of["digest"] for of in each},
        "of each page": list(each),
        "made with": made_with,
    }


def _program() -> str:
    """A digest of this program, servers' part included: what it found is not what a changed one would find."""
    folder = Path(__file__).parent
    files = sorted([*folder.glob("*.py"), *folder.glob("servers/*.py"), *folder.glob("shim/*.py")])
    return hashlib.sha256(b"\0".join(file.read_bytes() for file in files)).hexdigest()


def table(said: Said, taken: int) -> Iterable[str]:
    """The summary for people.

    Args:
        taken: how many pages were not judged again.
    """
    columns = ("planted", "caught", "equivalent", "survived")
    rows = [*said["kinds"], {"kind": "all", **{c: sum(k[c] for k in said["kinds"]) for c in columns}}]
    yield f"{'':20}" + "".join(f"{column:>12}" for column in columns)
    for row in rows:
        yield f"{row['kind']:20}" + "".join(f"{row[column]:12,}" for column in columns)
    for each in said["equivalent"]:
        yield f"Equivalent: {each['count']} ({each['reason']})"
    for reason, count in said["left out"].items():
        yield f"Fences in which only the language was changed: {count} ({reason})"
    commands = said["commands"]
    yield (
        f"Commands were changed in {commands['replayed']} of {commands['candidates']} transcripts that must show it "
        f"(seed {commands['seed']}). {said['pages']} pages, Valkey {said['version']}, {said['seconds']} s."
    )
    if taken:
        has = "has" if taken == 1 else "have"
        yield f"{taken} of the pages {has} the same fences as last time: what was found then still holds."


def main(arguments: list[str] | None = None) -> int:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m valkey_doctest.mutants", description=__doc__.split("\n")[0])
    parser.add_argument("folder", type=Path, help="where the pages are")
    parser.add_argument("--output", type=Path, default=DEFAULT_PATH)
    jobs = os.cpu_count() or 1
    parser.add_argument("--jobs", type=int, default=jobs, help=f"processes (default: {jobs}, one a processor)")
    parser.add_argument("--commands", type=int, default=10, help="changed commands a page, at most (default: 10)")
    parser.add_argument("--seed", type=int, default=1, help="which of them (default: 1)")
    options = parser.parse_args(arguments)
    started = time.monotonic()
    root = Path.cwd()
    try:
        pages = {path: read_page(path, root=root) for path in sorted(options.folder.rglob("*.md"))}
        pages = {path: page for path, page in pages.items() if page.fences}
        if not pages:
            print(f"{options.folder}: no page has a fence, so there is nothing to change.", file=sys.stderr)
            return 1
        with _servers() as (provider, _):
            made_with = {"program": _program(), "version": provider.version}
        made_with |= {"commands": options.commands, "seed": options.seed}
        taken = take_over(options.output, made_with, pages.values())
        new = [path for path, page in pages.items() if page.path not in taken]
        tallies = run(new, root, jobs=options.jobs, most=options.commands, seed=options.seed)
    except (FenceError, ServerError) as error:
        print(error, file=sys.stderr)
        return 1
    if problems := [tally.problem for tally in tallies if tally.problem]:
        print("\n".join(problems), file=sys.stderr)
        return 1
    judged = {tally.page: say(tally, pages[path]) for path, tally in zip(new, tallies, strict=True)}
    each = [judged.get(page.path) or taken[page.path] for page in pages.values()]
    said = summary(each, time.monotonic() - started, made_with)
    whole.write(options.output, (json.dumps(said, indent=1, ensure_ascii=False) + "\n").encode())
    print("\n".join(table(said, len(taken))))
    for mutant in said["survived"]:
        print(
            f"{mutant['page']}:{mutant['line']}: nobody notices: {mutant['kind']}: "
            f"{mutant['was']!r} -> {mutant['now']!r}",
            file=sys.stderr,
        )
    return bool(said["survived"])


if __name__ == "__main__":
    sys.exit(main())
