"""What a page's steps share while it is replayed: its servers, terminals, Python and scratch folder."""

from __future__ import annotations

import os
import re
import secrets
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from valkey_doctest.counting import Counting
from valkey_doctest.edits import Edit
from valkey_doctest.names import Names
from valkey_doctest.python import Interpreter
from valkey_doctest.reaper import Reaper
from valkey_doctest.servers import BUS_OFFSET, DOCUMENTED_PORT, Network, Provider, Server, ServerError, deployments
from valkey_doctest.terminal import NoReplyError, Terminal

DEFAULT_SERVER = "valkey-dev"
"""What pages call the server that they run against, if there is one only."""

FOLDER = "valkey_training"
"""What pages call the folder that learners work in."""

SHIM = Path(__file__).with_name("shim")

NEEDS_OWN_SERVER = "needs a server of its own"

PROGRAM_FACTOR = 6
"""A program or shell command may take this many times as long as a command in a transcript."""


class Failure(Exception):  # noqa: N818  the word of the record and of pytest
    """A step found that the page is wrong.

    ``line`` is the page's line, ``str()`` what is wrong there and what to do about it. If it ``breaks``
    the step's lane, what follows there would fail only because of it; a wrong reply does not. The
    ``edits`` would make the page right, if that can be done.
    """

    def __init__(self, line: int, message: str, *, breaks: bool = True, edits: Sequence[Edit] = ()) -> None:
        super().__init__(message)
        self.line = line
        self.breaks = breaks
        self.edits = tuple(edits)


class Skip(Exception):  # noqa: N818
    """A step cannot be run here; ``str()`` is the reason that readers see."""


