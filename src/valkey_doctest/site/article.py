"""One page of the built site, cleaned for print: HTML that pandoc understands, and blocks that it need not.

What exists for the screen only goes (buttons, permalinks); what a reader must click open stands open; tabs
follow one another under their labels; links between pages become links within the book, and links that
leave it are printed as notes.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import unquote, urldefrag, urlsplit

from bs4 import BeautifulSoup, Tag
from bs4.element import NavigableString

from valkey_doctest.site.typ import string

COLUMNS = 110
"""The longest line of code that is still legible when shrunk to the width of the text."""
_COLUMNS_LESS = 7  # for each list, box or tab around the code

_HEADINGS = re.compile(r"^h[1-6]$")
_AWAY = ".md-content__button, .headerlink, .md-source-file, .footnote-backref, .tabbed-set > input, script, style, hr"


@dataclass(frozen=True)
class Place:
    """A page of the book, as links find it."""

    number: int
    title: str
    """The identifier of its title."""
    headings: frozenset[str]
    """The identifiers of all its headings."""

    def anchor(self, fragment: str) -> str:
        """The name of a heading, unique in the book; what is no heading is as good as the page's top."""
        below = fragment in self.headings and fragment != self.title
        return f"p{self.number}-{fragment}" if below else f"p{self.number}"


def place(text: str, number: int) -> Place:
    """Where links into this page can lead."""
    headings = re.findall(r'<h([1-6])\b[^>]*\bid="([^"]+)"', text)
    title = next((found for depth, found in headings if depth == "1"), "")
    return Place(number, title, frozenset(found for _, found in headings))


def clean(text: str, path: str, pages: Mapping[str, Place], level: int, blocks: list[str]) -> str:
    """Clean the HTML of the page at ``path`` below the site's folder.

    ``pages`` are all pages of the book, this one among them, and ``level`` is the level of its title there.
    Code and pictures are appended to ``blocks`` as Typst source; in their place the result has
    ``<div class="typst" data-n="…">`` with the index of the block.
    """
    start, end = text.index("<article"), text.rindex("</article>")
    text = text[start:end]
    soup = BeautifulSoup(text, "html.parser")
    for tag in soup.select(_AWAY):
        tag.decompose()
    _code(soup, blocks)
    _pictures(soup, blocks, text)
    _boxes(soup)
    _tabs(soup)
    _lines(soup)
    _footnotes(soup)
    _links(soup, path, pages)
    _headings(soup, pages[path], level)
    body = soup.find("article")
    return body.decode_contents() if body else ""


def _block(soup: BeautifulSoup, blocks: list[str], source: str) -> Tag:
    blocks.append(source)
    return soup.new_tag("div", attrs={"class": "typst", "data-n": str(len(blocks) - 1)})


def _code(soup: BeautifulSoup, blocks: list[str]) -> None:
    for tag in soup.select("div.highlight"):
        code = tag.select_one("td.code code") or tag.select_one("pre > code") or tag.select_one("code")
        if not code:
            continue
        title = tag.find(class_="filename")
        numbers = [found.get_text(strip=True) for found in tag.select(".linenos .normal, .linenos .special")]
        around = len(tag.find_parents(["li", "details"])) + len(tag.find_parents(class_=["admonition", "tabbed-block"]))
        lines = _lines_of_code(code)
        rows, marked = [], []
        for index, (marks, tokens) in enumerate(lines):
            number = f"{numbers[index]:>3} " if index < len(numbers) else ""
            for row in _wrapped(tokens, COLUMNS - _COLUMNS_LESS * around - len(number), number):
                rows.append(row)
                if marks:
                    marked.append(str(len(rows) - 1))
        source = (
            f"#code({string(title.get_text(strip=True)) if title else 'none'}, "
            f"({''.join(mark + ', ' for mark in marked)}), (\n"
            + "".join(f"({''.join(f'({string(kind)}, {string(piece)}), ' for kind, piece in row)}),\n" for row in rows)
            + "))"
        )
        tag.replace_with(_block(soup, blocks, source))


Tokens = list[tuple[str, str]]
"""Pieces of a line of code, each with its Pygments class."""


def _lines_of_code(code: Tag) -> list[tuple[bool, Tokens]]:
    """Lines, each with whether it is marked (``hl_lines``)."""
    lines: list[tuple[bool, Tokens]] = [(False, [])]
    for leaf in code.descendants:
        if not isinstance(leaf, NavigableString):
            continue
        around = [name for parent in leaf.find_parents("span") for name in parent.get_attribute_list("class") if name]
        kind = next((name for name in around if name != "hll"), "")
        for index, piece in enumerate(str(leaf).split("\n")):
            if index:
                lines.append((False, []))
            if piece:
                marked, tokens = lines[-1]
                lines[-1] = (marked or "hll" in around, [*tokens, (kind, piece)])
    while lines and not lines[-1][1]:
        lines.pop()
    return lines


def _wrapped(tokens: Tokens, columns: int, number: str) -> list[Tokens]:
    """A line as one or more rows of at most so many columns, broken at a blank where there is one near."""
    text = "".join(piece for _, piece in tokens)
    rows: list[Tokens] = []
    start = 0
    while len(text) - start > columns:
        blank = text.rfind(" ", start, start + columns)
        end = blank + 1 if blank > start + columns * 0.6 else start + columns
        rows.append(_slice(tokens, start, end))
        start = end
        if len(rows) == 1:
            columns -= 2  # for the arrow
    rows.append(_slice(tokens, start, len(text)))
    margin: Tokens = [("lineno", number)] if number else []
    indent: Tokens = [("lineno", " " * len(number) + "↪ ")]
    return [(indent if index else margin) + row for index, row in enumerate(rows)]


