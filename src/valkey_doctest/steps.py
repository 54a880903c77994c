"""What runs transcripts and Python: a step for each fence.

A step is made when its page is collected, and raises :class:`FenceError` for what can be seen then. When
its page is replayed it is run, and raises :class:`Failure` or :class:`Skip`.
"""

from __future__ import annotations

import re
import time
from collections.abc import Sequence
from typing import Protocol

from valkey_doctest.edits import Edit, edit
from valkey_doctest.fences import Fence, FenceError
from valkey_doctest.markers import Line, MarkerError, read
from valkey_doctest.matching import compare, diff
from valkey_doctest.session import Failure, Session
from valkey_doctest.terminal import ClosedError, NoReplyError, Terminal, TerminalError
from valkey_doctest.transcript import Blocked, Exchange, Interrupt, Part, Rest, follow, parse

_ELAPSED = re.compile(r"\(\d+\.\d\ds\)$")

LEGEND = "`-` is what the page says, `+` is what came back. If what came back is right, put it on the page."


class Step(Protocol):
    """One fence, ready to be run."""

    fence: Fence
    lane: str
    """Steps of one lane depend on each other: after a failure the rest of the lane is not run."""
    exchanges: int
    """How many commands with replies it holds."""
    commands: tuple[str, ...]
    """The Valkey commands it sends, in capitals."""

    def run(self, session: Session) -> None:
        """Run it.

        Raises:
            Failure: the page is wrong.
            Skip: it cannot be run here.
            ServerError: the page's server is gone.
        """


def read_lines(fence: Fence, start: int, lines: list[str]) -> tuple[Line, ...]:
    """Documented lines of a fence, of which the first is its line ``start`` (from 0)."""
    read_so_far = []
    for index, text in enumerate(lines, start):
        try:
            read_so_far.append(read(text, fence.body_line(index)))
        except MarkerError as error:
            raise FenceError(fence.page, fence.body_line(index), f"{error}.") from None
    return tuple(read_so_far)


def make_edits(
    fence: Fence, line: int, expected: Sequence[Line], actual: Sequence[str], session: Session
) -> list[Edit]:
    """What to change from ``line`` on so that the fence shows what came back; nothing if it is another file's text."""
    if fence.included:
        return []
    shown = [session.names.to_documented(each).rstrip() for each in actual]
    return [edit(line, expected, shown, fence.indent)]


def indent(text: str) -> str:
    """A block of a message."""
    return "".join(f"    {line}\n" for line in text.rstrip("\n").split("\n"))


