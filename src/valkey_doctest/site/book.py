"""The course as one PDF, made from the built site: what is printed is what was published.

``python -m valkey_doctest.site.book site site/valkey-training.pdf``

Each page's article is cleaned (:mod:`.article`), read by pandoc into its syntax tree, where what Material
draws with HTML becomes calls of our template (``book.typ``), written as Typst and set by Typst. No browser
and no system package takes part. With ``SOURCE_DATE_EPOCH`` set, the same site gives the same bytes.
"""

from __future__ import annotations

import argparse
import datetime as dt
import json
import os
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import pypandoc  # type: ignore[import-untyped]
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


def main(arguments: list[str] | None = None) -> None:
    """Write the PDF that the arguments ask for."""
    parser = argparse.ArgumentParser(
        prog="python -m valkey_doctest.site.book", description=(__doc__ or "").split("\n")[0]
    )
    parser.add_argument("site", type=Path, help="the folder that `mkdocs build` wrote")
    parser.add_argument("output", type=Path, help="the PDF to write")
    parser.add_argument(
        "--record",
        type=Path,
        default=record.DEFAULT_PATH,
        metavar="FILE",
        help="what was verified (default: %(default)s)",
    )
    parser.add_argument("--keep-typst", type=Path, metavar="FOLDER", help="also leave the Typst source there")
    options = parser.parse_args(arguments)
    try:
        make(options.site, record.load(options.record), options.output, keep=options.keep_typst)
    except (BookError, record.RecordError) as error:
        parser.exit(1, f"{error}\n")


def make(site: Path, known: record.Record, output: Path, *, keep: Path | None = None) -> None:
    """Set the site's pages, in the order of its navigation, as a book.

    Raises:
        BookError: there is no site, or Typst refuses the source.
    """
    title, entries = read_navigation(site)
    source = assemble(site, entries)
    now = dt.datetime.fromtimestamp(_epoch(), dt.UTC)
    versions = sorted(
        {run.version for entry in known.entries.values() for run in entry.runs if run.verdict == "passed"},
        key=version_key,
    )
    passed = [entry for entry in known.entries.values() if entry.status == "verified"]
    settings = {
        "title": string(title),
        "date": string(f"{now.day} {now:%B %Y}"),
        "versions": f"({''.join(string(version) + ', ' for version in versions)})",
        "verified": str(len(passed)),
        "exchanges": str(sum(entry.exchanges for entry in passed)),
    }
    opening = ", ".join(f"{name}: {value}" for name, value in settings.items())
    main_source = f'#import "book.typ": *\n#show: book.with({opening})\n{source}'
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
            pdf, warnings = compiler.compile_with_warnings(format="pdf", timestamp=now, pdf_standards="ua-1")
        except typst.TypstError as error:
            raise BookError(f"Typst: {error.message}\n{error.diagnostic}") from error
    for warning in warnings:
        sys.stderr.write(f"Typst: {warning.message}\n{warning.diagnostic}\n")
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
    navigation = BeautifulSoup(text, "html.parser").select_one("nav.md-nav--primary")
    name = navigation.select_one("label.md-nav__title") if navigation else None
    items = navigation.select_one("ul.md-nav__list") if navigation else None
    if not name or not items:
        raise BookError(f"{site / 'index.html'}: no navigation as Material writes it.")
    return name.get_text(strip=True), list(_entries(items, 1))


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
            if link and not urlsplit(str(link["href"])).scheme:
                href = unquote(str(link["href"])).removeprefix("./")
                yield Entry(level, link.get_text(" ", strip=True), href or "index.html")


def assemble(site: Path, entries: list[Entry]) -> str:
    """All pages as one Typst source, below the headings of parts and modules."""
    texts = {entry.page: (site / entry.page).read_text("utf-8") for entry in entries if entry.page}
    places = {path: article.place(text, number) for number, (path, text) in enumerate(texts.items())}
    html: list[str] = []
    blocks: list[str] = []

    def add(source: str) -> None:
        blocks.append(source)
        html.append(f'<div class="typst" data-n="{len(blocks) - 1}"></div>')

    chapter_opens = False
    for entry in entries:
        if entry.page is None:
            chapter_opens = entry.level > 1
            add(call("chapter" if chapter_opens else "part", entry.title))
            continue
        if not chapter_opens:  # each page of the site begins a page of the book
            add("#pagebreak(weak: true)")
        chapter_opens = False
        text = article.clean(texts[entry.page], entry.page, places, entry.level, blocks)
        html.append(f'<div class="front">{text}</div>' if entry.level == 1 else text)

    tree = json.loads(pypandoc.convert_text("\n".join(html), "json", format=_READER))
    tree["blocks"] = _blocks(tree["blocks"], blocks)
    source: str = pypandoc.convert_text(json.dumps(tree), "typst", format="json", extra_args=["--wrap=none"])
    return source


def _raw(source: str) -> Node:
    return {"t": "RawBlock", "c": ["typst", source]}


def _blocks(nodes: list[Node], blocks: list[str]) -> list[Node]:
    made: list[Node] = []
    for node in nodes:
        made += _block(node, blocks)
    return made


def _block(node: Node, blocks: list[str]) -> list[Node]:
    """A block, with divisions that mean something to us turned into calls of the template."""
    if node["t"] != "Div":
        return [{**node, "c": _inside(node["c"], blocks)}] if "c" in node else [node]
    (_, classes, attributes), content = node["c"]
    data = dict(attributes)
    if "typst" in classes:
        return [_raw(blocks[int(data["n"])])]
    content = _blocks(content, blocks)
    if "front" in classes:
        return [_raw("#front["), *content, _raw("]")]
    if "boxed" in classes:  # its title is its first block
        opening = f"#boxed({string(data['look'])}, ["
        return [_raw(opening), content[0], _raw("])["), *content[1:], _raw("]")]
    if "line" in classes:
        return [_raw(f"#line-of({string(data['look'])})["), *content, _raw("]")]
    return content


def _inside(content: Any, blocks: list[str]) -> Any:
    """Look for blocks and notes at any depth."""
    if isinstance(content, list):
        made: list[Any] = []
        for item in content:
            if isinstance(item, dict) and item.get("t") == "Div":
                made += _block(item, blocks)
            else:
                made.append(_inside(item, blocks))
        return made
    if isinstance(content, dict) and "t" in content:
        if content["t"] == "Span" and "note" in content["c"][0][1]:
            return {"t": "Note", "c": [{"t": "Para", "c": _inside(content["c"][1], blocks)}]}
        return {**content, "c": _inside(content["c"], blocks)} if "c" in content else content
    return content


if __name__ == "__main__":
    main()