@dataclass
class Session:
    """One replay of one page.

    Raises:
        Skip: the provider cannot have such a deployment.
    """

    provider: Provider
    reaper: Reaper
    deployment: str
    deadline: float
    """How long a command may take, in seconds."""
    names: Names = field(default_factory=Names)
    servers: dict[str, Server] = field(default_factory=dict)
    """By documented name."""
    output: str = ""
    """What the last Python fence printed."""
    at_end: Callable[[Server], None] | None = None
    """Told the page's server when the page has ended, before it is removed."""

    def __post_init__(self) -> None:
        if not self.provider.fresh and self.deployment != "standalone":
            raise Skip("needs servers of its own")
        self.token = secrets.token_hex(3)
        self.home = Path(tempfile.mkdtemp(prefix="valkey-doctest-"))
        self.reaper.add("folder", str(self.home))
        self.folder = self.home / FOLDER
        """Where shell commands and programs run; ``cd`` changes it."""
        self.folder.mkdir()
        self.names.show(str(self.home), "/home/learner")
        self._terminals: dict[str, tuple[Terminal, Server]] = {}
        self._interpreter: Interpreter | None = None
        self._network: Network | None = None
        self.counting: Counting | None = None
        """What servers say was run, if that is asked for."""

    @property
    def has_docker(self) -> bool:
        """Whether pages' own Docker commands can run."""
        return self.provider.name == "container"

    @property
    def owns_servers(self) -> bool:
        """Whether the page may stop its servers, and start others."""
        return self.provider.fresh

    def real_name(self, documented: str) -> str:
        """The name of this run's container that pages call ``documented``."""
        real = f"{documented}-{self.token}"
        self.names.bind(documented, real)
        return real

    @property
    def default_server(self) -> str:
        """What the page calls the server that it talks to unless it says otherwise."""
        members, _ = deployments.KINDS.get(self.deployment, ((), None))
        return members[0].name if members else DEFAULT_SERVER

    def server(self, name: str | None = None) -> Server:
        """The server that pages call ``name``; those of the deployment are started when one is first needed.

        Raises:
            ServerError: it cannot be started, or a page names one it has not started.
        """
        several = self._deployed()
        name = name or self.default_server
        if name in self.servers:
            return self.servers[name]
        if several:
            raise ServerError(f"no server is called {name} here, only {', '.join(self.servers)}.")
        if name != DEFAULT_SERVER:
            raise ServerError(f"no server is called {name} here: start it with `docker run` first.")
        if self.deployment == "compose" and self.has_docker:
            raise ServerError("the page's own `docker compose up` has to come before this.")
        return self.start_server(name)

    def server_at(self, port: int) -> Server | None:
        """The server that pages reach at this port; ``None`` if there is none."""
        if not self._deployed():
            server = self.server()
            return server if server.documented_port == port else None
        return next((server for server in self.servers.values() if server.documented_port == port), None)

    def _deployed(self) -> Network | None:
        """The network of a deployment of several servers, which are started when they are first needed."""
        if self._network is None and self.deployment in deployments.KINDS:
            name = f"valkey-{self.deployment}-{self.token}"
            self._network, servers = deployments.start(self.deployment, self.provider, name, self.real_name)
            self.servers |= servers
            for server in servers.values():
                self._show_ports(server, self._network.inside(server.documented_port))
        return self._network

    def _show_ports(self, server: Server, inside: int) -> None:
        port = server.documented_port
        self.names.show(server.folder, "/data")
        self.names.show(str(server.port), str(port))
        if inside != port:
            self.names.port(port, inside)
            self.names.port(port + BUS_OFFSET, inside + BUS_OFFSET)

    def start_server(self, name: str, arguments: tuple[str, ...] = ()) -> Server:
        """A fresh server that pages call ``name``."""
        self.servers[name] = server = self.provider.start(self.real_name(name), arguments)
        self._show_ports(server, server.documented_port)
        return server

    def terminal(self, title: str, port: int | None = None) -> Terminal:
        """The live terminal of this name.

        If it is not open yet, it is opened on the server that pages reach at ``port``. A port that no
        server has leads to the default one, whose prompt then differs from the page's.
        """
        if title not in self._terminals:
            server = self.server_at(port) if port is not None else None
            self.open_terminal(title, server or self.server())
        return self._terminals[title][0]

    def open_terminal(self, title: str, server: Server, arguments: Sequence[str] = ()) -> None:
        """Open a terminal on a server, in place of the one that has this name.

        Args:
            arguments: of ``valkey-cli``, as the page gives them.
        """
        if title in self._terminals:
            self.forget_terminal(title)
        argv = server.cli(self.names.arguments_to_real(arguments), terminal=True)
        terminal = Terminal(argv, environment={}, echoes=self.provider.echoes, deadline=self.deadline)
        self._terminals[title] = terminal, server

    def blocked_clients(self, title: str) -> int:
        """How many clients the server of a terminal keeps waiting now: blocked, subscribed or monitoring.

        Raises:
            NoReplyError: it does not say within the deadline.
        """
        argv = self._terminals[title][1].cli(["CLIENT", "LIST"], terminal=False)
        try:
            said = subprocess.run(argv, capture_output=True, text=True, timeout=self.deadline, check=False).stdout
        except subprocess.TimeoutExpired:
            raise NoReplyError from None
        return sum(bool(set(flags) & set("bPO")) for flags in re.findall(r" flags=(\w+)", said))

    def forget_terminal(self, title: str) -> None:
        """Close it, if its valkey-cli has not ended by itself; the next transcript opens another."""
        self._terminals.pop(title)[0].close()

    def close_terminals(self, server: Server) -> None:
        """A server that stops takes its terminals with it, as ``docker exec`` shows learners."""
        for title in [title for title, (_, of) in self._terminals.items() if of is server]:
            self.forget_terminal(title)

    def interpreter(self) -> Interpreter:
        """The page's Python."""
        if self._interpreter is None:
            self._interpreter = Interpreter(
                self.folder, self.environment(), self.reaper, deadline=self.deadline * PROGRAM_FACTOR
            )
        return self._interpreter

    def environment(self) -> dict[str, str]:
        """The variables of what the page starts: its Python reaches the page's servers."""
        environment = {
            "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)]),
            "PYTHONPATH": str(SHIM),
            "PYTHONDONTWRITEBYTECODE": "1",
            "LC_ALL": "C.UTF-8",
            "TZ": "UTC",
            "COLUMNS": "100",
            "TERM": "dumb",  # no colour from `valkey-cli --cluster`, as inside a container
        }
        environment["VALKEY_DOCTEST_PORTS"] = " ".join(f"{port}:{real}" for port, real in self._ports().items())
        if self._network and any(self._network.inside(port) != port for port in self._network.ports):
            environment["VALKEY_DOCTEST_ANNOUNCED"] = "yes"
        return {**os.environ, **environment}

    def _ports(self) -> Mapping[int, int]:
        """Documented port to real one; empty as long as the page has to start its server itself."""
        if network := self._deployed():
            return network.ports
        if DEFAULT_SERVER not in self.servers and self.deployment == "compose" and self.has_docker:
            return {}
        return {DOCUMENTED_PORT: self.server().port}

    def count(self) -> None:
        """From now on, have the servers count what they run; :meth:`counted` tells."""
        if self.provider.fresh:  # else others may use it as well
            self._deployed()
            self.counting = self.counting or Counting(self.deployment)
            self.counting.begin(self.servers)

    def counted(self) -> tuple[str, ...]:
        """The commands that were run since :meth:`count`, in capitals, such as ``CONFIG GET``."""
        return self.counting.end(self.servers) if self.counting else ()

    def why_gone(self) -> str | None:
        """Why a server of the page ended although no step ended it, or ``None``."""
        for server in self.servers.values():
            if reason := server.why_gone():
                return reason
        return None

    def close(self) -> None:
        """End everything the page started, and delete its files."""
        if self.at_end and (server := self.servers.get(self.default_server)):
            self.at_end(server)
        for terminal, _ in self._terminals.values():
            terminal.close()
        self._terminals.clear()
        if self._interpreter:
            self._interpreter.close()
        members, _ = deployments.KINDS.get(self.deployment, ((), None))
        for member in members:
            self.servers.pop(member.name, None)
        if self._network:
            self._network.remove()
        for server in self.servers.values():
            server.remove()
        self.servers.clear()
        shutil.rmtree(self.home, ignore_errors=True)
        self.reaper.drop("folder", str(self.home))
