"""The servers a page runs against, and where they come from."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, NamedTuple, Protocol

ADDRESS = "127.0.0.1"
"""Servers listen on the loopback interface only."""

DOCUMENTED_PORT = 6379
"""The port pages show, whatever the real one is."""

BUS_OFFSET = 10_000
"""A cluster node's bus has its port plus this, here as everywhere."""

START_SECONDS = 30.0
"""How long a server may take until it answers PING."""


FIVE_DIGITS = 10_000
"""Real ports are at least this, so that they are not mistaken for data when replies are translated."""


class ServerError(Exception):
    """A server could not be started, or is gone. ``str()`` says why and what to do."""


class PortTakenError(ServerError):
    """Somebody else took a port between the choice and the use of it."""


class Member(NamedTuple):
    """A server of a deployment, as pages know it."""

    name: str
    port: int
    """Where it listens, as pages say."""
    arguments: tuple[str, ...] = ()
    """Of ``valkey-server``."""
    configuration: tuple[str, ...] = ()
    """The lines of a Sentinel's file; it is no Sentinel if there are none."""


class Server(Protocol):
    """One running server."""

    version: str
    """Such as ``9.1.2``."""
    port: int
    """Where this machine reaches it, on the loopback interface."""
    documented_port: int
    """Where pages reach it."""
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


class Network(Protocol):
    """Where the servers of one deployment live and reach each other, at ``127.0.0.1``."""

    @property
    def ports(self) -> Mapping[int, int]:
        """Documented port to the one that this machine uses."""

    def inside(self, port: int) -> int:
        """What the servers themselves use for a documented port."""

    def start(self, members: Sequence[Member]) -> list[Server]:
        """Start servers, several at once where that saves time; they answer then.

        Raises:
            ServerError: one does not start.
        """

    def remove(self) -> None:
        """End all of it, and delete the data."""


class Provider(Protocol):
    """Where servers come from: one kind, one version."""

    name: str
    """``embedded``, ``container`` or ``external``."""
    echoes: bool
    """Whether its terminals show what is typed."""
    fresh: bool
    """Whether pages have servers of their own, which are started and ended for them. Else all share one."""

    @property
    def version(self) -> str:
        """Its servers' exact version, such as ``9.1.2``."""

    def expect(self, pages: int) -> None:
        """So many more pages that start one server are to come. Where that saves time, one is started ahead."""

    def start(self, name: str, arguments: Sequence[str] = ()) -> Server:
        """A fresh server that answers, called ``name`` where servers have names.

        Raises:
            ServerError: it does not start.
        """

    def network(self, name: str, ports: Sequence[int]) -> Network:
        """A place for servers that pages reach at these ports.

        Raises:
            ServerError: there is none.
        """


def free_port() -> int:
    """A port nobody listens on now."""
    return free_ports(1)[0]


def free_ports(count: int) -> list[int]:
    """Different ports nobody listens on now."""
    with ExitStack() as probes:
        found: list[int] = []
        while len(found) < count:
            probe = probes.enter_context(socket.socket())
            probe.bind((ADDRESS, 0))
            port: int = probe.getsockname()[1]
            if port >= FIVE_DIGITS:
                found.append(port)
    return found


def ping(port: int) -> bool:
    """Whether what listens on this port replies PONG to PING."""
    # Over a plain socket: a run without Python on its pages need not load the client.
    try:
        with socket.create_connection((ADDRESS, port), timeout=1) as connection:
            connection.sendall(b"PING\r\n")
            return connection.recv(64).startswith(b"+PONG")
    except OSError:
        return False


def ask(port: int, *command: str | int, called: int | None = None) -> Any:
    """What the server at this port replies, as the Valkey client reads it.

    Args:
        called: the port that a message names.

    Raises:
        ServerError: an error, or nothing.
    """
    import valkey  # noqa: PLC0415  a page with one server does without it

    client = valkey.Valkey(host=ADDRESS, port=port, socket_timeout=5, decode_responses=True)
    try:
        return client.execute_command(*command)  # type: ignore[no-untyped-call]
    except valkey.ValkeyError as error:
        raise ServerError(f"`{' '.join(map(str, command))}` at port {called or port}: {error}") from None
    finally:
        client.close()  # type: ignore[no-untyped-call]


def wait_for(
    servers: Iterable[Server], condition: Callable[[Server], bool], what: str, seconds: float = START_SECONDS
) -> None:
    """Return when ``condition`` holds for all servers: they say so, nobody sleeps for it.

    Raises:
        ServerError: it does not hold in time; ``what`` says which one.
    """
    deadline = time.monotonic() + seconds
    for server in servers:
        while not condition(server):
            if time.monotonic() > deadline:
                raise ServerError(f"{what} within {seconds:g} s (server at port {server.documented_port}).")
            time.sleep(0.005)


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
