"""The page that says how the course is checked: its figure is the one of this build, or it says that there is none."""

from __future__ import annotations

import io
import json
import shutil
from pathlib import Path

import pytest
from bs4 import BeautifulSoup
from pypdf import PdfReader
from sample_site import PAGES, PROJECT, Project

from valkey_doctest import fences, record
from valkey_doctest.planting import KINDS
from valkey_doctest.site import book
from valkey_doctest.site import mutants as mutants_of

SAID = {
    "schema": 1,
    "version": "9.1.2",
    "pages": 2,
    "fences": 9,
    "kinds": [
        {"kind": "digit changed", "planted": 1440, "replayed": 0, "caught": 1362, "equivalent": 78, "survived": 0},
        {"kind": "line dropped", "planted": 23, "replayed": 0, "caught": 22, "equivalent": 0, "survived": 1},
    ],
    "equivalent": [{"reason": "inside a value that a marker types", "count": 78, "mutants": []}],
    "left out": {"needs Docker": 1},
}


@pytest.fixture
def checked(project: Project) -> Project:
    """The sample site with the real page, and figures that belong to it."""
    shutil.copy(PROJECT / "docs/checks.md", project.root / "docs")
    configuration = project.root / "mkdocs.yml"
    text = configuration.read_text("utf-8")
    configuration.write_text(text.replace("- Home: index.md\n", "- Home: index.md\n- checks.md\n"), "utf-8")
    write(project.root)
    return project


def write(root: Path, **more: object) -> None:
    pages = [fences.read_page(root / path, root=root) for path in PAGES]
    said = SAID | {"digests": {page.path: page.digest for page in pages}} | more
    (root / mutants_of.PATH).write_text(json.dumps(said), "utf-8")


def article(project: Project) -> BeautifulSoup:
    done = project.build()
    assert done.returncode == 0, done.stdout + done.stderr
    return BeautifulSoup(project.html("checks.html"), "html.parser")


def test_the_figure_is_shown_by_kind(checked: Project) -> None:
    html = article(checked)
    rows = [[cell.get_text() for cell in row.select("th, td")] for row in html.select("table")[-1].select("tr")]
    assert rows == [
        ["What was made wrong", "Planted", "Noticed", "Not wrong after all", "Not noticed"],
        ["a digit of a reply is another", "1,440", "1,362", "78", "0"],
        ["a line of a reply is missing", "23", "22", "0", "1"],
        ["all", "1,463", "1,384", "78", "1"],
    ]
    text = html.get_text()
    assert "2 pages, 9 fences, Valkey 9.1.2." in text
    assert "78: inside a value that a marker types" in text
    assert "1: needs Docker" in text
    assert "No figure" not in text

    output = checked.root / "build/book.pdf"
    book.make(checked.root / "site", record.load(checked.root / record.DEFAULT_PATH), output)
    printed = "".join(page.extract_text() for page in PdfReader(io.BytesIO(output.read_bytes())).pages)
    assert "1,384" in printed
    assert "Not wrong after all" in printed


def spoil_nothing(root: Path) -> None:
    (root / mutants_of.PATH).unlink()


def spoil_form(root: Path) -> None:
    (root / mutants_of.PATH).write_text("[]", "utf-8")


def spoil_page(root: Path) -> None:
    write(root, digests=dict.fromkeys(PAGES, "0" * 64))


def spoil_number(root: Path) -> None:
    page = fences.read_page(root / PAGES[0], root=root)
    write(root, digests={page.path: page.digest})


@pytest.mark.parametrize(
    ("spoil", "why"),
    [
        (spoil_nothing, "there is no build/mutants.json"),
        (spoil_form, "build/mutants.json cannot be read"),
        (spoil_page, "the pages have changed since"),
        (spoil_number, "the pages have changed since"),
    ],
)
def test_a_figure_of_other_pages_is_not_shown(checked: Project, spoil: object, why: str) -> None:
    assert callable(spoil)
    spoil(checked.root)
    text = " ".join(article(checked).get_text().split())
    assert f"The figure was not made for this build: {why}. make mutants makes it" in text
    assert "1,440" not in text


def test_every_kind_has_words_for_readers() -> None:
    assert set(mutants_of._WORDS) == set(KINDS)  # noqa: SLF001
