"""The sample site, built once a session and set as a book once a session."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from pypdf import PdfReader
from sample_site import Project

from valkey_doctest import record
from valkey_doctest.site import book


@pytest.fixture
def project(tmp_path: Path) -> Project:
    """A project of one's own, verified, to spoil."""
    made = Project(tmp_path / "project")
    made.verify()
    return made


@pytest.fixture(scope="session")
def built(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """The sample site, built: look, do not touch."""
    made = Project(tmp_path_factory.mktemp("site") / "project")
    made.verify()
    done = made.build()
    assert done.returncode == 0, done.stdout + done.stderr
    return made


@pytest.fixture(scope="session")
def pdf(built: Project) -> PdfReader:
    """The sample site as a book."""
    output = built.root / "build/book.pdf"
    book.make(built.root / "site", record.load(built.root / record.DEFAULT_PATH), output)
    return PdfReader(io.BytesIO(output.read_bytes()))