class TranscriptStep:
    """A ``valkey-cli`` fence.

    Args:
        before: what blocks its terminal when it begins.
    """

    def __init__(self, fence: Fence, before: Blocked | None = None) -> None:
        self.fence = fence
        self.title = fence.title or ""
        self._parts = parse(fence)
        self._blocking, self.blocked = follow(fence, self._parts, before)
        self._before = before
        self.lane = f"terminal {self.title}"
        exchanges = [part for part in self._parts if isinstance(part, Exchange)]
        self.exchanges = len(exchanges)
        self.commands = tuple(dict.fromkeys(e.name for e in exchanges if e.name))

    def documented(self) -> list[Line]:
        """Every line of output it shows."""
        return [line for part in self._parts for line in (part.reply if isinstance(part, Exchange) else part.lines)]

    def run(self, session: Session) -> None:
        """See :class:`Step`."""
        first = self._parts[0]
        try:
            terminal = session.terminal(self.title, first.port if isinstance(first, Exchange) else None)
        except TerminalError as error:
            raise Failure(self.fence.line, f"valkey-cli does not come to a prompt.\n{indent(str(error))}") from None
        differences = []
        edits: list[Edit] = []
        blocked = self._before
        for place, part in enumerate(self._parts):
            shown = f"{part.prompt}{part.command}" if isinstance(part, Exchange) else "  …"
            try:
                if isinstance(part, Exchange):
                    expected, blocks = _without_elapsed(part.reply), self._blocking.get(place)
                    actual = self._exchange(terminal, part, blocks, session)
                    blocked = blocks
                else:
                    expected = _without_elapsed(part.lines)
                    actual = self._continue(terminal, part, blocked, session)
            except NoReplyError as error:
                raise Failure(part.line, _silence(shown, str(error), expected_of(part), session)) from None
            except ClosedError as error:
                session.forget_terminal(self.title)
                raise Failure(
                    part.line, f"valkey-cli ended instead of replying.\n{indent(f'{shown}{chr(10)}{error}')}"
                ) from None
            if difference := compare(expected, actual, session.names):
                differences.append((part, f"  {shown}\n{difference}"))
                first_line = part.line if isinstance(part, Rest) else part.line + 1
                edits += make_edits(self.fence, first_line, expected_of(part), actual, session)
        if differences:
            what = "the reply differs" if len(differences) == 1 else f"{len(differences)} replies differ"
            text = "    …".join(indent(difference) for _, difference in differences)
            raise Failure(differences[0][0].line, f"{what}.\n{text}{LEGEND}", breaks=False, edits=edits)

    def _exchange(
        self, terminal: Terminal, exchange: Exchange, blocks: Blocked | None, session: Session
    ) -> tuple[str, ...]:
        """Send a command; what it shows, up to the next prompt or until it blocks."""
        prompt = session.names.to_documented(terminal.prompt)
        if prompt.rstrip() != exchange.prompt.rstrip():
            shown = f"- {exchange.prompt}{exchange.command}\n+ {prompt}{exchange.command}"
            raise Failure(exchange.line, f"the prompt differs.\n{indent(shown)}{LEGEND}")
        command = session.names.to_real(exchange.command)
        if blocks is None:
            return terminal.send(command).lines
        waiting = session.blocked_clients(self.title)
        terminal.start(command)
        end = time.monotonic() + session.deadline
        while session.blocked_clients(self.title) <= waiting:  # the server says so; nobody sleeps for it
            if not blocks.streams and terminal.came_back():
                break
            if time.monotonic() > end:
                raise NoReplyError
        if not blocks.streams and terminal.came_back():
            shown = diff((), [session.names.to_documented(line) for line in terminal.finish()])
            raise Failure(
                exchange.line,
                "the page shows no reply, so this should block. It does not.\n"
                + indent(f"  {exchange.prompt}{exchange.command}\n{shown}"),
            )
        return terminal.stream(len(exchange.reply)) if blocks.streams else ()

    def _continue(
        self, terminal: Terminal, part: Rest | Interrupt, blocked: Blocked | None, session: Session
    ) -> tuple[str, ...]:
        """The rest of what a blocked command shows, or what Ctrl-C leads to."""
        if isinstance(part, Interrupt):
            lines = terminal.interrupt()
            if terminal.closed:
                session.forget_terminal(self.title)
            return lines
        return terminal.stream(len(part.lines)) if blocked and blocked.streams else terminal.finish()


def expected_of(part: Part) -> tuple[Line, ...]:
    """What the page shows for a part of a transcript."""
    return part.reply if isinstance(part, Exchange) else part.lines


def _without_elapsed(lines: tuple[Line, ...]) -> tuple[Line, ...]:
    """A reply without the time that valkey-cli adds to slow ones."""
    return lines[:-1] if lines and _ELAPSED.match(lines[-1].text) else lines


def _silence(shown: str, came: str, expected: tuple[Line, ...], session: Session) -> str:
    """What to say when the deadline passed."""
    wanted = "".join(f"- {line.text}\n" for line in expected)
    got = "".join(f"+ {line}\n" for line in session.names.to_documented(came).splitlines()) or "+ (nothing came)\n"
    return (
        f"no reply within {session.deadline:g} s.\n{indent(f'  {shown}{chr(10)}{wanted}{got}')}"
        "The command blocks, or the server is busy, or a message is missing. A command that blocks ends its fence, "
        "without a reply."
    )


