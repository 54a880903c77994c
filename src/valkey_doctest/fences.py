"""Markdown to fences, strictly: every fenced code block of a page, or an error at file:line.

The rules for where a fence begins and ends are those of ``pymdownx.superfences``, which renders the
pages. What SuperFences would quietly render as something else (an unclosed fence, an info string it
does not understand) is an error here, because it would be published without having been run.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

ATTRIBUTES = frozenset({"title", "since", "skip", "hl_lines", "linenums"})
"""What may stand in a fence's info string beside its language."""

PLAIN_ATTRIBUTES = frozenset({"title", "hl_lines", "linenums"})
"""What Material reads without braces; everything else must stand in ``{}``."""

SETTINGS = ("deployment", "since")
"""What of the front matter says how a page is run: it is part of every fence's identity."""

_TAB = 4  # Python-Markdown's tab length
_PREFIX = re.compile(r"[ \t>]*")
_OPENING = re.compile(r"(?P<fence>`{3,}|~{3,})(?P<info>.*)$")
_INFO = re.compile(r"(?P<language>[\w#.+-]+)?(?:[ ]+(?P<braced>\{.*\})|(?P<plain>[ ]+.*))?$")
_ATTRIBUTE = re.compile(r'\s*([a-z_]+)="([^"]*)"(?=\s|$)')
_SNIPPET = re.compile(r"^\s*-{1,}8<-{1,}", re.MULTILINE)
_VERSION = re.compile(r"\d+\.\d+$")


class FenceError(Exception):
    """A page that cannot be read as the notation demands.

    ``str()`` begins with ``file:line: `` and ends with what to do about it.
    """

    def __init__(self, page: str, line: int, message: str) -> None:
        super().__init__(f"{page}:{line}: {message}")
        self.page = page
        self.line = line
        self.message = message


class Fence(NamedTuple):
    """One fenced code block of a page: the unit that is run, reported, recorded and published."""

    page: str
    """The page's path, as messages and the record show it."""
    line: int
    """The line of the opening fence, from 1."""
    start: int
    """Where the opening fence's line begins in the page's text, in characters."""
    end: int
    """Where the closing fence's line ends in the page's text, in characters."""
    indent: str
    language: str
    attributes: Mapping[str, str]
    text: str
    """What is published and run: dedented, with ``--8<--`` includes in their place."""
    digest: str
    """SHA-256 over this fence, *every fence before it on its page* and what the page runs on, see :func:`chain`."""
    included: bool = False
    """Whether the text came from another file, so that its lines are not the page's lines."""

    @property
    def title(self) -> str | None:
        """The name readers see above the fence."""
        return self.attributes.get("title")

    def body_line(self, index: int) -> int:
        """The page's line on which line ``index`` (from 0) of the text stands."""
        return self.line if self.included else self.line + 1 + index


class Page(NamedTuple):
    """A Markdown file: its front matter and its fences, in order."""

    path: str
    text: str
    meta: Mapping[str, Any]
    fences: tuple[Fence, ...]

    @property
    def digest(self) -> str:
        """The digest of all fences: that of the last."""
        return self.fences[-1].digest if self.fences else beginning(self.meta)


def beginning(meta: Mapping[str, Any]) -> str:
    """Where the chain of a page's digests begins: at its :data:`SETTINGS`; ``""`` if it has none.

    The same fences on other servers, or on other versions, are not the same examples.
    """
    settings = [f"{key}={meta[key]}" for key in SETTINGS if key in meta]
    return hashlib.sha256("\0".join(settings).encode()).hexdigest() if settings else ""


def chain(previous: str, language: str, attributes: Mapping[str, str], text: str) -> str:
    r"""The digest of a fence that follows what has digest ``previous``: a fence, or the page's :func:`beginning`.

    A page is one session, so a fence is only as true as what ran before it. Chaining makes that part
    of its identity: whoever changes, removes or reorders a fence has to verify those after it again.

    ```python
    from valkey_doctest.fences import chain

    first = chain("", "valkey-cli", {}, "127.0.0.1:6379> PING\nPONG")
    assert chain(first, "text", {}, "a") != chain("", "text", {}, "a")
    ```
    """
    parts = [previous, language]
    parts += [f"{key}={attributes[key]}" for key in sorted(attributes)]
    parts.append(normalize(text))
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()


