"""The process that leaves nothing behind: started by :mod:`valkey_doctest.reaper`, one a run.

It starts at once, beside the first server: what it needs only at the end is imported then.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import time

TYPE_CHECKING = False  # typing takes longer to import than all else here
if TYPE_CHECKING:
    from collections.abc import Iterable

RETRY_SECONDS = 10.0
"""How long a Docker engine or server that does not do it is asked again to remove what is left."""


def _end(kind: str, name: str) -> str | None:
    """Remove it; the command that would have done it, if it cannot be done now."""
    if kind == "process":
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(int(name), signal.SIGKILL)
    elif kind == "folder":
        import shutil  # noqa: PLC0415

        shutil.rmtree(name, ignore_errors=True)
    elif kind == "container":
        return _docker("rm", "--force", "--volumes", name)
    elif kind == "data":
        return _delete_data(int(name))
    elif kind == "project":
        return _docker("compose", "--project-name", name, "down", "--volumes", "--timeout", "0")
    return None


def _delete_data(port: int) -> str | None:
    import socket  # noqa: PLC0415

    reply = b""
    # Where nobody answers, there is nothing left.
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=5) as server:
        # A script that still runs lets nothing else in.
        for command in (b"SCRIPT KILL", b"FUNCTION KILL", b"FUNCTION FLUSH", b"SCRIPT FLUSH", b"FLUSHALL"):
            server.sendall(command + b"\r\n")
            reply = server.recv(1024)
    return f"valkey-cli -p {port} FLUSHALL" if reply.startswith(b"-") else None


def _docker(*arguments: str) -> str | None:
    import subprocess  # noqa: PLC0415

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


def _main(lines: Iterable[str]) -> None:
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
