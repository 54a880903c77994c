"""What checks fences that show a file: the program that reads it, not the eye.

The file is written into the page's folder, so that later commands find it.
"""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import PurePosixPath

from valkey_doctest.fences import Fence, FenceError
from valkey_doctest.session import Failure, Session, Skip
from valkey_doctest.steps import indent

_NAME = re.compile(r"[\w./-]*\.\w+$")
_LANGUAGES = {".py": "python", ".lua": "lua", ".yml": "yaml", ".yaml": "yaml"}
_COMPOSE = ("docker-compose.yml", "compose.yaml")


def is_file(fence: Fence) -> bool:
    """Whether the fence's title is a file's name."""
    return bool(fence.title and _NAME.match(fence.title))


class FileStep:
    """A fence whose title is a file's name."""

    lane = ""
    exchanges = 0
    commands: tuple[str, ...] = ()

    def __init__(self, fence: Fence) -> None:
        self.fence = fence
        self.name = fence.title or ""
        path = PurePosixPath(self.name)
        if path.is_absolute() or ".." in path.parts:
            raise FenceError(fence.page, fence.line, f"the file `{self.name}` is outside the learner's folder.")
        if path.suffix == ".py":
            try:
                compile(fence.text, self.name, "exec", dont_inherit=True)
            except SyntaxError as error:
                raise FenceError(
                    fence.page, fence.line, f"`{self.name}`, line {error.lineno}, is not Python: {error.msg}."
                ) from None
        elif path.suffix != ".lua" and path.name not in _COMPOSE:
            raise FenceError(
                fence.page,
                fence.line,
                f"nothing here can check `{self.name}`. *.py, *.lua and {' and '.join(_COMPOSE)} can be.",
            )
        if fence.language != _LANGUAGES[path.suffix]:
            raise FenceError(
                fence.page,
                fence.line,
                f"`{self.name}` is {_LANGUAGES[path.suffix]}, but its fence says `{fence.language}`.",
            )
        self.use = {".py": f"python {self.name}", ".lua": f"< {self.name}"}.get(path.suffix)
        """What a ``console`` fence of the page must do with it, because only that shows that it works."""

    def run(self, session: Session) -> None:
        """See :class:`valkey_doctest.steps.Step`."""
        path = session.folder / self.name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(self.fence.text + "\n", "utf-8")
        if path.name in _COMPOSE:
            if not _has_compose():
                raise Skip("needs Docker Compose, which reads this file")
            done = subprocess.run(
                ["docker", "compose", "--file", str(path), "config", "--quiet"],
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                timeout=60,
                check=False,
            )
            if done.returncode or done.stderr.strip():  # warnings too: what we teach is current
                raise Failure(self.fence.line, f"Docker Compose does not accept this file.\n{indent(done.stderr)}")


def _has_compose() -> bool:
    if shutil.which("docker") is None:
        return False
    quiet = subprocess.DEVNULL
    return not subprocess.run(["docker", "compose", "version"], stdout=quiet, stderr=quiet, check=False).returncode
