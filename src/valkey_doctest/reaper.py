"""Nothing is left behind, however the run ends.

A small process holds the other end of a pipe. As long as the run lives, the pipe is open; when it is
closed, also because the run was killed, the process ends what is still on its list: processes,
folders, containers, Compose projects. It has a session of its own, so Ctrl-C does not reach it.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
from typing import IO


class Reaper:
    """The run's side of the pipe. It starts its process when there is something to put on the list."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[str] | None = None

    def add(self, kind: str, name: str | int) -> None:
        """Put a ``process`` (its group's id), ``folder``, ``container`` or ``project`` on the list."""
        self._tell(f"+{kind} {name}")

    def drop(self, kind: str, name: str | int) -> None:
        """Take it off again, because it is gone."""
        self._tell(f"-{kind} {name}")

    def _tell(self, line: str) -> None:
        if self._process is None:
            self._process = subprocess.Popen(
                [sys.executable, "-S", __file__], stdin=subprocess.PIPE, text=True, start_new_session=True
            )
        assert self._process.stdin is not None
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.write(line + "\n")
            self._process.stdin.flush()

    def close(self) -> None:
        """Clean up now, and wait until it is done."""
        if self._process is None:
            return
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait()
        self._process = None


def _end(kind: str, name: str) -> None:
    if kind == "process":
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(int(name), signal.SIGKILL)
    elif kind == "folder":
        shutil.rmtree(name, ignore_errors=True)
    elif kind == "container":
        _docker("rm", "--force", "--volumes", name)
    elif kind == "project":
        _docker("compose", "--project-name", name, "down", "--volumes", "--timeout", "0")


def _docker(*arguments: str) -> None:
    # Without a Docker engine there is no container left either.
    with contextlib.suppress(OSError, subprocess.TimeoutExpired):
        quiet = subprocess.DEVNULL
        subprocess.run(["docker", *arguments], stdin=quiet, stdout=quiet, stderr=quiet, timeout=60, check=False)


def _main(lines: IO[str]) -> None:
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    listed: dict[tuple[str, str], None] = {}
    for line in lines:
        kind, _, name = line[1:].rstrip("\n").partition(" ")
        if line.startswith("+"):
            listed[kind, name] = None
        else:
            listed.pop((kind, name), None)
    for wanted in ("process", "container", "project", "folder"):  # folders last: what lives in them is gone then
        for kind, name in listed:
            if kind == wanted:
                _end(kind, name)


if __name__ == "__main__":
    _main(sys.stdin)
