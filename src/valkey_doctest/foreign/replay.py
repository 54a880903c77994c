"""A foreign page's exchanges, sent one after another to a fresh server of its own."""

from __future__ import annotations

import contextlib
import os
import re
import secrets
import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from valkey_doctest.foreign import compare, words
from valkey_doctest.foreign.read import Exchange
from valkey_doctest.names import NameConflictError, Names
from valkey_doctest.servers import DOCUMENTED_PORT, Provider, Server, ServerError
from valkey_doctest.terminal import ClosedError, NoReplyError, Reply, Terminal, TerminalError

OTHER = "for another server of the page"
SHELL = "a shell command"
GONE = "comes after the server stopped"

BLOCKING_DEADLINE = 1.0
"""How much longer than it says a blocking command may take, in seconds."""

LONGEST_WAIT = 3.0
"""A command that means to wait longer is taken for one that blocks."""

_STATE = re.compile(r"((?:\[\d+\])?(?:\(TX\))?)> ?\Z")
_LOST = re.compile(r"Could not connect to |Error: (?:Server closed|Connection reset|Broken pipe)")
_LOOPBACK = re.compile(r"127(?:\.\d{1,3}){3}$")
_STREAM_ID = re.compile(r'(")?(\d{10,}-\d+)(")?$')
_NO_FILES = {"REDISCLI_HISTFILE": os.devnull, "REDISCLI_RCFILE": os.devnull}  # as valkey-cli 8.1 calls them
_TAKEN_OUT = ("--rename-command", words.MIGRATE, "")


@dataclass(frozen=True)
class Outcome:
    """What one replay saw of an exchange."""

    kind: str = ""
    """Why there is nothing to compare; empty if there is."""
    state: str = ""
    lines: tuple[str, ...] = ()


def run(exchanges: Sequence[Exchange], provider: Provider, deadline: float, blocked: frozenset[int]) -> list[Outcome]:
    """Run all exchanges of a page once, on a fresh server.

    Args:
        blocked: the places of those that are known to block and are not sent again.
    """
    page = Replay(provider, deadline, address(exchanges))
    try:
        return [page.give_up() if index in blocked else page.run(exchange) for index, exchange in enumerate(exchanges)]
    finally:
        page.close()


def address(exchanges: Sequence[Exchange]) -> str:
    """The address that the page's own server has on the page: that of its first prompt with one."""
    return next((exchange.address for exchange in exchanges if exchange.address), "")


