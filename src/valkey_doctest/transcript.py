"""A ``valkey-cli`` fence to exchanges: a prompt, a command, and the reply the page shows."""

from __future__ import annotations

import re
from dataclasses import dataclass

from valkey_doctest.fences import Fence, FenceError
from valkey_doctest.markers import Line, MarkerError, read

LANGUAGE = "valkey-cli"

PROMPT = re.compile(r"(?P<prompt>127\.0\.0\.1:\d+(?:\[\d+\])?(?:\(TX\))?> ?)(?P<command>.*)$")
"""What valkey-cli shows when it waits: address, database if not 0, and whether a MULTI is open."""

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


@dataclass(frozen=True)
class Exchange:
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
        return " ".join(words[: 2 if words and words[0] in _CONTAINERS else 1])


def parse(fence: Fence) -> tuple[Exchange, ...]:
    """The exchanges of a transcript.

    Raises:
        FenceError: it does not begin with a prompt, a command is too long, or a marker is wrong.
    """
    exchanges: list[Exchange] = []
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
            exchanges.append(Exchange(number, found["prompt"], found["command"].rstrip(), ()))
            continue
        if not exchanges:
            raise FenceError(
                fence.page, number, f"a transcript begins with a prompt such as `127.0.0.1:6379> `, not with `{text}`."
            )
        try:
            line = read(text, number)
        except MarkerError as error:
            raise FenceError(fence.page, number, f"{error}.") from None
        last = exchanges[-1]
        exchanges[-1] = Exchange(last.line, last.prompt, last.command, (*last.reply, line))
    return tuple(exchanges)
