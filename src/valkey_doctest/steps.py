"""What runs transcripts and Python: a step for each fence.

A step is made when its page is collected, and raises :class:`FenceError` for what can be seen then. When
its page is replayed it is run, and raises :class:`Failure` or :class:`Skip`.
"""

from __future__ import annotations

import doctest
import re
from dataclasses import dataclass, field
from typing import Protocol

from valkey_doctest.fences import Fence, FenceError
from valkey_doctest.markers import Line, MarkerError, read
from valkey_doctest.matching import compare
from valkey_doctest.session import Failure, Session
from valkey_doctest.terminal import ClosedError, NoReplyError, Reply, Terminal, TerminalError
from valkey_doctest.transcript import Exchange, parse

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


def indent(text: str) -> str:
    """A block of a message."""
    return "".join(f"    {line}\n" for line in text.rstrip("\n").split("\n"))


class TranscriptStep:
    """A ``valkey-cli`` fence."""

    def __init__(self, fence: Fence) -> None:
        self.fence = fence
        self._exchanges = parse(fence)
        self._title = fence.title or ""
        self.lane = f"terminal {self._title}"
        self.exchanges = len(self._exchanges)
        self.commands = tuple(dict.fromkeys(e.name for e in self._exchanges if e.name))

    def run(self, session: Session) -> None:
        """See :class:`Step`."""
        try:
            terminal = session.terminal(self._title, self._exchanges[0].port)
        except TerminalError as error:
            raise Failure(self.fence.line, f"valkey-cli does not come to a prompt.\n{indent(str(error))}") from None
        differences = []
        for exchange in self._exchanges:
            reply = self._send(terminal, exchange, session)
            expected = exchange.reply
            if expected and _ELAPSED.match(expected[-1].text):
                expected = expected[:-1]  # valkey-cli adds it to slow replies
            if difference := compare(expected, reply.lines, session.names):
                differences.append((exchange, difference))
        if differences:
            blocks = [indent(f"  {exchange.prompt}{exchange.command}\n{text}") for exchange, text in differences]
            what = "the reply differs" if len(blocks) == 1 else f"{len(blocks)} replies differ"
            raise Failure(differences[0][0].line, f"{what}.\n{'    …'.join(blocks)}{LEGEND}", breaks=False)

    def _send(self, terminal: Terminal, exchange: Exchange, session: Session) -> Reply:
        shown = f"{exchange.prompt}{exchange.command}"
        try:
            reply = terminal.send(session.names.to_real(exchange.command))
        except NoReplyError as error:
            raise Failure(
                exchange.line,
                f"no reply within {session.deadline:g} s.\n{indent(f'{shown}{chr(10)}{error}')}"
                "The command blocks, or the server is busy. Show a command that answers.",
            ) from None
        except ClosedError as error:
            raise Failure(
                exchange.line, f"valkey-cli ended instead of replying.\n{indent(f'{shown}{chr(10)}{error}')}"
            ) from None
        prompt = session.names.to_documented(reply.prompt)
        if prompt.rstrip() != exchange.prompt.rstrip():
            raise Failure(
                exchange.line,
                f"the prompt differs.\n{indent(f'- {shown}{chr(10)}+ {prompt}{exchange.command}')}{LEGEND}",
            )
        return reply


@dataclass
class OutputStep:
    """A ``text title="Output"`` fence: the standard output of the Python before it."""

    fence: Fence
    lane: str = "python"
    exchanges: int = 0
    commands: tuple[str, ...] = ()
    _lines: tuple[Line, ...] = field(init=False)

    def __post_init__(self) -> None:
        self._lines = read_lines(self.fence, 0, self.fence.text.split("\n"))

    def run(self, session: Session) -> None:
        """See :class:`Step`."""
        if difference := compare(self._lines, output_lines(session.output), session.names):
            raise Failure(
                self.fence.line,
                f"the output of the Python above differs.\n{indent(difference)}{LEGEND}",
                breaks=False,
            )


@dataclass
class PythonStep:
    """A ``python`` fence without a file's name."""

    fence: Fence
    shows_output: bool
    """Whether an Output fence follows."""
    lane: str = "python"
    exchanges: int = 0
    commands: tuple[str, ...] = ()

    def __post_init__(self) -> None:
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
        for example, expected in self._examples:
            line = self.fence.body_line(example.lineno)
            result = session.interpreter().run(
                session.names.program_to_real(example.source), filename=self.fence.page, line=line, mode="single"
            )
            if result.error and example.exc_msg is None:
                raise Failure(line, f"this Python fails.\n{indent(result.error)}")
            actual = output_lines(result.output) + output_lines(result.exception or "")
            if difference := compare(expected, actual, session.names):
                raise Failure(
                    line, f"the output differs.\n{indent(f'  >>> {example.source}' + difference)}{LEGEND}", breaks=False
                )


def output_lines(text: str) -> list[str]:
    """Output as lines, without the blank ones at its ends."""
    return text.strip("\n").split("\n") if text.strip("\n") else []