def normalize(text: str) -> str:
    """Fence text as Python-Markdown hands it to a formatter: no tabs, no blank-only lines or ends."""
    lines = [line.expandtabs(_TAB).rstrip(" ") for line in text.splitlines()]
    return "\n".join(lines).strip("\n")


def read_page(path: Path, *, root: Path) -> Page:
    """Read a page under ``root``, its snippets included from ``root``.

    Raises:
        FenceError: the file is not UTF-8, its front matter is not YAML, or a fence is malformed.
    """
    try:
        name = path.resolve().relative_to(root.resolve()).as_posix()
    except ValueError:
        name = str(path)
    data = path.read_bytes()
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise FenceError(
            name,
            line,
            f"not UTF-8: byte 0x{data[error.start]:02x} cannot be read. Save the file as UTF-8.",
        ) from None
    return parse_page(text.replace("\r\n", "\n"), name, root=root)


def parse_page(text: str, name: str, *, root: Path) -> Page:
    """Parse a page's text; ``name`` is what messages call it.

    Raises:
        FenceError: the front matter is not YAML, or a fence is malformed.
    """
    meta, offset = _front_matter(text, name)
    return Page(name, text, meta, tuple(_scan(text, name, root, offset, beginning(meta))))


def _front_matter(text: str, name: str) -> tuple[dict[str, Any], int]:
    """The YAML between two ``---`` lines at the top, and where it ends."""
    found = re.match(r"---[ \t]*\n(.*?)^(?:---|\.\.\.)[ \t]*(?:\n|\Z)", text, re.DOTALL | re.MULTILINE)
    if not found:
        return {}, 0
    import yaml  # noqa: PLC0415  it takes its time, and not every page needs it

    try:
        meta = yaml.safe_load(found[1])
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = 2 + (mark.line if mark else 0)
        raise FenceError(name, line, f"front matter is not YAML: {getattr(error, 'problem', error)}") from None
    if meta is None:
        meta = {}
    if not isinstance(meta, dict):
        raise FenceError(name, 2, "front matter must be `key: value` lines.")
    return meta, found.end()


def _scan(text: str, name: str, root: Path, offset: int, previous: str) -> Iterator[Fence]:
    lines = text.splitlines(keepends=True)
    position = 0
    opened: _Open | None = None
    comment = 0  # the line on which an HTML comment began, or 0
    for number, raw in enumerate(lines, 1):
        start, position = position, position + len(raw)
        if start < offset:
            continue
        line = raw.rstrip("\n")
        if opened is None:
            comment = _comment(line, number, comment)
            opened = _open(line, number, start, name)
            if opened and comment:
                raise FenceError(
                    name,
                    number,
                    f"a fence inside the HTML comment of line {comment} would be run but not shown. "
                    "Delete it, or close the comment before it.",
                )
        elif opened.closes(line):
            fence = _close(opened, name, root, previous, position - (len(raw) - len(line)))
            previous = fence.digest
            opened = None
            yield fence
        else:
            opened.take(line, number, name)
    if opened is not None:
        raise FenceError(
            name,
            opened.line,
            f"this fence is never closed. Close it with a line `{opened.indent}{opened.mark}`.",
        )


def _comment(line: str, number: int, comment: int) -> int:
    """Follow ``<!--`` and ``-->`` outside fences; inline code does not count."""
    if "--" not in line:
        return comment
    for mark in re.findall(r"<!--|-->", re.sub(r"`[^`]*`", "", line)):
        comment = (comment or number) if mark == "<!--" else 0
    return comment


@dataclass
class _Open:
    """A fence whose end has not been seen yet."""

    line: int
    start: int
    indent: str
    mark: str
    language: str
    attributes: dict[str, str]
    body: list[str] = field(default_factory=list)

    def closes(self, line: str) -> bool:
        return line.expandtabs(_TAB).rstrip() == self.indent + self.mark

    def take(self, line: str, number: int, name: str) -> None:
        wide = line.expandtabs(_TAB)
        if wide.strip() and not wide.startswith(self.indent):
            raise FenceError(
                name,
                number,
                f"indented less than the fence that was opened on line {self.line}. Indent this line "
                f"like the fence, or close the fence with `{self.mark}` before it.",
            )
        inner = wide[len(self.indent) :]
        opening = _OPENING.match(inner)
        if opening and opening["fence"] == self.mark and opening["info"].strip():
            raise FenceError(
                name,
                self.line,
                f"this fence is still open where line {number} opens the next one. "
                f"Close it with a line `{self.indent}{self.mark}`.",
            )
        self.body.append(inner)


