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
import time
from typing import IO

RETRY_SECONDS = 10.0
"""How long a Docker engine or server that does not do it is asked again to remove what is left."""


class Reaper:
    """The run's side of the pipe. It starts its process when there is something to put on the list."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[str] | None = None

    def add(self, kind: str, name: str | int) -> None:
        """Put a ``process`` (its group's id), ``folder``, ``container`` or ``project`` on the list.

        Or ``data``, of the server at this port: it is deleted, the server is not ours.
        """
        self._tell(f"+{kind} {name}")

    def drop(self, kind: str, name: str | int) -> None:
        """Take it off again, because it is gone."""
        self._tell(f"-{kind} {name}")

    def _tell(self, line: str) -> None:
        if self._process is None:
            self._process = subprocess.Popen(
                [sys.executable, "-S", __file__],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
                start_new_session=True,
            )
        assert self._process.stdin is not None
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.write(line + "\n")
            self._process.stdin.flush()

    def close(self) -> list[str]:
        """Clean up now, and wait until it is done; commands for what could not be removed."""
        if self._process is None:
            return []
        said, _ = self._process.communicate()
        self._process = None
        return said.splitlines()


def _end(kind: str, name: str) -> str | None:
    """Remove it; the command that would have done it, if it cannot be done now."""
    if kind == "process":
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(int(name), signal.SIGKILL)
    elif kind == "folder":
        shutil.rmtree(name, ignore_errors=True)
    elif kind == "container":
        return _docker("rm", "--force", "--volumes", name)
    elif kind == "data":
        return _delete_data(int(name))
    elif kind == "project":
        return _docker("compose", "--project-name", name, "down", "--volumes", "--timeout", "0")
    return None


def _delete_data(port: int) -> str | None:
    import socket  # noqa: PLC0415  for a server that is lent to us only

    reply = b""
    # Where nobody answers, there is nothing left.
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=5) as server:
        # A script that still runs lets nothing else in.
        for command in (b"SCRIPT KILL", b"FUNCTION KILL", b"FUNCTION FLUSH", b"SCRIPT FLUSH", b"FLUSHALL"):
            server.sendall(command + b"\r\n")
            reply = server.recv(1024)
    return f"valkey-cli -p {port} FLUSHALL" if reply.startswith(b"-") else None


def _docker(*arguments: str) -> str | None:
    try:
        # A name that does not exist is no error.
        done = subprocess.run(
            ["docker", *arguments], stdin=subprocess.DEVNULL, capture_output=True, timeout=60, check=False
        )
    except FileNotFoundError:
        return None  # then there is no container either
    except (OSError, subprocess.TimeoutExpired):
        return " ".join(["docker", *arguments])
    return " ".join(["docker", *arguments]) if done.returncode else None


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
    # What writes goes first, and what it wrote last.
    order = ("process", "container", "project", "data", "folder")
    left = dict.fromkeys(sorted(listed, key=lambda each: order.index(each[0])), "")
    end = time.monotonic() + RETRY_SECONDS
    while left := {each: command for each in left if (command := _end(*each))}:
        if time.monotonic() > end:
            break
        time.sleep(0.5)
    with contextlib.suppress(BrokenPipeError):  # the run was killed: there is nobody to tell
        sys.stdout.write("".join(f"{command}\n" for command in left.values()))
        sys.stdout.flush()
    os._exit(0)  # the run waits for us: nothing is left to tidy up


if __name__ == "__main__":
    _main(sys.stdin)
