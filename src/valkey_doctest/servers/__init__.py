"""The servers a page runs against, and where they come from."""

from __future__ import annotations

import socket
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

ADDRESS = "127.0.0.1"
"""Servers listen on the loopback interface only."""

DOCUMENTED_PORT = 6379
"""The port pages show, whatever the real one is."""

START_SECONDS = 30.0
"""How long a server may take until it answers PING."""


FIVE_DIGITS = 10_000
"""Real ports are at least this, so that they are not mistaken for data when replies are translated."""


class ServerError(Exception):
    """A server could not be started, or is gone. ``str()`` says why and what to do."""


class Server(Protocol):
    """One running server."""

    version: str
    """Such as ``9.1.2``."""
    port: int
    """Where this machine reaches it, on the loopback interface."""
    folder: str
    """Its data folder, as the server itself names it."""

    def cli(self, arguments: Sequence[str] = (), *, terminal: bool) -> list[str]:
        """The command line that runs ``valkey-cli`` on it, in a terminal or once.

        Raises:
            ServerError: there is no ``valkey-cli``.
        """

    def answers(self) -> bool:
        """Whether it replies PONG to PING now: it listens, and has loaded its data."""

    def why_gone(self) -> str | None:
        """How it ended and its last words, if it did without being told to; else ``None``."""

    def remove(self) -> None:
        """End it and delete its data."""


class Provider(Protocol):
    """Where servers come from: one kind, one version."""

    name: str
    """``embedded`` or ``container``."""
    echoes: bool
    """Whether its terminals show what is typed."""

    @property
    def version(self) -> str:
        """Its servers' exact version, such as ``9.1.2``."""

    def start(self, name: str, arguments: Sequence[str] = ()) -> Server:
        """A fresh server that answers, called ``name`` where servers have names.

        Raises:
            ServerError: it does not start.
        """


def free_port() -> int:
    """A port nobody listens on now."""
    while True:
        with socket.socket() as probe:
            probe.bind((ADDRESS, 0))
            port: int = probe.getsockname()[1]
        if port >= FIVE_DIGITS:
            return port


def wait_until_ready(server: Server) -> None:
    """Return when the server answers PING; it says so, nobody sleeps for it.

    Raises:
        ServerError: it ends, or does not answer in time.
    """
    deadline = time.monotonic() + START_SECONDS
    while not server.answers():
        if reason := server.why_gone():
            raise ServerError(reason)
        if time.monotonic() > deadline:
            raise ServerError(f"the server does not answer PING within {START_SECONDS:g} s.")
        time.sleep(0.002)


def last_lines(log: str, count: int = 5) -> str:
    """The end of a log, for a message."""
    return "\n".join(f"  {line}" for line in log.strip().splitlines()[-count:])


def read_log(path: Path) -> str:
    """A log file's text; empty if there is none yet."""
    return path.read_text("utf-8", errors="replace") if path.exists() else ""
