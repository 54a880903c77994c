"""A page's Python: one interpreter process a page, so that its fences share a namespace."""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import NamedTuple

from valkey_doctest.reaper import Reaper

_WORKER = Path(__file__).with_name("python_worker.py")


class Result(NamedTuple):
    """What a piece of Python did."""

    output: str
    """Its standard output."""
    error: str | None
    """The traceback, with the page's own line numbers; ``None`` if all went well."""
    exception: str | None
    """The traceback's last lines only."""


class Interpreter:
    """A Python process that runs pieces of source one after the other.

    Args:
        folder: where it runs.
        environment: all its variables.
        deadline: how long one piece may take, in seconds.
    """

    def __init__(self, folder: Path, environment: Mapping[str, str], reaper: Reaper, *, deadline: float) -> None:
        self._deadline = deadline
        self._reaper = reaper
        with ExitStack() as opened:  # if this machine does not let us start, they are closed again
            self._output = opened.enter_context((folder.parent / "python-output").open("w+b"))
            self._errors = opened.enter_context((folder.parent / "python-errors").open("w+b"))
            answers, theirs = os.pipe()
            self._answers = opened.enter_context(os.fdopen(answers, "rb", buffering=0))
            try:
                self._process = subprocess.Popen(
                    [sys.executable, str(_WORKER), str(theirs)],
                    cwd=folder,
                    env=dict(environment),
                    stdin=subprocess.PIPE,
                    stdout=self._output,
                    stderr=self._errors,
                    pass_fds=[theirs],
                    start_new_session=True,
                )
            finally:
                os.close(theirs)
            opened.pop_all()
        reaper.add("process", self._process.pid)

    def run(self, source: str, *, filename: str, line: int, mode: str = "exec") -> Result:
        """Run ``source``, which stands at ``line`` of ``filename``; ``single`` mode shows values as a prompt does."""
        assert self._process.stdin is not None
        request = {"source": source, "filename": filename, "line": line, "mode": mode}
        with suppress(BrokenPipeError):
            self._process.stdin.write(json.dumps(request).encode() + b"\n")
            self._process.stdin.flush()
        answer = self._answer()
        self._output.seek(0)
        output = self._output.read().decode("utf-8", errors="replace")
        self._output.seek(0)
        self._output.truncate()
        return Result(output, answer["error"], answer["only"])

    def _answer(self) -> dict[str, str | None]:
        data, end = b"", time.monotonic() + self._deadline
        while not data.endswith(b"\n"):
            ready, _, _ = select.select([self._answers], [], [], max(0.0, end - time.monotonic()))
            if not ready:
                self._kill()
                return _error(f"it did not end within {self._deadline:g} s, and was stopped")
            chunk = self._answers.read(65536)
            if not chunk:
                self._process.wait()
                self._errors.seek(0)
                last = self._errors.read().decode("utf-8", errors="replace")
                return _error(f"Python ended with exit status {self._process.returncode}\n{last}".rstrip())
            data += chunk
        answer: dict[str, str | None] = json.loads(data)
        return answer

    def _kill(self) -> None:
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()

    def close(self) -> None:
        """End the process, and what it may have started."""
        assert self._process.stdin is not None
        self._kill()
        with suppress(BrokenPipeError):
            self._process.stdin.close()
        self._answers.close()
        self._output.close()
        self._errors.close()
        self._reaper.drop("process", self._process.pid)


def _error(text: str) -> dict[str, str | None]:
    return {"error": text, "only": text}
