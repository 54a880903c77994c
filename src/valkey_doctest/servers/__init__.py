"""The servers a page runs against, and where they come from."""

from __future__ import annotations

import socket
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

import valkey

ADDRESS = "127.0.0.1"
"""Servers listen on the loopback interface only."""

DOCUMENTED_PORT = 6379
"""The port pages show, whatever the real one is."""

START_SECONDS = 30.0
"""How long a server may take until it answers PING."""


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
        """The command line that runs ``valkey-cli`` on it, in a terminal or once."""

    def why_gone(self) -> str | None:
        """How it ended and its last words, if it did without being told to; else ``None``."""

    def remove(self) -> None:
        """End it and delete its data."""


class Provider(Protocol):
    """Where servers come from: one kind, one version."""

    name: str
    """``embedded`` or ``container``."""
    version: str
    """Its servers' exact version, such as ``9.1.2``."""

    echoes: bool
    """Whether its terminals show what is typed."""

    def start(self, name: str, arguments: Sequence[str] = ()) -> Server:
        """A fresh server that answers, called ``name`` where servers have names.

        Raises:
            ServerError: it does not start.
        """


def free_port() -> int:
    """A port nobody listens on now, never the documented one."""
    while True:
        with socket.socket() as probe:
            probe.bind((ADDRESS, 0))
            port: int = probe.getsockname()[1]
        # Five digits, so that it is not mistaken for data when replies are translated.
        if port > 9999:
            return port


def wait_until_ready(server: Server) -> None:
    """Return when the server answers PING; it says so, nobody sleeps for it.

    Raises:
        ServerError: it ends, or does not answer in time.
    """
    deadline = time.monotonic() + START_SECONDS
    client = valkey.Valkey(host=ADDRESS, port=server.port, socket_timeout=1)
    try:
        while True:
            try:
                client.ping()
            except valkey.ValkeyError as error:  # not yet listening, or still loading its data
                if reason := server.why_gone():
                    raise ServerError(reason) from None
                if time.monotonic() > deadline:
                    raise ServerError(f"no PONG within {START_SECONDS:g} s: {error}") from None
                time.sleep(0.002)
            else:
                return
    finally:
        client.close()


def last_lines(log: str, count: int = 5) -> str:
    """The end of a log, for a message."""
    return "\n".join(f"  {line}" for line in log.strip().splitlines()[-count:])


def read_log(path: Path) -> str:
    """A log file's text; empty if there is none yet."""
    return path.read_text("utf-8", errors="replace") if path.exists() else ""
