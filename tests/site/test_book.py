"""The PDF: complete, searchable, nothing clipped, the same again."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

import pytest
from bs4 import BeautifulSoup
from pypdf import PdfReader
from sample_site import PAGES, Project

from valkey_doctest import record
from valkey_doctest.site import article, book
from valkey_doctest.site.typ import string


def squeezed(text: str) -> str:
    """Text without blanks and without the arrows of wrapped lines, which are all that a page may change."""
    return re.sub(r"[\s↪\u00ad]+", "", text)


@pytest.fixture(scope="module")
def printed(pdf: PdfReader) -> str:
    return squeezed("".join(page.extract_text() for page in pdf.pages))


def levels(outline: list[Any], depth: int = 1) -> dict[str, int]:
    found: dict[str, int] = {}
    for item in outline:
        found |= levels(item, depth + 1) if isinstance(item, list) else {str(item.title): depth}
    return found


def test_bookmarks_are_part_module_page_section(pdf: PdfReader) -> None:
    found = levels(pdf.outline)
    assert found["Part I · Foundations"] == 1
    assert found["1 Introduction to Valkey"] == 2
    assert found["What is Valkey?"] == 3
    assert found["First steps"] == 4


def test_no_line_of_code_is_missing(built: Project, printed: str) -> None:
    for page in PAGES:
        html = BeautifulSoup(built.html(page.removeprefix("docs/").replace(".md", ".html")), "html.parser")
        for code in html.select(".highlight pre > code"):
            for line in code.get_text().splitlines():
                assert squeezed(line) in printed, line


def test_no_line_of_code_leaves_the_text_block(pdf: PdfReader) -> None:
    rightmost: list[tuple[float, str]] = []

    def visit(text: str, cm: list[float], tm: list[float], font: dict[str, Any] | None, size: float) -> None:
        if text.strip() and font and "DejaVuSansMono" in str(font["/BaseFont"]):
            start = tm[4] * cm[0] + cm[4]
            width = 0.602 * size * abs(tm[0] * cm[0]) * len(text.rstrip())
            rightmost.append((start + width, text))

    for page in pdf.pages:
        page.extract_text(visitor_text=visit)
    assert len(rightmost) > 50
    margin = 595.3 - 2.3 / 2.54 * 72
    assert max(rightmost)[0] <= margin, max(rightmost)
    assert max(rightmost)[0] > margin - 60, "the longest line of the sample should nearly fill the width"


def test_no_paragraph_is_missing(built: Project, printed: str) -> None:
    for page in PAGES:
        html = BeautifulSoup(built.html(page.removeprefix("docs/").replace(".md", ".html")), "html.parser")
        for tag in html.select("article p:not(.admonition-title), article li, article td, article summary"):
            if tag.find(["p", "div", "ul", "ol", "sup"]) or tag.find_parent(class_="footnote"):
                continue
            text = squeezed(tag.get_text())
            assert text.removesuffix(".") in printed or text[:12] in printed, text


def test_solutions_stand_open_and_tabs_have_labels(printed: str) -> None:
    assert "SolutionINCRcounter" in printed.replace("127.0.0.1:6379>", "")
    assert "Python" in printed
    assert "Shell$valkey-cliPING" in printed


def test_what_is_for_the_screen_only_is_gone(printed: str) -> None:
    for gone in ("¶", "Edit", "<!--"):
        assert gone not in printed


def test_the_cover_says_what_was_verified(pdf: PdfReader) -> None:
    cover = " ".join(pdf.pages[0].extract_text().split())
    assert "Valkey Training" in cover
    assert "Verified on Valkey 8.1.8 and 9.1.2: 14 examples" in cover
    assert "independent work" in cover


def test_contents_have_page_numbers_and_links_lead_somewhere(pdf: PdfReader) -> None:
    contents = pdf.pages[1].extract_text()
    assert re.search(r"What is Valkey\?[ .]*\d", contents)
    inside = [
        link.get_object()["/Dest"] if "/Dest" in link.get_object() else link.get_object()["/A"]
        for page in pdf.pages
        for link in page.get("/Annots", [])
    ]
    assert len(inside) > 8


def test_running_heads(pdf: PdfReader) -> None:
    later = pdf.pages[-1].extract_text()
    assert later.startswith("1 Introduction to Valkey")
    assert "Characteristics" in later.split("\n")[0] + later.split("\n")[1]


def test_fonts_are_embedded(pdf: PdfReader) -> None:
    fonts = [font.get_object() for page in pdf.pages for font in page["/Resources"].get("/Font", {}).values()]
    assert fonts
    for font in fonts:
        lowest = font["/DescendantFonts"][0].get_object() if "/DescendantFonts" in font else font
        assert {"/FontFile", "/FontFile2", "/FontFile3"} & set(lowest["/FontDescriptor"].get_object())


def test_it_is_tagged_titled_and_in_a_language(pdf: PdfReader) -> None:
    root = pdf.trailer["/Root"]
    assert root["/MarkInfo"]["/Marked"]
    assert root["/Lang"] == "en-GB"
    assert pdf.metadata
    assert pdf.metadata.title == "Valkey Training"
    assert b"pdfuaid" in root["/Metadata"].get_object().get_data()


def test_the_same_site_makes_the_same_bytes(built: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(os.environ, "SOURCE_DATE_EPOCH", "1780000000")
    known = record.load(built.root / record.DEFAULT_PATH)
    for name in ("a.pdf", "b.pdf"):
        book.make(built.root / "site", known, tmp_path / name)
    assert (tmp_path / "a.pdf").read_bytes() == (tmp_path / "b.pdf").read_bytes()
    assert "May 2026" in PdfReader(tmp_path / "a.pdf").pages[0].extract_text()


def test_no_site_is_an_error_one_can_read(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="1"):
        book.main([str(tmp_path), str(tmp_path / "out.pdf")])
    assert "Run `mkdocs build`." in capsys.readouterr().err


def test_long_lines_are_wrapped_at_blanks_and_keep_their_colours() -> None:
    tokens = [("k", "aaa "), ("s", "bbb ccc ddd"), ("", "x" * 30)]
    rows = article._wrapped(tokens, 12, "  1 ")  # noqa: SLF001
    assert rows[0] == [("lineno", "  1 "), ("k", "aaa "), ("s", "bbb ccc ")]
    assert rows[1][0] == ("lineno", "    ↪ ")
    assert "".join(piece for row in rows for kind, piece in row if kind != "lineno") == "aaa bbb ccc ddd" + "x" * 30


def test_strings_are_quoted() -> None:
    assert string('a"b\\c\nd') == '"a\\"b\\\\c\\nd"'