class OutputStep:
    """A ``text title="Output"`` fence: the standard output of the Python before it."""

    lane = "python"
    exchanges = 0
    commands: tuple[str, ...] = ()

    def __init__(self, fence: Fence) -> None:
        self.fence = fence
        self._lines = read_lines(self.fence, 0, self.fence.text.split("\n") if self.fence.text else [])

    def run(self, session: Session) -> None:
        """See :class:`Step`."""
        if difference := compare(self._lines, output_lines(session.output), session.names):
            raise Failure(
                self.fence.line,
                f"the output of the Python above differs.\n{indent(difference)}{LEGEND}",
                breaks=False,
                edits=make_edits(self.fence, self.fence.line + 1, self._lines, output_lines(session.output), session),
            )


class PythonStep:
    """A ``python`` fence without a file's name.

    Args:
        shows_output: whether an Output fence follows.
    """

    lane = "python"
    exchanges = 0
    commands: tuple[str, ...] = ()

    def __init__(self, fence: Fence, *, shows_output: bool) -> None:
        self.fence = fence
        self.shows_output = shows_output
        try:
            compile(self.fence.text, self.fence.page, "exec", dont_inherit=True)
        except SyntaxError as error:
            line = self.fence.body_line((error.lineno or 1) - 1)
            raise FenceError(self.fence.page, line, f"not Python: {error.msg}.") from None

    def run(self, session: Session) -> None:
        """See :class:`Step`."""
        result = session.interpreter().run(
            session.names.program_to_real(self.fence.text), filename=self.fence.page, line=self.fence.body_line(0)
        )
        session.output = result.output
        if result.error:
            raise Failure(self.fence.line, f"this Python fails.\n{indent(result.error)}")
        if result.output.strip() and not self.shows_output:
            raise Failure(
                self.fence.line,
                "this Python prints, and the page does not show it. Add a fence right after it:\n"
                + indent(f'```text title="Output"\n{session.names.to_documented(result.output.rstrip())}\n```'),
                breaks=False,
            )


class PyconStep:
    """A ``pycon`` fence: Python with its prompts, as :mod:`doctest` reads it."""

    lane = "python"
    commands: tuple[str, ...] = ()

    def __init__(self, fence: Fence) -> None:
        import doctest  # noqa: PLC0415  it brings a debugger along, which most pages do without

        self.fence = fence
        try:
            examples = doctest.DocTestParser().get_examples(fence.text)
        except ValueError as error:
            raise FenceError(fence.page, fence.line, f"not a Python session: {error}.") from None
        if not examples:
            raise FenceError(fence.page, fence.line, "a Python session begins with the prompt `>>> `.")
        self.exchanges = len(examples)
        self._examples = []
        for example in examples:
            want = example.exc_msg if example.exc_msg is not None else example.want
            after = example.lineno + example.source.count("\n")
            lines = read_lines(fence, after, want.rstrip("\n").split("\n") if want else [])
            self._examples.append((example, lines))

    def run(self, session: Session) -> None:
        """See :class:`Step`."""
        differences: list[tuple[int, str]] = []
        edits: list[Edit] = []
        for example, expected in self._examples:
            line = self.fence.body_line(example.lineno)
            result = session.interpreter().run(
                session.names.program_to_real(example.source), filename=self.fence.page, line=line, mode="single"
            )
            if result.error and example.exc_msg is None:
                raise Failure(line, f"this Python fails.\n{indent(result.error)}")
            actual = output_lines(result.output) + output_lines(result.exception or "")
            if difference := compare(expected, actual, session.names):
                first_line = line + example.source.count("\n")
                if example.exc_msg is None:
                    edits += make_edits(self.fence, first_line, expected, actual, session)
                differences.append((line, f"  >>> {example.source}{difference}"))
        if differences:
            text = "    …".join(indent(difference) for _, difference in differences)
            whole = edits if len(edits) == len(differences) else []
            raise Failure(differences[0][0], f"the output differs.\n{text}{LEGEND}", breaks=False, edits=whole)


def output_lines(text: str) -> list[str]:
    """Output as lines, without the blank ones at its ends."""
    return text.strip("\n").split("\n") if text.strip("\n") else []
