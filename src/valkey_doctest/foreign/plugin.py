"""``pytest --valkey-docs PATH…``: the transcripts of any project's Markdown, an item a block.

It replaces what pytest would collect otherwise. A page is replayed the first time one of its blocks is
asked for; the items report what happened, as they do for our own pages.
"""

from __future__ import annotations

import os
import time
from collections import defaultdict
from collections.abc import Generator, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from valkey_doctest.servers import Provider, ServerError

if TYPE_CHECKING:  # what reads Markdown is imported only if it is asked for
    from valkey_doctest.foreign.judge import Judged
    from valkey_doctest.foreign.known import Known
    from valkey_doctest.foreign.read import Block, Page
    from valkey_doctest.foreign.report import Run

OPTION = "--valkey-docs"
SUFFIXES = (".md", ".markdown", ".mdx")

_PROPERTY = "valkey_docs"
_PLUGIN = "valkey_docs"


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the options."""
    group = parser.getgroup("valkey-docs", "Valkey transcripts in any project's Markdown")
    group.addoption(
        OPTION,
        nargs="+",
        action="extend",
        default=[],
        metavar="PATH",
        help="verify the transcripts in these Markdown files and folders, and nothing else",
    )
    group.addoption(
        f"{OPTION}-report", type=Path, metavar="PATH", help="write what became of every block and exchange, as JSON"
    )
    group.addoption(
        f"{OPTION}-known",
        type=Path,
        metavar="PATH",
        help="the differences that are known, a line each with its reason; one that agrees again fails the run",
    )
    group.addoption(
        f"{OPTION}-known-write",
        action="store_true",
        help="put this run's differences on that list, for you to write the reasons, and take off what agrees",
    )


def pytest_configure(config: pytest.Config) -> None:
    """Take over, if the option is there."""
    given = config.getoption(OPTION)
    if not given:
        for option in ("report", "known", "known-write"):
            if config.getoption(f"{OPTION}-{option}"):
                raise pytest.UsageError(f"{OPTION}-{option} needs {OPTION} PATH…")
        return
    state = ForeignPages(config, given)
    config.args = []
    config.pluginmanager.register(state, _PLUGIN)


def _files(given: Iterable[str]) -> Iterator[tuple[Path, str]]:
    """The Markdown files of files and folders, with the names that reports and lists call them.

    Raises:
        pytest.UsageError: there is no such file or folder, or no Markdown in it.
    """
    here = Path.cwd()
    for each in given:
        top = Path(each).resolve()
        if not top.exists():
            raise pytest.UsageError(f"{OPTION}: there is no {each}.")
        files = [top] if top.is_file() else sorted(_below(top))
        if not files:
            raise pytest.UsageError(f"{OPTION}: there is no Markdown ({', '.join(SUFFIXES)}) in {each}.")
        base = here if top.is_relative_to(here) else top.parent
        for file in files:
            yield file, file.relative_to(base).as_posix()


def _below(top: Path) -> Iterator[Path]:
    """The Markdown files below a folder; hidden folders and installed packages are not the project's pages."""
    for folder, folders, files in os.walk(top):
        folders[:] = [name for name in folders if not name.startswith(".") and name != "node_modules"]
        for name in files:
            path = Path(folder, name)
            if path.suffix.lower() in SUFFIXES and path.is_file():
                yield path


