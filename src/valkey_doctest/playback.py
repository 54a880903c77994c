"""A page's replay, recorded, and played back to a changed page without any server.

Steps run as they do in earnest: what is replaced is what they talk to. So all that :mod:`valkey_doctest.steps`
and :mod:`valkey_doctest.shell` check is checked in a playback too: replies, prompts, what blocks.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from valkey_doctest import shell, steps
from valkey_doctest.markers import Line
from valkey_doctest.names import Names
from valkey_doctest.page import Plan, Result, replay
from valkey_doctest.session import Failure, Session, Skip
from valkey_doctest.shell import ConsoleStep, ShellCommand
from valkey_doctest.steps import Step
from valkey_doctest.terminal import Reply


class DivergedError(Exception):
    """A changed page asks for what was not recorded: only a real replay can judge it."""


@dataclass(frozen=True)
class Event:
    """One thing that a step asked for, and what it got."""

    what: str
    asked: object
    got: Any
    prompt: str = ""
    names: Names = field(default_factory=Names)
    """What was named by it, such as the port of a server that it started."""


@dataclass
class Recording:
    """What one step asked for, and the state it found and left."""

    before: Names
    output: str
    events: list[Event] = field(default_factory=list)
    after: Names = field(default_factory=Names)


class RecordingSession(Session):
    """A session that writes down what its steps ask for."""

    log: list[Event]

    def terminal(self, title: str, port: int | None = None) -> Any:
        """See :meth:`Session.terminal`."""
        return _Recorder(self.logged("terminal", (), lambda: super(RecordingSession, self).terminal(title, port)), self)

    def interpreter(self) -> Any:
        """See :meth:`Session.interpreter`."""
        return _Recorder(self.logged("interpreter", (), super().interpreter), self)

    def logged(self, what: str, asked: object, call: Callable[[], Any]) -> Any:
        """Do something, and write down what it gave and named."""
        before = copy.deepcopy(self.names)
        got = call()
        now = self.names
        new = [
            {key: value for key, value in of.items() if key not in old or old[key] != value}
            for old, of in (
                (before._real, now._real),  # noqa: SLF001
                (before._shown, now._shown),  # noqa: SLF001
                (before._ports, now._ports),  # noqa: SLF001
            )
        ]
        kept = None if what in ("terminal", "interpreter") else got
        self.log.append(Event(what, asked, kept, names=Names(*new)))
        return got


class _Recorder:
    """Stands before a terminal or an interpreter."""

    def __init__(self, real: Any, session: RecordingSession) -> None:
        self._real = real
        self._session = session

    def __getattr__(self, name: str) -> Any:
        value = getattr(self._real, name)
        if not callable(value) or name == "came_back":
            return value

        def call(*asked: Any, **options: Any) -> Any:
            prompt = getattr(self._real, "prompt", "")
            got = value(*asked, **options)
            self._session.log.append(Event(name, asked, got, prompt))
            return got

        return call


class _Recorded:
    """A step whose run is recorded."""

    def __init__(self, step: Step, recordings: list[Recording | None], place: int) -> None:
        self.fence, self.lane, self.exchanges, self.commands = step.fence, step.lane, step.exchanges, step.commands
        self._step, self._recordings, self._place = step, recordings, place

    def run(self, session: Session) -> None:
        assert isinstance(session, RecordingSession)
        recording = Recording(copy.deepcopy(session.names), session.output)
        session.log = recording.events
        self._step.run(session)
        recording.after = copy.deepcopy(session.names)
        self._recordings[self._place] = recording


def record(
    plan: Plan, open_session: Callable[[str], RecordingSession], version: str
) -> tuple[list[Result], list[Recording | None]]:
    """Replay a page in earnest; what became of its steps, and what each that passed was told."""
    recordings: list[Recording | None] = [None] * len(plan.steps)
    steps = tuple(_Recorded(step, recordings, place) for place, step in enumerate(plan.steps))
    with _shell(_record_command):
        return replay(plan._replace(steps=steps), open_session, version), recordings


def play(step: Step, recording: Recording, names: Names) -> str | None:
    """What a step finds wrong when it is told what was recorded; ``None`` if nothing.

    Raises:
        DivergedError: it asks for something else.
    """
    session = _Playback(recording, names)
    with _shell(_play_command), _differences() as found:
        try:
            step.run(session)
        except Failure as failure:
            return str(failure)
        except Skip:
            raise DivergedError from None
        except DivergedError:
            if found:  # before that, a reply was wrong already
                return found[0]
            raise
    if session.events:
        raise DivergedError
    return None


class _Playback(Session):
    """A session that has nothing but a recording."""

    def __init__(self, recording: Recording, names: Names) -> None:
        self.events = list(recording.events)
        self.names = names
        self.output = recording.output
        self.deadline = 0.0
        self.waiting = 0

    @property
    def has_docker(self) -> bool:
        return True  # whether a step can be run was found out when it was recorded

    @property
    def owns_servers(self) -> bool:
        return True  # as before

    def terminal(self, title: str, port: int | None = None) -> Any:  # noqa: ARG002
        self.take("terminal", ())
        return _Player(self)

    def interpreter(self) -> Any:
        self.take("interpreter", ())
        return _Player(self)

    def blocked_clients(self, title: str) -> int:  # noqa: ARG002
        return self.waiting

    def forget_terminal(self, title: str) -> None:
        pass

    def take(self, what: str, asked: object) -> Any:
        if not self.events or (self.events[0].what, self.events[0].asked) != (what, asked):
            raise DivergedError
        event = self.events.pop(0)
        for mine, new in (
            (self.names._real, event.names._real),  # noqa: SLF001
            (self.names._shown, event.names._shown),  # noqa: SLF001
            (self.names._ports, event.names._ports),  # noqa: SLF001
        ):
            mine.update(new)
        return event.got


class _Player:
    """Stands for a terminal or an interpreter."""

    closed = False

    def __init__(self, session: _Playback) -> None:
        self._session = session
        self._came: Reply | None = None

    @property
    def prompt(self) -> str:
        if not self._session.events:
            raise DivergedError
        return self._session.events[0].prompt

    def start(self, command: str) -> None:
        events = self._session.events
        if events and events[0].what == "send":  # the page says that it blocks, but it replied
            self._came = self._session.take("send", (command,))
            return
        self._session.take("start", (command,))
        self._session.waiting += 1

    def came_back(self) -> bool:
        return self._came is not None

    def finish(self) -> tuple[str, ...]:
        if self._came is not None:
            return self._came.lines
        lines: tuple[str, ...] = self._session.take("finish", ())
        return lines

    def __getattr__(self, name: str) -> Any:
        return lambda *asked, **_: self._session.take(name, asked)


@contextmanager
def _shell(run: Callable[[ConsoleStep, ShellCommand, Session], str]) -> Iterator[None]:
    """Let console fences get their outputs from ``run``.

    Patched, because a shell command reaches for processes, Docker and files in too many ways to put something
    in front of each; what compares its output is left as it is.
    """
    real = ConsoleStep._run  # noqa: SLF001
    ConsoleStep._run = run  # type: ignore[method-assign, assignment]  # noqa: SLF001
    try:
        yield
    finally:
        ConsoleStep._run = real  # type: ignore[method-assign]  # noqa: SLF001


@contextmanager
def _differences() -> Iterator[list[str]]:
    """What comparisons find, at once: a step reports it only at its end, which a playback may not reach."""
    found: list[str] = []
    modules: tuple[Any, ...] = (steps, shell)
    reals = [(module, module.compare) for module in modules]

    def noting(real: Callable[..., str | None]) -> Callable[..., str | None]:
        def compare(expected: Sequence[Line], actual: Sequence[str], names: Names) -> str | None:
            difference = real(expected, actual, names)
            found.extend([difference] if difference else [])
            return difference

        return compare

    for module, real in reals:
        module.compare = noting(real)
    try:
        yield found
    finally:
        for module, real in reals:
            module.compare = real


_REAL_RUN = ConsoleStep._run  # noqa: SLF001


def _record_command(step: ConsoleStep, command: ShellCommand, session: Session) -> str:
    assert isinstance(session, RecordingSession)
    output: str = session.logged("shell", command.text, lambda: _REAL_RUN(step, command, session))
    return output


def _play_command(step: ConsoleStep, command: ShellCommand, session: Session) -> str:  # noqa: ARG001
    assert isinstance(session, _Playback)
    output: str = session.take("shell", command.text)
    return output