def _slice(tokens: Tokens, start: int, end: int) -> Tokens:
    made: Tokens = []
    position = 0
    for kind, piece in tokens:
        part = piece[max(0, start - position) : max(0, end - position)]
        if part:
            made.append((kind, part))
        position += len(piece)
    return made


def _pictures(soup: BeautifulSoup, blocks: list[str], text: str) -> None:
    """Take drawings as they were written: an HTML parser would change the case of SVG's names."""
    drawings = re.findall(r'<figure class="picture"[^>]*>(<svg.*?</svg>)</figure>', text, re.DOTALL)
    for tag, drawing in zip(soup.select("figure.picture"), drawings, strict=True):
        description = " ".join(found.get_text(" ", strip=True) for found in tag.find_all(["title", "desc"]))
        source = re.sub(r'font-family="(?!monospace)[^"]*"', 'font-family="Libertinus Serif"', drawing)
        source = source.replace('font-family="monospace"', 'font-family="DejaVu Sans Mono"')
        tag.replace_with(_block(soup, blocks, f"#picture({string(source)}, {string(description)})"))


def _boxes(soup: BeautifulSoup) -> None:
    """Admonitions and details: a division whose first child is its title."""
    for tag in soup.select("div.admonition, details"):
        title = tag.find(["p", "summary"], recursive=False)
        kinds = [
            name for name in tag.get_attribute_list("class") if name and name not in {"admonition", "inline", "end"}
        ]
        tag.name = "div"
        tag.attrs = {"class": "boxed", "data-look": str(kinds[0]) if kinds else "note"}
        if isinstance(title, Tag):
            title.name = "p"
            title.attrs = {}
        else:
            tag.insert(0, soup.new_tag("p"))


def _tabs(soup: BeautifulSoup) -> None:
    for tag in soup.select("div.tabbed-set"):
        labels = [label.get_text(" ", strip=True) for label in tag.select(":scope > .tabbed-labels > label")]
        tabs = tag.select(":scope > .tabbed-content > .tabbed-block")
        for label, tab in zip(labels, tabs, strict=True):
            title = soup.new_tag("p")
            title.string = label
            tab.insert(0, title)
            tab.attrs = {"class": "boxed", "data-look": "tab"}
            tag.insert_before(tab.extract())
        tag.decompose()


def _lines(soup: BeautifulSoup) -> None:
    """The verified line and the gate's notes, which pandoc would take for paragraphs."""
    for name in ("page-verified", "page-since", "fence-since", "fence-skipped", "fence-unverified"):
        for tag in soup.select(f"p.{name}"):
            tag.wrap(soup.new_tag("div", attrs={"class": "line", "data-look": name}))


def _footnotes(soup: BeautifulSoup) -> None:
    """Put each note where it is referred to; Typst sets it at the foot of the page."""
    notes = {str(item.get("id")): item for item in soup.select("div.footnote li")}
    for reference in soup.select("sup:has(> a.footnote-ref)"):
        link = reference.find("a")
        note = notes.get(unquote(str(link["href"])).removeprefix("#")) if isinstance(link, Tag) else None
        if note is None:
            continue
        span = soup.new_tag("span", attrs={"class": "note"})
        copied = BeautifulSoup(note.decode_contents(), "html.parser")
        for paragraph in copied.find_all("p"):
            paragraph.unwrap()
        span.extend(list(copied.contents))
        reference.replace_with(span)
    for tag in soup.select("div.footnote"):
        tag.decompose()


def _links(soup: BeautifulSoup, path: str, pages: Mapping[str, Place]) -> None:
    for tag in soup.find_all("a"):
        href = str(tag.get("href", ""))
        address, fragment = urldefrag(href)
        if urlsplit(href).scheme:
            _print_address(soup, tag, href)
            continue
        target = posixpath.normpath(posixpath.join(posixpath.dirname(path), unquote(address))) if address else path
        page = pages.get(target)
        if page is None:  # a file beside the pages: nothing to click in a book
            tag.unwrap()
        else:
            tag.attrs = {"href": f"#{page.anchor(unquote(fragment))}"}


def _print_address(soup: BeautifulSoup, tag: Tag, href: str) -> None:
    """Print where a link leads: as a note, or in brackets within a note."""
    tag.attrs = {"href": href}
    shown = tag.get_text(strip=True).rstrip("/")
    if shown in href.rstrip("/") and shown.count(".") > 0:
        return
    if tag.find_parent(_HEADINGS):
        return
    printed = soup.new_tag("a", attrs={"href": href})
    printed.string = href.removeprefix("https://").removesuffix("/")
    if tag.find_parent("span", class_="note"):
        tag.insert_after(" (", printed, ")")
    else:
        note = soup.new_tag("span", attrs={"class": "note"})
        note.append(printed)
        tag.insert_after(note)


def _headings(soup: BeautifulSoup, page: Place, level: int) -> None:
    """Move headings below the title's level; identifiers are for them alone."""
    for tag in soup.find_all(id=True):
        name = str(tag["id"])
        if _HEADINGS.match(tag.name):
            tag["id"] = page.anchor(name)
        else:
            del tag["id"]
    for tag in soup.find_all(_HEADINGS):
        tag.name = f"h{min(6, int(tag.name[1]) + level - 1)}"