class ForeignPages:
    """One run: what was asked for, and what became of it."""

    def __init__(self, config: pytest.Config, given: Iterable[str]) -> None:
        from valkey_doctest.foreign import known  # noqa: PLC0415

        self._config = config
        self.names: dict[Path, str] = dict(_files(given))
        self._verdicts: dict[tuple[str, str], dict[tuple[str, int], list[dict[str, Any]]]] = defaultdict(dict)
        self._seconds: dict[tuple[str, str], dict[str, float]] = defaultdict(dict)
        self._errors: dict[tuple[str, str], dict[str, str]] = defaultdict(dict)
        self._said: list[str] = []
        self._runs: list[Run] = []
        self._known_path: Path | None = config.getoption(f"{OPTION}-known")
        self._writes = bool(config.getoption(f"{OPTION}-known-write"))
        if self._writes and not self._known_path:
            raise pytest.UsageError(f"{OPTION}-known-write needs {OPTION}-known=PATH.")
        self.known: dict[tuple[str, str], Known] = {}
        try:
            self.known = known.load(self._known_path) if self._known_path else {}
        except known.KnownError as error:
            raise pytest.UsageError(str(error)) from None

    def providers(self) -> list[Provider]:
        """The servers that the options of the main plugin ask for."""
        pages: Any = self._config.pluginmanager.get_plugin("valkey_pages")
        found: list[Provider] = pages.providers()
        if not all(provider.fresh for provider in found):
            raise pytest.UsageError(f"{OPTION} gives each page a fresh server, so --valkey-server=URL cannot be used.")
        return found

    @pytest.hookimpl(tryfirst=True)
    def pytest_collection(self, session: pytest.Session) -> bool | None:
        """Collect the pages asked for and nothing else.

        Not through their folders: somebody else's ``conftest.py`` and ignore lists are no business of ours.
        """
        config = self._config
        if config.pluginmanager.has_plugin("dsession"):
            return None  # with xdist, the other processes collect
        hook = session.ihook
        session.items = []
        for path, name in self.names.items():
            page = ForeignFile.from_parent(session, path=path, nodeid=name, state=self)
            hook.pytest_collectstart(collector=page)
            report: pytest.CollectReport = hook.pytest_make_collect_report(collector=page)
            hook.pytest_collectreport(report=report)
            for item in report.result if report.passed else ():
                assert isinstance(item, BlockItem)
                hook.pytest_itemcollected(item=item)
                session.items.append(item)
        hook.pytest_collection_modifyitems(session=session, config=config, items=session.items)
        hook.pytest_collection_finish(session=session)
        session.testscollected = len(session.items)
        return True

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(
        self, item: pytest.Item, call: pytest.CallInfo[None]
    ) -> Generator[None, pytest.TestReport, pytest.TestReport]:
        """Attach what became of the block: with xdist, the report is what reaches the main process."""
        report = yield
        if call.when == "call" and isinstance(item, BlockItem):
            report.user_properties.append((_PROPERTY, item.result()))
        return report

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Collect the verdicts, in the process that has them all."""
        for name, value in report.user_properties:
            if name != _PROPERTY or report.when != "call" or not isinstance(value, dict):
                continue
            server = value["version"], value["provider"]
            self._seconds[server][value["page"]] = value["seconds"]
            if value["error"]:
                self._errors[server][value["page"]] = value["error"]
            else:
                self._verdicts[server][value["page"], value["line"]] = value["exchanges"]

    @pytest.hookimpl(tryfirst=True)
    def pytest_sessionfinish(self, session: pytest.Session, exitstatus: int) -> None:
        """Add everything up, write the report, and hold the list against it."""
        if hasattr(self._config, "workerinput") or exitstatus in (
            pytest.ExitCode.USAGE_ERROR,
            pytest.ExitCode.INTERNAL_ERROR,
        ):
            return
        self._add_up()
        if exitstatus == pytest.ExitCode.NO_TESTS_COLLECTED and not any(
            run.totals()["exchanges"] for run in self._runs
        ):
            session.exitstatus = pytest.ExitCode.OK  # pages without transcripts are accounted for as well
        if self._writes:
            self._write_known()
        elif problems := list(self._obsolete()):
            self._said += problems
            if session.exitstatus == pytest.ExitCode.OK:
                session.exitstatus = pytest.ExitCode.TESTS_FAILED
        path: Path | None = self._config.getoption(f"{OPTION}-report")
        if path:
            from valkey_doctest.foreign import report  # noqa: PLC0415

            try:
                report.save(self._runs, path)
            except OSError as error:
                self._said.append(f"ERROR: the report could not be written: {error}")
                session.exitstatus = pytest.ExitCode.INTERNAL_ERROR

    def _add_up(self) -> None:
        from valkey_doctest.foreign import read, report  # noqa: PLC0415

        pages: list[Page] = []
        unreadable: dict[str, str] = {}
        for path, name in self.names.items():
            try:
                pages.append(read.read_page(path, name))
            except OSError as error:
                unreadable[name] = str(error)
        self._runs = [
            report.Run(
                provider.version,
                provider.name,
                pages,
                self._verdicts[provider.version, provider.name],
                {} if self._writes else self.known,
                self._seconds[provider.version, provider.name],
                {**unreadable, **self._errors[provider.version, provider.name]},
            )
            for provider in self.providers()
        ]

    def _seen(self) -> dict[tuple[str, str], set[str]]:
        """Of each exchange that was run, its verdicts on all servers."""
        seen: dict[tuple[str, str], set[str]] = defaultdict(set)
        for run in self._runs:
            for page, exchange in run.exchanges():
                if "key" in exchange:
                    seen[page, exchange["key"]].add(exchange["verdict"])
        return seen

    def _whole(self) -> set[str]:
        """The pages of which every exchange was run on every server."""
        partly = {page for run in self._runs for page, exchange in run.exchanges() if "key" not in exchange}
        return {
            name for name in self.names.values() if name not in partly and all(name not in r.errors for r in self._runs)
        }

    def _obsolete(self) -> Iterator[str]:
        """Lines of the list that are to be deleted."""
        seen, whole = self._seen(), self._whole()
        for entry in self.known.values():
            verdicts = seen.get((entry.page, entry.key))
            place = f"{self._known_path}:{entry.line}: `{entry.command}` on {entry.page}"
            if verdicts == {"verified"}:
                yield f"{place} agrees again: delete the line."
            elif verdicts is None and entry.page in whole:
                yield f"{place} is not there any more: delete the line."

    def _write_known(self) -> None:
        """Keep what still differs and what was not run, add what differs now."""
        from valkey_doctest.foreign import known  # noqa: PLC0415

        seen, whole = self._seen(), self._whole()
        kept = {
            place: entry
            for place, entry in self.known.items()
            if not (seen.get(place) == {"verified"} or (place not in seen and entry.page in whole))
        }
        new = {
            (page, exchange["key"]): known.Known(page, exchange["key"], exchange["command"], known.WHY)
            for run in self._runs
            for page, exchange in run.exchanges()
            if exchange["verdict"] == "differs" and (page, exchange["key"]) not in kept
        }
        assert self._known_path is not None
        known.save(self._known_path, [*kept.values(), *new.values()])
        self._said.append(
            f"{self._known_path}: {len(kept)} kept, {len(new)} new: write a reason for each `{known.WHY}`."
        )

    def pytest_terminal_summary(self, terminalreporter: Any) -> None:
        """Say what came out."""
        if not self._runs and not self._said:
            return
        terminalreporter.section("Valkey transcripts", "-")
        for run in self._runs:
            for line in run.summary():
                terminalreporter.write_line(line)
        for line in self._said:
            terminalreporter.write_line(line, red=True)


@dataclass
class Replay:
    """A page on one kind of server, replayed when it is first asked for."""

    page: Page
    provider: Provider
    deadline: float
    seconds: float = 0.0
    error: str = ""
    _judged: dict[int, list[Judged]] | None = field(default=None, repr=False)

    def block(self, line: int) -> list[Judged]:
        """The verdicts on the exchanges of the block on this line; none if no server could be started."""
        if self._judged is None:
            self._judged = {}
            started = time.monotonic()
            try:
                self._run()
            except ServerError as error:
                self.error = str(error)
            self.seconds = time.monotonic() - started
        return self._judged.get(line, [])

    def _run(self) -> None:
        from valkey_doctest.foreign import judge  # noqa: PLC0415

        judged = iter(judge.judge(self.page, self.provider, deadline=min(self.deadline, judge.DEADLINE)))
        self._judged = {block.line: [next(judged) for _ in block.exchanges] for block in self.page.blocks}


class ForeignFile(pytest.File):
    """One page."""

    def __init__(self, *, state: ForeignPages, **arguments: Any) -> None:
        super().__init__(**arguments)
        self.state = state

    def collect(self) -> Iterator[pytest.Item]:
        """An item for every transcript, on every kind of server."""
        from valkey_doctest.foreign import read  # noqa: PLC0415

        name = self.state.names[self.path]
        try:
            page = read.read_page(self.path, name)
        except OSError as error:
            raise self.CollectError(f"{name}: {error}") from None
        blocks = [block for block in page.blocks if block.exchanges]
        if not blocks:
            return
        providers = self.state.providers()
        for provider in providers:
            replay = Replay(page, provider, self.config.getoption("--valkey-deadline"))
            for block in blocks:
                suffix = f",{provider.name}-{provider.version}" if len(providers) > 1 else ""
                yield BlockItem.from_parent(
                    self, name=f"line:{block.line}{suffix}", block=block, replay=replay, state=self.state
                )


class BlockItem(pytest.Item):
    """One transcript."""

    def __init__(self, *, block: Block, replay: Replay, state: ForeignPages, **arguments: Any) -> None:
        super().__init__(**arguments)
        self._block = block
        self._replay = replay
        self._state = state

    def reportinfo(self) -> tuple[Path, int, str]:
        """See :meth:`pytest.Item.reportinfo`."""
        return self.path, self._block.line - 1, f"{self._replay.page.name}:{self._block.line}"

    def runtest(self) -> None:
        """Report what the replay saw."""
        judged = self._replay.block(self._block.line)
        page = self._replay.page.name
        if self._replay.error:
            pytest.fail(f"{page}: {self._replay.error}", pytrace=False)
        differ = [each for each in judged if each.verdict == "differs"]
        new = [each for each in differ if (page, each.key) not in self._state.known]
        if new:
            pytest.fail("\n".join(self._said(each) for each in new), pytrace=False)
        if differ:
            reasons = dict.fromkeys(self._state.known[page, each.key].reason for each in differ)
            pytest.xfail("known: " + "; ".join(reasons))
        if all(each.verdict == "skipped" for each in judged):
            kinds = dict.fromkeys(each.kind for each in judged)
            raise pytest.skip.Exception("; ".join(kinds), _use_item_location=True)

    def _said(self, judged: Judged) -> str:
        where = f"{self._replay.page.name}:{judged.exchange.line}"
        on = f"Valkey {self._replay.provider.version} ({self._replay.provider.name})"
        prompt = (
            "" if judged.kind != "the reply differs" else f"      {judged.exchange.prompt}{judged.exchange.command}\n"
        )
        diff = "".join(f"    {line}\n" for line in judged.diff.splitlines())
        return f"{where}: {on}: {judged.kind}.\n{prompt}{diff}    key {judged.key}\n"

    def result(self) -> dict[str, Any]:
        """What became of the block, in a form that can be sent between processes."""
        from valkey_doctest.foreign import compare  # noqa: PLC0415

        return {
            "version": self._replay.provider.version,
            "provider": self._replay.provider.name,
            "page": self._replay.page.name,
            "line": self._block.line,
            "seconds": self._replay.seconds,
            "error": self._replay.error,
            "exchanges": [
                {
                    "key": each.key,
                    "command": each.exchange.command,
                    "verdict": each.verdict,
                    "kind": each.kind,
                    "actual": compare.clipped(each.actual),
                }
                for each in self._replay.block(self._block.line)
            ],
        }
