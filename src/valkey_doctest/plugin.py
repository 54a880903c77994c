"""The pytest plugin: options, which servers a run uses, the record, and the summary.

A project's ``conftest.py`` says which pages are verified::

    from valkey_doctest.plugin import pages

    pytest_collect_file = pages("docs")
"""

from __future__ import annotations

import argparse
import gc
import inspect
import sys
from collections import Counter
from collections.abc import Callable, Generator, Iterable, Sequence
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from sybil import Sybil
from sybil.integration import pytest as sybil_pytest
from sybil.integration.pytest import SybilFile, SybilItem

from valkey_doctest import record
from valkey_doctest.fences import FenceError, read_page
from valkey_doctest.listed import Lists
from valkey_doctest.machine import explain
from valkey_doctest.page import Result
from valkey_doctest.reaper import Reaper
from valkey_doctest.record import Entry, Run
from valkey_doctest.servers import Provider, ServerError
from valkey_doctest.servers.choose import KINDS, choose
from valkey_doctest.servers.external import EXAMPLE, ExternalProvider, is_url
from valkey_doctest.session import Session
from valkey_doctest.steps import Step
from valkey_doctest.sybil_page import PageDocument, PageEvaluator, PageParser

pytest_plugins = ["valkey_doctest.foreign.plugin"]
"""``--valkey-docs``, which is of its own."""

