"""One live ``valkey-cli`` in a pseudo-terminal: what a learner sees, character for character."""

from __future__ import annotations

import os
import re
import time
import warnings
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import pexpect

PROMPT = r"(?:127\.0\.0\.1:\d+(?:\[\d+\])?(?:\(TX\))?|not connected)> "

# A prompt counts only at the start of a line (or after valkey-cli cleared one), at the end of what has come.
_WAITING = re.compile(rf"(?:\A|(?<=\n)|(?<=\x1b\[K)|(?<=\x1b\[2J))({PROMPT})\Z")
_NOTICE = re.compile(r"(\^C)*(Closing current connection\. Ready to reconnect to .*)?\Z")
_ELAPSED = re.compile(r"\(\d+\.\d\ds\)\Z")


LONGEST_PROMPT = 256
"""No prompt has more characters, with what must stand before it."""

QUIET_SECONDS = 0.3
"""How long nothing may come before Ctrl-C is pressed."""

AGAIN_SECONDS = 1.0
"""How long nothing may come after Ctrl-C before it is pressed again."""


class TerminalError(Exception):
    """The terminal did not come back to a prompt."""


class NoReplyError(TerminalError):
    """The deadline passed without a prompt."""


class ClosedError(TerminalError):
    """valkey-cli ended."""


class Reply(NamedTuple):
    """What a command printed, and the prompt that waited for it."""

    prompt: str
    lines: tuple[str, ...]


class Terminal:
    """A running ``valkey-cli``.

    Args:
        argv: the command line that starts it.
        environment: variables beside those of this process.
        echoes: whether the terminal shows what is typed, as the one inside a container does.
        deadline: how long a command may take, in seconds.
    """

    def __init__(self, argv: Sequence[str], *, environment: Mapping[str, str], echoes: bool, deadline: float) -> None:
        self._echoes = echoes
        self._deadline = deadline
        environ = {**os.environ, **environment}
        # A plain terminal: no colour, no line editing; nothing read from or written to the user's home.
        environ |= {"TERM": "dumb"}
        for prefix in ("VALKEYCLI", "REDISCLI"):  # valkey-cli still reads the old names
            environ |= {f"{prefix}_HISTFILE": os.devnull, f"{prefix}_RCFILE": os.devnull}
        with warnings.catch_warnings():
            # Python 3.12 and later warn of a fork beside threads, such as xdist's; the child only starts its program.
            warnings.filterwarnings("ignore", ".*multi-threaded", DeprecationWarning)
            self._child = pexpect.spawn(
                argv[0],
                list(argv[1:]),
                env=environ,
                echo=False,
                timeout=deadline,
                encoding="utf-8",
                codec_errors="replace",
                dimensions=(24, 4096),
                use_poll=True,
            )
        self._child.delaybeforesend = self._child.delayafterread = None
        process = self._child.ptyproc  # type: ignore[attr-defined]  # the stub leaves it out
        process.delayafterclose = process.delayafterterminate = 0.005
        self._typed = self._stream = self._prompt = ""
        self.finish()

    def send(self, command: str) -> Reply:
        """Type a command, wait for the next prompt.

        Raises:
            NoReplyError: no prompt came within the deadline.
            ClosedError: valkey-cli ended instead.
        """
        prompt = self._prompt
        self.start(command)
        return Reply(prompt, self.finish())

    @property
    def prompt(self) -> str:
        """The prompt that waits, or waited last."""
        return self._prompt

    def start(self, command: str) -> None:
        """Type a command, and do not wait."""
        self._typed = command
        self._stream = ""
        self._child.sendline(command)

    def finish(self) -> tuple[str, ...]:
        """Wait for the next prompt; what came until then.

        Raises:
            NoReplyError: no prompt came within the deadline.
            ClosedError: valkey-cli ended instead.
        """
        end = time.monotonic() + self._deadline
        # Looked for at the end only: long replies stay cheap.
        while not (found := _WAITING.search(self._stream, max(0, len(self._stream) - LONGEST_PROMPT))):
            if not self._read(max(0.0, end - time.monotonic())):
                raise NoReplyError(_clean(self._stream))
        text, self._prompt = _clean(self._stream[: found.start()]), found[1]
        self._stream = ""
        return _lines(self._without_echo(text))

    def came_back(self) -> bool:
        """Whether a prompt has come by now."""
        self._read(0)
        return bool(_WAITING.search(self._stream))

    def stream(self, count: int) -> tuple[str, ...]:
        """The next ``count`` lines of a command that does not come back.

        Raises:
            NoReplyError: fewer came within the deadline; ``str()`` is what did.
            ClosedError: valkey-cli ended.
        """
        end = time.monotonic() + self._deadline
        while True:
            text = self._without_echo(_clean(self._stream))
            lines = text.split("\n")[:-1]
            if len(lines) >= count:
                self._stream = text[sum(len(line) + 1 for line in lines[:count]) :]
                self._typed = ""
                return tuple(lines[:count])
            late = time.monotonic() > end
            if not self._read(0.05) and late:
                raise NoReplyError(text)

    def interrupt(self) -> tuple[str, ...]:
        """Press Ctrl-C; what came since it was last looked at. Where valkey-cli ends by it, the terminal is closed."""
        end = time.monotonic() + self._deadline
        try:
            # What the server has sent has to be shown first, or a message too many would be cut off unseen.
            while self._read(QUIET_SECONDS):
                if time.monotonic() > end:
                    raise NoReplyError(_clean(self._stream))
            self._child.sendintr()
            # valkey-cli looks for Ctrl-C, then waits for messages: one that comes in between is lost on it.
            # Like a person, press again when nothing happens.
            while not self._read(AGAIN_SECONDS) and time.monotonic() < end:
                self._child.sendintr()
            lines = self.finish()
        except ClosedError as error:
            lines = _lines(self._without_echo(str(error)))
            self.close()
        return tuple(line for line in lines if not _NOTICE.match(line))

    @property
    def closed(self) -> bool:
        """Whether valkey-cli has ended."""
        return bool(self._child.closed)

    def _read(self, seconds: float) -> bool:
        """Take in what comes within so many seconds; whether anything did."""
        try:
            self._stream += self._child.read_nonblocking(1 << 16, seconds)
        except pexpect.TIMEOUT:
            return False
        except pexpect.EOF:
            raise ClosedError(_clean(self._stream)) from None
        return True

    def _without_echo(self, text: str) -> str:
        return text.removeprefix(self._typed).removeprefix("\n") if self._echoes and self._typed else text

    def close(self) -> None:
        """End it, whatever it is doing."""
        try:
            self._child.close(force=True)
        except pexpect.ExceptionPexpect:  # it was sent SIGKILL, and pexpect gives it 5 ms; a busy machine may need more
            self._child.wait()
            self._child.closed = True


def _lines(text: str) -> tuple[str, ...]:
    lines = text.rstrip("\n").split("\n") if text.strip("\n") else []
    if lines and _ELAPSED.match(lines[-1]):
        lines.pop()  # valkey-cli says how long it took from half a second up
    return tuple(lines)


def _clean(text: str) -> str:
    """Text without the terminal's line ends and escape sequences (HELP is coloured even on a plain one)."""
    text = text.replace("Reading messages... (press Ctrl-C to quit or any key to type command)\r", "")
    return re.sub(r"\x1b\[[0-9;]*[A-Za-z]", "", re.sub(r"\r+\n", "\n", text))
