"""Nothing is left behind, however the run ends.

A small process holds the other end of a pipe. As long as the run lives, the pipe is open; when it is
closed, also because the run was killed, the process (:mod:`.reaper_worker`) ends what is still on its list:
processes, folders, containers, Compose projects. It has a session of its own, so Ctrl-C does not reach it.
"""

from __future__ import annotations

import contextlib
import subprocess
import sys
from pathlib import Path

_WORKER = Path(__file__).with_name("reaper_worker.py")


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
                [sys.executable, "-S", str(_WORKER)],
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
