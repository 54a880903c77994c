"""A ``valkey-cli`` fence to exchanges: a prompt, a command, and the reply the page shows.

A terminal may be left without a prompt, blocked by its last command; a later fence of that terminal then
begins with the rest of the output.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from valkey_doctest.fences import Fence, FenceError
from valkey_doctest.markers import Line, MarkerError, read, split

LANGUAGE = "valkey-cli"

PROMPT = re.compile(r"(?P<prompt>127\.0\.0\.1:\d+(?:\[\d+\])?(?:\(TX\))?> ?)(?P<command>.*)$")
"""What valkey-cli shows when it waits: address, database if not 0, and whether a MULTI is open."""

INTERRUPT = "^C"
"""A line of its own that stands for Ctrl-C."""

STREAMS = frozenset({"MONITOR", "PSUBSCRIBE", "SSUBSCRIBE", "SUBSCRIBE"})
"""Commands after which a terminal shows what comes, until it is interrupted."""

MAX_BYTES = 4094
"""The longest line a terminal passes on whole: 4,096 less the line end (measured; see termios(3), ICANON)."""

# Commands whose first argument is a subcommand, as `COMMAND LIST` of Valkey 9.1 shows them with a bar.
_CONTAINERS = frozenset(
    {
        "ACL",
        "CLIENT",
        "CLUSTER",
        "COMMAND",
        "COMMANDLOG",
        "CONFIG",
        "FUNCTION",
        "LATENCY",
        "MEMORY",
        "MODULE",
        "OBJECT",
        "PUBSUB",
        "SCRIPT",
        "SENTINEL",
        "SLOWLOG",
        "XGROUP",
        "XINFO",
    }
)


class Exchange(NamedTuple):
    """One command of a transcript with its reply."""

    line: int
    """The page's line on which the command stands."""
    prompt: str
    command: str
    reply: tuple[Line, ...]

    @property
    def port(self) -> int:
        """The port in the prompt, which tells the server it stands for."""
        return int(re.split(r"[:\[(>]", self.prompt)[1])

    @property
    def name(self) -> str:
        """The command's name in capitals, with its subcommand if it has one; empty for no command."""
        words = self.command.upper().split()
        if len(words) > 1 and words[0].isdecimal():  # valkey-cli repeats it so many times
            del words[0]
        return " ".join(words[: 2 if words and words[0] in _CONTAINERS else 1])


class Rest(NamedTuple):
    """What a blocked terminal shows, in a later fence than the command that blocks it."""

    line: int
    lines: tuple[Line, ...]


class Interrupt(NamedTuple):
    """Ctrl-C, and what the terminal shows then."""

    line: int
    lines: tuple[Line, ...] = ()


Part = Exchange | Rest | Interrupt


def parse(fence: Fence) -> tuple[Part, ...]:
    """What happens in a transcript's terminal, in order.

    Raises:
        FenceError: a command is too long, or a marker is wrong.
    """
    parts: list[Part] = []
    for index, text in enumerate(fence.text.split("\n")):
        number = fence.body_line(index)
        found = PROMPT.match(text)
        if found:
            if len(text.encode()) - len(found["prompt"]) > MAX_BYTES:
                raise FenceError(
                    fence.page,
                    number,
                    f"this command is longer than {MAX_BYTES:,} bytes, which a terminal splits in two. Shorten it, "
                    "or send it from Python.",
                )
            if split(found["command"])[1] is not None:
                raise FenceError(
                    fence.page, number, "a marker belongs to a line of the reply, not to the command: it would be sent."
                )
            parts.append(Exchange(number, found["prompt"], found["command"].rstrip(), ()))
        elif text.strip() == INTERRUPT:
            parts.append(Interrupt(number))
        else:
            _add(parts, text, number, fence)
    return tuple(parts)


def _add(parts: list[Part], text: str, number: int, fence: Fence) -> None:
    """A line of output, to what it belongs to."""
    try:
        line = read(text, number)
    except MarkerError as error:
        raise FenceError(fence.page, number, f"{error}.") from None
    last = parts[-1] if parts else Rest(number, ())
    if isinstance(last, Exchange):
        changed: Part = last._replace(reply=(*last.reply, line))
    else:
        changed = last._replace(lines=(*last.lines, line))
    parts[-1:] = [changed]


class Blocked(NamedTuple):
    """A command that keeps its terminal from coming back to a prompt."""

    line: int
    streams: bool
    """Whether it shows one thing after the other until it is interrupted, as SUBSCRIBE does."""


def follow(fence: Fence, parts: tuple[Part, ...], before: Blocked | None) -> tuple[dict[int, Blocked], Blocked | None]:
    """Which commands of a transcript block, by their place, and what blocks its terminal at its end.

    A command blocks if it is the last of its fence, or interrupted, and either shows no reply or streams.

    Args:
        before: what blocks the terminal when the fence begins.

    Raises:
        FenceError: output stands where nothing can come, or a command where no prompt can be.
    """
    blocked, blocking = before, {}
    for place, part in enumerate(parts):
        following = parts[place + 1] if place + 1 < len(parts) else None
        if isinstance(part, Exchange):
            if blocked:
                raise FenceError(
                    fence.page,
                    part.line,
                    f"no prompt can be here: line {blocked.line} still blocks this terminal. Show the rest of its "
                    f"output before, or interrupt it with a line `{INTERRUPT}`.",
                )
            streams = part.name in STREAMS
            if (following is None or isinstance(following, Interrupt)) and (
                streams or (part.command and not part.reply)
            ):
                blocked = blocking[place] = Blocked(part.line, streams)
            elif streams:
                raise FenceError(
                    fence.page,
                    part.line,
                    f"{part.name} keeps its terminal. End the fence after it, or add a line `{INTERRUPT}`.",
                )
            continue
        if blocked is None:
            shown = part.lines[0].text if part.lines else INTERRUPT
            raise FenceError(
                fence.page,
                part.line,
                f"a transcript begins with a prompt such as `127.0.0.1:6379> `, not with `{shown}`.",
            )
        if isinstance(part, Interrupt) or not blocked.streams:
            blocked = None
    return blocking, blocked