_PROPERTY = "valkey_doctest"


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the options."""
    group = parser.getgroup("valkey", "Valkey pages")
    group.addoption(
        "--valkey-server",
        default="auto",
        type=_server,
        metavar="KIND",
        help="where servers come from; auto: a container if its image is here, else embedded (also: container, "
        f"embedded); all: every one at hand; {EXAMPLE}: an empty server that runs there, the same for all pages",
    )
    group.addoption(
        "--valkey-version",
        action="append",
        default=[],
        metavar="VERSION",
        help="the server's version, such as 9.1; may be repeated; default: the newest at hand",
    )
    group.addoption(
        "--update-docs", action="store_true", help="write the real replies into the pages, where theirs are stale"
    )
    group.addoption(
        "--valkey-image", default="valkey/valkey", metavar="NAME", help="the containers' image, without a tag"
    )
    group.addoption(
        "--valkey-deadline",
        type=float,
        default=10.0,
        metavar="SECONDS",
        help="how long a command may take; a program or shell command gets six times as long (default: 10)",
    )
    group.addoption(
        "--valkey-record",
        type=Path,
        default=record.DEFAULT_PATH,
        metavar="PATH",
        help=f"where verdicts are merged into (default: {record.DEFAULT_PATH})",
    )


def _server(kind: str) -> str:
    if kind in KINDS or is_url(kind):
        return kind
    raise argparse.ArgumentTypeError(f"`{kind}` is none of {', '.join(KINDS)}, and no URL such as {EXAMPLE}")


def pytest_configure(config: pytest.Config) -> None:
    """Register what lives as long as the run."""
    if is_url(config.getoption("--valkey-server")) and config.getoption("dist", "no") != "no":
        raise pytest.UsageError(
            "--valkey-server=URL is one server for all pages, so they cannot run side by side: leave out -n."
        )
    gc.freeze()  # what is imported by now stays: looking at it again and again takes a twentieth of a page's time
    state = ValkeyPages(config)
    config.pluginmanager.register(state, "valkey_pages")
    collects = config.getoption("dist", "no") == "no" or hasattr(config, "workerinput")
    if collects and not config.option.collectonly and _pages_among(config):
        with suppress(pytest.UsageError):  # said when the pages are collected
            state.providers()[0].expect(0)


def _pages_among(config: pytest.Config) -> bool:
    """Whether what is to be collected has to do with pages."""
    arguments = [config.invocation_params.dir / argument.split("::")[0] for argument in config.args]
    return any(a.is_relative_to(root) or root.is_relative_to(a) for a in arguments for root in _folders)


_folders: list[Path] = []
"""Where pages are."""


def pages(folder: str) -> Callable[[Path, pytest.Collector], SybilFile | None]:
    """A ``pytest_collect_file`` hook that verifies every Markdown file in a folder beside the calling file."""
    root = Path(sys._getframe(1).f_code.co_filename).parent / folder  # noqa: SLF001  inspect.stack() takes 20 ms
    _folders.append(root)

    def pytest_collect_file(file_path: Path, parent: pytest.Collector) -> SybilFile | None:
        state: ValkeyPages = parent.config.pluginmanager.get_plugin("valkey_pages")  # type: ignore[assignment]
        if file_path.suffix != ".md" or not file_path.is_relative_to(root):
            return None
        try:
            sybils = state.sybils(root)
        except (pytest.UsageError, ServerError) as error:
            raise pytest.Collector.CollectError(str(error)) from None  # as a message, not as a traceback
        return sybil_pytest.pytest_integration(*sybils)(file_path, parent)

    return pytest_collect_file


class ValkeyPages:
    """One run: its servers while it lasts, its verdicts when it ends."""

    def __init__(self, config: pytest.Config) -> None:
        self._config = config
        self._reaper = Reaper()
        self._providers: list[Provider] | None = None
        self._entries: list[Entry] = []
        self._lists = Lists(config, config.rootpath / config.getoption("--valkey-record"))
        self._problems: list[str] = []

    def providers(self) -> list[Provider]:
        """The providers that the options ask for.

        Raises:
            pytest.UsageError: there are none.
        """
        if self._providers is None:
            option = self._config.getoption
            try:
                chosen = choose(
                    option("--valkey-server"), option("--valkey-version"), option("--valkey-image"), self._reaper
                )
            except (ServerError, OSError) as error:
                raise pytest.UsageError(explain(error) if isinstance(error, OSError) else str(error)) from None
            if self.updates and len(chosen) > 1:
                raise pytest.UsageError("--update-docs writes the replies of one server: name one --valkey-version.")
            self._providers = chosen
        return self._providers

    @cache  # noqa: B019  lives as long as the run
    def sybils(self, root: Path) -> list[Sybil]:
        """What reads the pages under a folder, one for each provider.

        Raises:
            pytest.UsageError: there is no provider.
        """
        document = type("PageDocument", (PageDocument,), {"root": self._config.rootpath})
        # A Sybil asks which module makes it; finding that out among all of them takes 10 ms.
        inspect.modulesbyfile[__file__] = __name__
        return [
            Sybil(
                parsers=[PageParser(provider, self.open_session, updates=self.updates)],
                patterns=["*.md"],
                path=str(root),
                document_types={".md": document},
                name=f"{provider.name}-{provider.version}",
            )
            for provider in self.providers()
        ]

    @property
    def updates(self) -> bool:
        """Whether stale replies are replaced in the pages."""
        return bool(self._config.getoption("--update-docs"))

    def open_session(self, provider: Provider, deployment: str) -> Session:
        """A page's session."""
        deadline = self._config.getoption("--valkey-deadline")
        return Session(
            provider, self._reaper, deployment, deadline, at_end=self._lists.at_end if provider.fresh else None
        )

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(
        self, item: pytest.Item, call: pytest.CallInfo[None]
    ) -> Generator[None, pytest.TestReport, pytest.TestReport]:
        """Attach what became of the fence: with xdist, the report is what reaches the main process."""
        report = yield
        if call.when == "call" and isinstance(item, SybilItem):
            evaluator = item.example.region.evaluator
            if isinstance(evaluator, PageEvaluator) and (result := evaluator.result(item.example.parsed)):
                report.user_properties.append((_PROPERTY, _entry(evaluator, item.example.parsed, result)))
        return report

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Collect the verdicts, in the process that has them all."""
        for name, value in report.user_properties:
            if name == _PROPERTY and report.when == "call" and isinstance(value, dict):
                self._entries.append(record.entry(value))

    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        """Give back the server that was lent to us, and merge the verdicts into the record."""
        self._give_up(self._reaper.close())
        for provider in self._providers or []:
            if isinstance(provider, ExternalProvider) and (changed := provider.restore()):
                self._problems.append(f"pages leave their server changed, so the next page finds it so: {changed}")
                session.exitstatus = pytest.ExitCode.TESTS_FAILED
        self._lists.hand_over()
        if not self._entries or hasattr(self._config, "workeroutput"):
            return  # of xdist's processes, the main one has all verdicts
        root = self._config.rootpath
        current = {}
        for page in {entry.page for entry in self._entries}:
            try:
                current[page] = {fence.digest for fence in read_page(root / page, root=root).fences}
            except (FenceError, OSError):
                continue  # it was changed meanwhile: the next run will say what is wrong
        path = root / self._config.getoption("--valkey-record")
        try:
            with record.locked(path):
                known = record.load(path)
                known.merge(self._entries, current=current)
                known.commands |= self._lists.found
                record.save(known, path)
        except (OSError, record.RecordError) as error:
            why = explain(error) if isinstance(error, OSError) else error
            self._problems.append(f"the record could not be written: {why}")
            session.exitstatus = pytest.ExitCode.INTERNAL_ERROR

    def _give_up(self, commands: Sequence[str]) -> None:
        """Name what is left behind, in the process that reports."""
        if hasattr(self._config, "workeroutput"):
            self._config.workeroutput[_PROPERTY] = commands
        else:
            self._problems += [
                f"not everything could be removed. When Docker or the server answers again, run `{each}`"
                for each in commands
            ]

    @pytest.hookimpl(optionalhook=True)
    def pytest_testnodedown(self, node: Any, error: object) -> None:  # noqa: ARG002
        """Take over what a process of xdist's found out, and what it leaves behind."""
        self._lists.take_over(node)
        self._give_up(getattr(node, "workeroutput", {}).get(_PROPERTY, []))

    def pytest_terminal_summary(self, terminalreporter: Any) -> None:
        """Say what was verified on what, and what was not and why."""
        if not self._entries and not self._problems:
            return
        write = terminalreporter.write_line
        terminalreporter.section("Valkey pages", "-")
        for version, provider in sorted({(r.version, r.provider) for e in self._entries for r in e.runs}):
            here = [(e, r) for e in self._entries for r in e.runs if (r.version, r.provider) == (version, provider)]
            passed = [e for e, r in here if r.verdict == "passed"]
            exchanges = sum(e.exchanges for e in passed)
            text = f"Valkey {version} ({provider}): {len(passed)} fences, {exchanges} exchanges verified"
            if failed := sum(r.verdict == "failed" for _, r in here):
                text += f", {failed} failed"
            write(text)
            for reason, count in Counter(r.reason for _, r in here if r.verdict == "skipped").items():
                skipped = [e for e, r in here if r.verdict == "skipped" and r.reason == reason]
                write(f"  {count} not run: {reason}: {_places(skipped)}")
        for problem in self._problems:
            write(f"ERROR: {problem}", red=True)

    def pytest_unconfigure(self) -> None:
        """Leave nothing behind."""
        self._reaper.close()


def _places(entries: Iterable[Entry]) -> str:
    """Where they stand, such as ``docs/a.md:12, 40; docs/b.md:7``."""
    by_page: dict[str, list[str]] = {}
    for entry in entries:
        by_page.setdefault(entry.page, []).append(str(entry.line))
    return "; ".join(f"{page}:{', '.join(lines)}" for page, lines in by_page.items())


def _entry(evaluator: PageEvaluator, step: Step, result: Result) -> dict[str, Any]:
    """A fence's verdict in a form that can be sent between processes."""
    run = Run(
        version=evaluator.provider.version,
        provider=evaluator.provider.name,
        deployment=evaluator.plan.deployment,
        verdict=result.verdict,
        reason=result.reason,
        seconds=round(result.seconds, 4),
        ran=evaluator.ran(step),
    )
    fence = step.fence
    return record.plain(
        Entry(fence.digest, fence.page, fence.line, fence.language, step.exchanges, step.commands, (run,))
    )
