"""What a page's steps share while it is replayed: its servers, terminals, Python and scratch folder."""

from __future__ import annotations

import os
import secrets
import shutil
import sys
import tempfile
from dataclasses import dataclass, field
from pathlib import Path

from valkey_doctest.names import Names
from valkey_doctest.python import Interpreter
from valkey_doctest.reaper import Reaper
from valkey_doctest.servers import DOCUMENTED_PORT, Provider, Server, ServerError
from valkey_doctest.terminal import Terminal

DEFAULT_SERVER = "valkey-dev"
"""What pages call the server that they run against."""

FOLDER = "valkey_training"
"""What pages call the folder that learners work in."""

SHIM = Path(__file__).with_name("shim")

PROGRAM_FACTOR = 6
"""A program or shell command may take this many times as long as a command in a transcript."""


class Failure(Exception):  # noqa: N818  the word of the record and of pytest
    """A step found that the page is wrong.

    ``line`` is the page's line, ``str()`` what is wrong there and what to do about it.
    """

    def __init__(self, line: int, message: str) -> None:
        super().__init__(message)
        self.line = line


class Skip(Exception):  # noqa: N818
    """A step cannot be run here; ``str()`` is the reason that readers see."""


@dataclass
class Session:
    """One replay of one page."""

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

    def __post_init__(self) -> None:
        self.token = secrets.token_hex(3)
        self.home = Path(tempfile.mkdtemp(prefix="valkey-doctest-"))
        self.reaper.add("folder", str(self.home))
        self.folder = self.home / FOLDER
        """Where shell commands and programs run; ``cd`` changes it."""
        self.folder.mkdir()
        self.names.show(str(self.home), "/home/learner")
        self._terminals: dict[str, tuple[Terminal, Server]] = {}
        self._interpreter: Interpreter | None = None

    @property
    def has_docker(self) -> bool:
        """Whether pages' own Docker commands can run."""
        return self.provider.name == "container"

    def real_name(self, documented: str) -> str:
        """The name of this run's container that pages call ``documented``."""
        real = f"{documented}-{self.token}"
        self.names.bind(documented, real)
        return real

    def server(self, name: str = DEFAULT_SERVER) -> Server:
        """The server that pages call ``name``; the default one is started when it is first needed.

        Raises:
            ServerError: it cannot be started, or a page names one it has not started.
        """
        if name in self.servers:
            return self.servers[name]
        if name != DEFAULT_SERVER:
            raise ServerError(f"no server is called {name} here: start it with `docker run` first.")
        if self.deployment == "compose" and self.has_docker:
            raise ServerError("the page's own `docker compose up` has to come before this.")
        return self.start_server(name)

    def start_server(self, name: str, arguments: tuple[str, ...] = ()) -> Server:
        """A fresh server that pages call ``name``."""
        self.servers[name] = server = self.provider.start(self.real_name(name), arguments)
        self.names.show(str(server.port), str(DOCUMENTED_PORT))
        self.names.show(server.folder, "/data")
        return server

    def terminal(self, title: str) -> Terminal:
        """The live terminal of this name; one on the default server if it is not open yet."""
        if title not in self._terminals:
            self.open_terminal(title, self.server())
        return self._terminals[title][0]

    def open_terminal(self, title: str, server: Server) -> None:
        """Open a terminal on a server, in place of the one that has this name."""
        if title in self._terminals:
            self._terminals.pop(title)[0].close()
        terminal = Terminal(
            server.cli(terminal=True), environment={}, echoes=self.provider.echoes, deadline=self.deadline
        )
        self._terminals[title] = terminal, server

    def close_terminals(self, server: Server) -> None:
        """A server that stops takes its terminals with it, as ``docker exec`` shows learners."""
        for title in [title for title, (_, of) in self._terminals.items() if of is server]:
            self._terminals.pop(title)[0].close()

    def interpreter(self) -> Interpreter:
        """The page's Python."""
        if self._interpreter is None:
            self._interpreter = Interpreter(
                self.folder, self.environment(), self.reaper, deadline=self.deadline * PROGRAM_FACTOR
            )
        return self._interpreter

    def environment(self) -> dict[str, str]:
        """The variables of what the page starts: its Python reaches the page's server."""
        environment = {
            "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)]),
            "PYTHONPATH": str(SHIM),
            "PYTHONDONTWRITEBYTECODE": "1",
            "LC_ALL": "C.UTF-8",
            "TZ": "UTC",
            "COLUMNS": "100",
        }
        if server := self.servers.get(DEFAULT_SERVER) or (
            None if self.deployment == "compose" and self.has_docker else self.server()
        ):
            environment["VALKEY_DOCTEST_PORTS"] = f"{DOCUMENTED_PORT}:{server.port}"
        return {**os.environ, **environment}

    def why_gone(self) -> str | None:
        """Why a server of the page ended although no step ended it, or ``None``."""
        for server in self.servers.values():
            if reason := server.why_gone():
                return reason
        return None

    def close(self) -> None:
        """End everything the page started, and delete its files."""
        for terminal, _ in self._terminals.values():
            terminal.close()
        self._terminals.clear()
        if self._interpreter:
            self._interpreter.close()
        for server in self.servers.values():
            server.remove()
        self.servers.clear()
        shutil.rmtree(self.home, ignore_errors=True)
        self.reaper.drop("folder", str(self.home))
