"""The course as one PDF, made from the built site: what is printed is what was published.

``python -m valkey_doctest.site.book site build/verified.json site/valkey-training.pdf``

Each page's article is cleaned (:mod:`.article`), read by pandoc into its syntax tree, where what Material
draws with HTML becomes calls of our template (``book.typ``), written as Typst and set by Typst. No browser
and no system package takes part. With ``SOURCE_DATE_EPOCH`` set, the same site gives the same bytes.
"""

from __future__ import annotations

import argparse
import datetime as dt
import json
import os
import re
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pypandoc
import typst
from bs4 import BeautifulSoup, Tag

from valkey_doctest import record
from valkey_doctest.site import article
from valkey_doctest.site.macros import version_key
from valkey_doctest.site.typ import call, string

Node = dict[str, Any]
"""An element of pandoc's syntax tree: ``{"t": …, "c": …}``."""

# What pandoc's HTML reader may do: keep elements and identifiers, guess nothing.
_READER = "html+native_divs+native_spans-auto_identifiers"


class BookError(Exception):
    """The site cannot be made into a book."""


@dataclass(frozen=True)
class Entry:
    """A line of the site's navigation: a part or module, or a page of it."""

    level: int
    title: str
    page: str | None
    """The page's path below the site's folder; ``None`` for a part or a module of several pages."""


@dataclass
class Book:
    """What the cleaned pages hand to Typst."""

    html: list[str] = field(default_factory=list)
    blocks: list[str] = field(default_factory=list)
    """Typst source that takes the place of ``<div class="typst" data-n="…">``."""


