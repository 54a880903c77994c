"""Pages as Sybil sees them: one strict parser, one region a fence, one replay a page."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import ClassVar

import pytest
from sybil import Document, Example, Region
from sybil.typing import Parser

from valkey_doctest.counting import SCRIPTS
from valkey_doctest.fences import FenceError, read_page
from valkey_doctest.page import Plan, Result, plan, replay, too_cautious
from valkey_doctest.servers import Provider, deployments
from valkey_doctest.session import Session
from valkey_doctest.shell import ConsoleStep
from valkey_doctest.steps import PyconStep, PythonStep, Step
from valkey_doctest.update import update


class PageDocument(Document):
    """A page whose every fence has a step; reading it fails at file:line if one has not."""

    root: ClassVar[Path]
    """The project's top folder, where includes and the page's name begin; set by a subclass."""
    plan: Plan

    @classmethod
    def parse(cls, path: str, *parsers: Parser, encoding: str = "utf-8") -> PageDocument:  # noqa: ARG003
        """See :meth:`sybil.Document.parse`; ``encoding`` is always UTF-8, as it is for the site."""
        try:
            page = read_page(Path(path), root=cls.root)
            planned = plan(page)
        except FenceError as error:
            raise pytest.Collector.CollectError(str(error)) from None
        document = cls(page.text, path)
        document.plan = planned
        for parser in parsers:
            for region in parser(document):
                document.add(region)
        return document


class PageParser:
    """Yields a region for every fence; they share one replay on servers of ``provider``.

    Args:
        updates: whether stale replies are replaced in the page's file.
    """

    def __init__(
        self, provider: Provider, open_session: Callable[[Provider, str], Session], *, updates: bool = False
    ) -> None:
        self._updates = updates
        self._provider = provider
        self._open_session = open_session

    def __call__(self, document: Document) -> Iterable[Region]:
        """See Sybil's documentation on parsers."""
        assert isinstance(document, PageDocument)
        evaluator = PageEvaluator(document.plan, self._provider, self._open_session, updates=self._updates)
        if document.plan.deployment not in deployments.KINDS:
            self._provider.expect(1)
        for step in document.plan.steps:
            yield Region(step.fence.start, step.fence.end, parsed=step, evaluator=evaluator)


class PageEvaluator:
    """Replays its page the first time any of its fences is asked for; then only reports."""

    def __init__(
        self, plan: Plan, provider: Provider, open_session: Callable[[Provider, str], Session], *, updates: bool
    ) -> None:
        self._updates = updates
        self.plan = plan
        self.provider = provider
        self._open_session = open_session
        self._replayed = False
        self._results: dict[int, Result] = {}
        self._ran: dict[int, tuple[str, ...]] = {}

    def result(self, step: Step) -> Result | None:
        """What became of one fence; ``None`` if the replay broke off, through a defect of ours."""
        return self._results.get(step.fence.line)

    def ran(self, step: Step) -> tuple[str, ...]:
        """What servers say was run by one fence beside the commands that it shows, see :mod:`.counting`."""
        return tuple(name for name in self._ran.get(step.fence.line, ()) if name not in step.commands)

    def _replay(self, path: Path) -> None:
        self._replayed = True

        def once(*, trusting: bool = True) -> list[Result]:
            def open_session(kind: str) -> Session:
                return self._open_session(self.provider, kind)

            return replay(self.plan, open_session, self.provider.version, trusting=trusting)

        counted = self.plan._replace(steps=tuple(_Counted(step, self._ran) for step in self.plan.steps))
        results = replay(counted, lambda kind: self._open_session(self.provider, kind), self.provider.version)
        results = too_cautious(self.plan, results, lambda: once(trusting=False), self.provider.version)
        try:
            said = update(path, results, once) if self._updates else None
        except OSError as error:
            said = f"not updated, because the page cannot be written, and is as it was: {error}"
        if said and said.startswith("updated"):
            results = [r._replace(verdict="skipped", reason=said) if r.verdict == "failed" else r for r in results]
        elif said:
            results = [r._replace(reason=f"{r.reason}\n\n{said}") if r.verdict == "failed" else r for r in results]
        self._results = {s.fence.line: r for s, r in zip(self.plan.steps, results, strict=True)}

    def __call__(self, example: Example) -> None:
        """See Sybil's documentation on evaluators."""
        step: Step = example.parsed
        if not self._replayed:
            self._replay(Path(example.path))
        result = self.result(step)
        if result is None:
            pytest.fail(f"{step.fence.page}:{step.fence.line}: not run: the page's replay broke off", pytrace=False)
        if result.verdict == "skipped":
            raise pytest.skip.Exception(result.reason or "", _use_item_location=True)
        if result.verdict == "failed":
            where = f"{step.fence.page}:{result.line}"
            on = f"Valkey {self.provider.version} ({self.provider.name})"
            pytest.fail(f"{where}: {on}: {result.reason}", pytrace=False)


class _Counted:
    """A step whose servers are asked what it ran, if it can run more than it shows."""

    def __init__(self, step: Step, ran: dict[int, tuple[str, ...]]) -> None:
        self.fence, self.lane, self.exchanges, self.commands = step.fence, step.lane, step.exchanges, step.commands
        self._step, self._ran = step, ran
        self._shows_all = not isinstance(step, PythonStep | PyconStep | ConsoleStep) and SCRIPTS.isdisjoint(
            step.commands
        )

    def run(self, session: Session) -> None:
        """See :class:`valkey_doctest.steps.Step`."""
        if self._shows_all:
            self._step.run(session)
            return
        session.count()
        self._step.run(session)
        self._ran[self.fence.line] = session.counted()