def _open(line: str, number: int, start: int, name: str) -> _Open | None:
    if "```" not in line and "~~~" not in line:
        return None
    prefix = _PREFIX.match(line)
    assert prefix is not None  # it matches the empty string
    found = _OPENING.match(line, prefix.end())
    if not found or (found["fence"][0] == "`" and "`" in found["info"]):
        return None  # inline code in three backticks
    if ">" in prefix[0]:
        raise FenceError(name, number, "a fence inside a blockquote cannot be run. Use an admonition (`!!! note`).")
    language, attributes = _info(found["info"], number, name)
    return _Open(number, start, prefix[0].expandtabs(_TAB), found["fence"], language, attributes)


def _info(info: str, number: int, name: str) -> tuple[str, dict[str, str]]:
    if not info.strip():
        raise FenceError(
            name, number, "this fence names no language. Write one after the backticks, `text` if nothing runs it."
        )
    found = _INFO.match(info.rstrip())
    if not found or not found["language"]:
        raise FenceError(
            name, number, f"the info string `{info.strip()}` must begin with a language, right after the backticks."
        )
    braced = found["braced"]
    attributes = _attributes(braced[1:-1] if braced else found["plain"] or "", number, name)
    for key in attributes:
        if not braced and key not in PLAIN_ATTRIBUTES:
            where = f'`{found["language"]} {{{key}="{attributes[key]}"}}`'
            raise FenceError(name, number, f"`{key}` must stand in braces: {where}.")
    return found["language"], attributes


def _attributes(text: str, number: int, name: str) -> dict[str, str]:
    attributes: dict[str, str] = {}
    position = 0
    for match in _ATTRIBUTE.finditer(text):
        if match.start() != position:
            break
        position = match.end()
        if match[1] in attributes:
            raise FenceError(name, number, f"the attribute `{match[1]}` stands here twice.")
        attributes[match[1]] = match[2]
    if rest := text[position:].strip():
        raise FenceError(
            name, number, f'cannot read the attribute `{rest}`. Attributes look like `{{title="…" since="9.0"}}`.'
        )
    for key, value in attributes.items():
        if key not in ATTRIBUTES:
            raise FenceError(name, number, f"unknown attribute `{key}`. Known are: {', '.join(sorted(ATTRIBUTES))}.")
        if not value.strip():
            raise FenceError(name, number, f"the attribute `{key}` is empty.")
    if "since" in attributes and not _VERSION.match(attributes["since"]):
        raise FenceError(name, number, f'`since="{attributes["since"]}"` is not a version such as "9.0".')
    return attributes


def _close(opened: _Open, name: str, root: Path, previous: str, end: int) -> Fence:
    text = "\n".join(opened.body)
    included = bool(_SNIPPET.search(text))
    if included:
        text = _include(text, opened.line, name, root)
    return Fence(
        page=name,
        line=opened.line,
        start=opened.start,
        end=end,
        indent=opened.indent,
        language=opened.language,
        attributes=opened.attributes,
        text=normalize(text),
        digest=chain(previous, opened.language, opened.attributes, text),
        included=included,
    )


def _include(text: str, line: int, name: str, root: Path) -> str:
    """Put ``--8<--`` files in their place, by the extension that does it for the site."""
    from markdown import Markdown  # noqa: PLC0415
    from pymdownx.snippets import SnippetExtension, SnippetMissingError  # noqa: PLC0415

    markdown = Markdown(extensions=[SnippetExtension(base_path=[str(root)], check_paths=True)])
    preprocessor = markdown.preprocessors["snippet"]
    try:
        return "\n".join(preprocessor.run(text.split("\n")))
    except SnippetMissingError as error:
        raise FenceError(name, line, f"{error}. Paths begin at the project's top folder.") from None