def main(arguments: list[str] | None = None) -> int:
    """Write the PDF that the arguments ask for."""
    parser = argparse.ArgumentParser(prog="python -m valkey_doctest.site.book", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("site", type=Path, help="the folder that `mkdocs build` wrote")
    parser.add_argument("record", type=Path, help="what was verified: build/verified.json")
    parser.add_argument("output", type=Path, help="the PDF to write")
    parser.add_argument("--keep-typst", type=Path, metavar="FOLDER", help="also leave the Typst source there")
    options = parser.parse_args(arguments)
    try:
        make(options.site, record.load(options.record), options.output, keep=options.keep_typst)
    except (BookError, record.RecordError) as error:
        print(error, file=sys.stderr)
        return 1
    return 0


def make(site: Path, known: record.Record, output: Path, *, keep: Path | None = None) -> None:
    """Set the site's pages, in the order of its navigation, as a book.

    Raises:
        BookError: there is no site, or Typst refuses the source.
    """
    title, entries = read_navigation(site)
    source = assemble(site, entries)
    now = dt.datetime.fromtimestamp(_epoch(), dt.UTC)
    versions = sorted(
        {run.version for entry in known.fences.values() for run in entry.runs if run.verdict == "passed"},
        key=version_key,
    )
    main_source = "\n".join(
        (
            '#import "book.typ": *',
            "#show: book.with("
            f"title: {string(title)}, date: {string(f'{now.day} {now:%B %Y}')}, "
            f"versions: ({''.join(string(version) + ', ' for version in versions)}), "
            f"verified: {sum(entry.status == 'verified' for entry in known.fences.values())}, "
            f"exchanges: {sum(entry.exchanges for entry in known.fences.values() if entry.status == 'verified')})",
            source,
        )
    )
    output.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as scratch:
        folder = keep or Path(scratch)
        folder.mkdir(parents=True, exist_ok=True)
        template = resources.files("valkey_doctest.site").joinpath("book.typ").read_text("utf-8")
        (folder / "book.typ").write_text(template, "utf-8")
        (folder / "main.typ").write_text(main_source, "utf-8")
        fonts = typst.Fonts(include_system_fonts=False)  # those in the wheel, the same everywhere
        compiler = typst.Compiler(folder / "main.typ", root=folder, font_paths=fonts)
        try:
            # PDF/UA: tagged, titled, in a language, every picture described, no level of heading skipped.
            pdf = compiler.compile(format="pdf", timestamp=now, pdf_standards="ua-1")
        except typst.TypstError as error:
            raise BookError(f"Typst: {error.message}\n{error.diagnostic}") from error
    if not isinstance(pdf, bytes):
        raise BookError("Typst wrote no PDF.")
    output.write_bytes(pdf)


def _epoch() -> int:
    """The time the book claims to be of; without SOURCE_DATE_EPOCH, the beginning of today."""
    given = os.environ.get("SOURCE_DATE_EPOCH")
    return int(given) if given else int(dt.datetime.combine(dt.datetime.now(dt.UTC), dt.time.min, dt.UTC).timestamp())


def read_navigation(site: Path) -> tuple[str, list[Entry]]:
    """The site's name and its navigation, as the home page shows it.

    Raises:
        BookError: there is no built site.
    """
    try:
        text = (site / "index.html").read_text("utf-8")
    except FileNotFoundError:
        raise BookError(f"{site}: no site here. Run `mkdocs build`.") from None
    found = re.search(r'<nav class="md-nav md-nav--primary.*?</nav>\s*</div>\s*</div>\s*</div>', text, re.DOTALL)
    name = re.search(r'<label class="md-nav__title".*?</a>(.*?)</label>', found[0] if found else "", re.DOTALL)
    if not found or not name:
        raise BookError(f"{site / 'index.html'}: no navigation as Material writes it.")
    navigation = BeautifulSoup(found[0], "html.parser").find("ul", class_="md-nav__list")
    if not isinstance(navigation, Tag):
        raise BookError(f"{site / 'index.html'}: the navigation has no list.")
    return name[1].strip(), list(_entries(navigation, 1))


def _entries(items: Tag, level: int) -> Iterator[Entry]:
    for item in items.find_all("li", class_="md-nav__item", recursive=False):
        nested = item.find("nav", class_="md-nav", recursive=False)
        if nested and "md-nav--secondary" not in nested.get_attribute_list("class"):
            label = item.find("label", class_="md-nav__link", recursive=False)
            yield Entry(level, label.get_text(" ", strip=True) if label else "", None)
            below = nested.find("ul", class_="md-nav__list", recursive=False)
            if below:
                yield from _entries(below, level + 1)
        else:
            link = item.find("a", class_="md-nav__link", recursive=False)
            if link:
                href = unquote(str(link["href"])).removeprefix("./")
                yield Entry(level, link.get_text(" ", strip=True), "index.html" if href == "." else href)


def assemble(site: Path, entries: list[Entry]) -> str:
    """All pages as one Typst source, below the headings of parts and modules."""
    book = Book()
    texts = {entry.page: (site / entry.page).read_text("utf-8") for entry in entries if entry.page}
    pages = {path: article.place(text, number) for number, (path, text) in enumerate(texts.items())}
    previous: Entry | None = None
    for entry in entries:
        opens = call("part" if entry.level == 1 else "chapter", entry.title) if entry.page is None else ""
        if not opens and not (previous and previous.page is None and previous.level > 1):
            opens = "#pagebreak(weak: true)"  # a page of the site begins a page of the book
        if opens:
            book.html.append(_placeholder(book, opens))
        if entry.page is not None:
            cleaned = article.clean(texts[entry.page], entry.page, pages, entry.level)
            start = len(book.blocks)
            book.blocks += cleaned.blocks
            book.html.append(re.sub(r'data-n="(\d+)"', lambda m, s=start: f'data-n="{s + int(m[1])}"', cleaned.html))
        previous = entry
    tree = json.loads(pypandoc.convert_text("\n".join(book.html), "json", format=_READER))
    tree["blocks"] = _blocks(tree["blocks"], book)
    return pypandoc.convert_text(json.dumps(tree), "typst", format="json", extra_args=["--wrap=none"])


def _placeholder(book: Book, source: str) -> str:
    book.blocks.append(source)
    return f'<div class="typst" data-n="{len(book.blocks) - 1}"></div>'


def _raw(source: str) -> Node:
    return {"t": "RawBlock", "c": ["typst", source]}


def _blocks(nodes: list[Node], book: Book) -> list[Node]:
    made: list[Node] = []
    for node in nodes:
        made += _block(node, book)
    return made


def _block(node: Node, book: Book) -> list[Node]:
    """A block, with divisions that mean something to us turned into calls of the template."""
    if node["t"] != "Div":
        return [{**node, "c": _inside(node["c"], book)}] if "c" in node else [node]
    (_, classes, attributes), content = node["c"]
    data = dict(attributes)
    if "typst" in classes:
        return [_raw(book.blocks[int(data["n"])])]
    content = _blocks(content, book)
    if "boxed" in classes:  # its title is its first block
        opening = f"#boxed({string(data['look'])}, ["
        return [_raw(opening), content[0], _raw("])["), *content[1:], _raw("]")]
    if "line" in classes:
        return [_raw(f"#line-of({string(data['look'])})["), *content, _raw("]")]
    return content


def _inside(content: Any, book: Book) -> Any:  # noqa: ANN401 -- JSON
    """Look for blocks and notes at any depth."""
    if isinstance(content, list):
        if content and all(isinstance(item, dict) and item.get("t") == "Div" for item in content):
            return _blocks(content, book)
        made: list[Any] = []
        for item in content:
            if isinstance(item, dict) and item.get("t") == "Div":
                made += _block(item, book)
            else:
                made.append(_inside(item, book))
        return made
    if isinstance(content, dict) and "t" in content:
        if content["t"] == "Span" and "note" in content["c"][0][1]:
            return {"t": "Note", "c": [{"t": "Para", "c": _inside(content["c"][1], book)}]}
        return {**content, "c": _inside(content["c"], book)} if "c" in content else content
    return content


if __name__ == "__main__":
    sys.exit(main())
