"""A page's plan, and its replay: once, in order, top to bottom, on fresh servers."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import NamedTuple

from valkey_doctest import shell
from valkey_doctest.edits import Edit
from valkey_doctest.fences import Fence, FenceError, Page
from valkey_doctest.files import FileStep, is_file
from valkey_doctest.machine import explain
from valkey_doctest.record import Verdict
from valkey_doctest.servers import ServerError, deployments
from valkey_doctest.session import NEEDS_OWN_SERVER, Failure, Session, Skip
from valkey_doctest.steps import OutputStep, PyconStep, PythonStep, Step, TranscriptStep
from valkey_doctest.transcript import INTERRUPT, LANGUAGE, Blocked

DEPLOYMENTS = ("standalone", "compose", *deployments.KINDS)
"""``compose``: a standalone server that the page itself starts with Docker Compose."""

OUTPUT = "Output"
LANGUAGES = (LANGUAGE, "python", "pycon", *shell.LANGUAGES)


class Result(NamedTuple):
    """What became of one fence."""

    verdict: Verdict
    reason: str | None = None
    """Why it failed or was skipped."""
    line: int = 0
    """Where it failed."""
    edits: tuple[Edit, ...] = ()
    """What would make the page right, if that can be said."""
    seconds: float = 0.0


class Plan(NamedTuple):
    """A page whose every fence has a step that can verify it."""

    page: Page
    steps: tuple[Step, ...]
    deployment: str
    since: str | None
    stops_server: bool
    """Whether it does more to the server that it is given than ask it."""


def plan(page: Page) -> Plan:
    """Find for each fence what verifies it.

    Raises:
        FenceError: there is nothing for a fence's language, or its text is not what the language asks for.
    """
    deployment = page.meta.get("deployment", DEPLOYMENTS[0])
    if deployment not in DEPLOYMENTS:
        raise FenceError(page.path, 1, f"unknown deployment `{deployment}`. Known are: {', '.join(DEPLOYMENTS)}.")
    since = page.meta.get("since")
    if since is not None and not re.fullmatch(r"\d+\.\d+", str(since)):
        raise FenceError(page.path, 1, f'`since: {since}` is not a version such as "9.0".')
    steps: list[Step] = []
    blocked: dict[str, Blocked | None] = {}  # by terminal
    for index, fence in enumerate(page.fences):
        following = page.fences[index + 1] if index + 1 < len(page.fences) else None
        step = _step(fence, steps[-1] if steps else None, following, blocked)
        if isinstance(step, TranscriptStep):
            blocked[step.title] = step.blocked
        steps.append(step)
    for title, by in blocked.items():
        if by:
            raise FenceError(
                page.path,
                by.line,
                f"the page ends with {f'`{title}`' if title else 'its terminal'} still blocked by this command. "
                f"Show what comes of it, or interrupt it with a line `{INTERRUPT}`.",
            )
    _check_programs(page, steps)
    stops_server = any(isinstance(step, shell.ConsoleStep) and step.stops_server for step in steps)
    return Plan(page, tuple(steps), deployment, str(since) if since is not None else None, stops_server)


def _step(fence: Fence, previous: Step | None, following: Fence | None, blocked: Mapping[str, Blocked | None]) -> Step:
    if is_file(fence):
        return FileStep(fence)
    if fence.language == LANGUAGE:
        return TranscriptStep(fence, blocked.get(fence.title or ""))
    if fence.language == "python":
        return PythonStep(fence, shows_output=following is not None and _is_output(following))
    if fence.language == "pycon":
        return PyconStep(fence)
    if fence.language in shell.LANGUAGES:
        return shell.ConsoleStep(fence)
    if _is_output(fence):
        if not isinstance(previous, PythonStep):
            raise FenceError(fence.page, fence.line, "an Output fence must follow a `python` fence directly.")
        # Where the Python is not run, there is no output.
        conditions = {key: value for key, value in previous.fence.attributes.items() if key in ("since", "skip")}
        return OutputStep(fence._replace(attributes={**conditions, **fence.attributes}))
    raise FenceError(
        fence.page,
        fence.line,
        f"nothing verifies the language `{fence.language}`, so it cannot be published. Known are: "
        f'{", ".join(LANGUAGES)}, `text title="{OUTPUT}"` after Python, and files by their name as title.',
    )


def _is_output(fence: Fence) -> bool:
    return fence.language == "text" and fence.title == OUTPUT


def _check_programs(page: Page, steps: Iterable[Step]) -> None:
    """A program that is shown is also run."""
    console = "\n".join(step.fence.text for step in steps if isinstance(step, shell.ConsoleStep))
    for step in steps:
        if isinstance(step, FileStep) and step.use and step.use not in console:
            raise FenceError(
                page.path,
                step.fence.line,
                f"`{step.name}` is shown but never used. Add a `console` fence with `{step.use}` in a command.",
            )


def replay(plan: Plan, open_session: Callable[[str], Session], version: str, *, trusting: bool = True) -> list[Result]:
    """Run a page's steps in order; one result for each.

    A wrong reply is one report, and the page goes on: what follows is judged for itself. After a failure
    that breaks a lane (a command that does not answer, Python that fails) the rest of that lane is not run.
    When a server is gone, nothing more is run.

    Args:
        open_session: gives the session for a deployment.
        version: the server's, such as ``9.1.2`` or ``9.1``.
        trusting: whether what needs a newer version, as the page says, is left out.
    """
    opened: list[Session] = []

    def session() -> Session:
        if not opened:
            opened.append(open_session(plan.deployment))
        if plan.stops_server and not opened[0].owns_servers:
            raise Skip(NEEDS_OWN_SERVER)
        return opened[0]

    broken: dict[str, str] = {}  # lane to the reason why it stopped
    gone: str | None = None
    results = []
    try:
        for step in plan.steps:
            reason = _skip_reason(step, plan, version if trusting else None) or gone or broken.get(step.lane)
            if reason:
                results.append(Result("skipped", reason))
                continue
            started = time.monotonic()
            result, stops_lane, gone = _attempt(step, session)
            results.append(result._replace(seconds=time.monotonic() - started))
            if step.lane and stops_lane:
                broken[step.lane] = stops_lane
    finally:
        for each in opened:
            each.close()
    return results


def _attempt(step: Step, session: Callable[[], Session]) -> tuple[Result, str | None, str | None]:
    """Run a step; its result, and why the rest of its lane and of the whole page is not run, if so.

    Args:
        session: gives the page's one session.
    """
    line = step.fence.line
    try:
        step.run(session())
    except Skip as skip:
        return Result("skipped", str(skip)), None, None
    except Failure as failure:
        if ended := session().why_gone():
            reason = f"{ended}\n\nSo {failure}"
            return Result("failed", reason, failure.line), None, f"the server ended at line {failure.line}"
        stops_lane = f"line {failure.line}, before it, failed" if failure.breaks else None
        return Result("failed", str(failure), failure.line, failure.edits), stops_lane, None
    except ServerError as error:
        return Result("failed", str(error), line), None, f"no server since line {line}"
    except OSError as error:
        return Result("failed", explain(error), line), None, f"this machine did not let line {line} run"
    return Result("passed"), None, None


def too_cautious(
    plan: Plan, results: Sequence[Result], again: Callable[[], Sequence[Result]], version: str
) -> list[Result]:
    """The results, in which a step that was left out as too new, but passes, is said to.

    Args:
        again: replays the page once more, with what it says is too new. A replay of its own, because what fails
            half-way in it would change what comes after.
    """
    new = [
        _too_new(step, plan, version) and result.verdict == "skipped"
        for step, result in zip(plan.steps, results, strict=True)
    ]
    if not any(new):
        return list(results)
    return [
        result._replace(reason=f"{result.reason}, says the page, but passes on {version}")
        if is_new and probed.verdict == "passed"
        else result
        for is_new, result, probed in zip(new, results, again(), strict=True)
    ]


def _skip_reason(step: Step, plan: Plan, version: str | None) -> str | None:
    """What the page itself says about not running a step here; ``None`` as version stands for any."""
    if reason := step.fence.attributes.get("skip"):
        return reason
    since = _too_new(step, plan, version) if version else None
    return f"needs Valkey {since}" if since else None


def _too_new(step: Step, plan: Plan, version: str) -> str | None:
    """The version a step needs, if this one is older."""
    for since in (plan.since, step.fence.attributes.get("since")):
        if since and _number(version) < _number(since):
            return since
    return None


def _number(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split(".")[:2])