@dataclass
class Replay:
    """A fresh server, and one terminal at a time."""

    provider: Provider
    deadline: float
    address: str
    gone: str = ""
    """Why nothing can be sent any more."""
    _server: Server | None = None
    _terminal: Terminal | None = None
    _names: Names = field(default_factory=Names)
    _state: str = ""

    def run(self, exchange: Exchange) -> Outcome:
        """Send a command, if it may be sent."""
        if reason := self._not_sent(exchange):
            return Outcome(reason)
        waits = words.blocking_seconds(exchange.command)
        try:
            if waits is None or "(TX)" in self._state:
                outcome = self._send(self._names.to_real(exchange.command))
            else:
                outcome = self._send_aside(self._names.to_real(exchange.command), waits)
        except TerminalError:
            outcome = Outcome(words.CLOSES)
        if outcome.kind == words.CLOSES and self._is_gone():
            return Outcome(words.STOPS)
        return self._bound(exchange, outcome)

    def _bound(self, exchange: Exchange, outcome: Outcome) -> Outcome:
        """Let a stream's id on the page stand for the real one from now on, as on our own pages."""
        documented, real = compare.shown(exchange.reply), outcome.lines
        if exchange.command.upper().startswith("XADD ") and len(documented) == len(real) == 1:
            named, got = _STREAM_ID.match(documented[0]), _STREAM_ID.match(real[0])
            if named and got and (named[1], named[3]) == (got[1], got[3]):
                with contextlib.suppress(NameConflictError):
                    self._names.bind(named[2], got[2])
                    return replace(outcome, lines=(documented[0],))
        return outcome

    def _not_sent(self, exchange: Exchange) -> str | None:
        if exchange.for_shell:
            return SHELL
        if exchange.address and exchange.address != self.address and not almost(exchange.address, self.address):
            return OTHER
        return words.refused(exchange.command) or self.gone or None

    def _send(self, command: str) -> Outcome:
        if self._terminal is None:
            self._terminal = self._open(self.deadline)
        try:
            reply = self._terminal.send(command)
        except NoReplyError as error:
            self.give_up()
            self._is_gone()
            return Outcome(words.BLOCKS, lines=self._shown(str(error), command))
        except ClosedError:
            self.give_up()
            return Outcome(words.CLOSES)
        self._state = _state(reply)
        lost = any(_LOST.match(line) for line in reply.lines)
        if lost and self._is_gone():
            return Outcome(words.STOPS)
        return Outcome(state=self._state, lines=self._shown("\n".join(reply.lines)))

    def _send_aside(self, command: str, seconds: float) -> Outcome:
        """Send a command that may block in a terminal of its own, in the same database."""
        database = re.search(r"\[(\d+)\]", self._state)
        terminal = self._open(
            (seconds if seconds <= LONGEST_WAIT else 0) + BLOCKING_DEADLINE, ["-n", database[1]] if database else []
        )
        try:
            reply = terminal.send(command)
            return Outcome(state=_state(reply), lines=self._shown("\n".join(reply.lines)))
        except NoReplyError as error:
            return Outcome(words.BLOCKS, lines=self._shown(str(error), command))
        finally:
            terminal.close()

    def _open(self, deadline: float, arguments: Sequence[str] = ()) -> Terminal:
        if self._server is None:
            self._server = self.provider.start(f"valkey-foreign-{secrets.token_hex(3)}", _TAKEN_OUT)
            port = self.address.rpartition(":")[2] or str(DOCUMENTED_PORT)
            self._names.show(str(self._server.port), port)
            self._names.show(self._server.folder, "/data")
        argv = self._server.cli(arguments, terminal=True)
        return Terminal(argv, environment=_NO_FILES, echoes=self.provider.echoes, deadline=deadline)

    def _shown(self, text: str, echo: str = "") -> tuple[str, ...]:
        if self.provider.echoes:
            text = text.removeprefix(echo).removeprefix("\n")
        return tuple(self._names.to_documented(line) for line in text.rstrip("\n").split("\n")) if text.strip() else ()

    def _is_gone(self) -> bool:
        """Whether the server answers no more; it gets a moment to do so."""
        if self._server and not self.gone:
            end = time.monotonic() + BLOCKING_DEADLINE
            while not self._server.answers():
                if self._server.why_gone() or time.monotonic() > end:
                    self.gone = GONE
                    break
        return bool(self.gone)

    def give_up(self) -> Outcome:
        """Leave a command that blocks, and its terminal with it: the next command gets a new one."""
        if self._terminal:
            self._terminal.close()
        self._terminal = None
        self._state = ""
        return Outcome(words.BLOCKS)

    def close(self) -> None:
        """End the terminal and the server."""
        self.give_up()
        if self._server:
            with contextlib.suppress(ServerError):
                self._server.remove()


def almost(address: str, other: str) -> bool:
    """Whether an address differs from another by one character of its host, as no second server's would."""
    (host, _, port), (other_host, _, other_port) = address.rpartition(":"), other.rpartition(":")
    if port != other_port or _LOOPBACK.match(host):
        return False
    longer, shorter = sorted([host, other_host], key=len, reverse=True)
    if len(longer) == len(shorter):
        return sum(a != b for a, b in zip(longer, shorter, strict=True)) == 1
    return any(longer[:at] + longer[at + 1 :] == shorter for at in range(len(longer)))


def _state(reply: Reply) -> str:
    found = _STATE.search(reply.prompt)
    return found[1] if found else ""
