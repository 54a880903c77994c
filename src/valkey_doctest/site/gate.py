"""The publish gate: a fence is shown as what it is, verified or not, at the moment it is rendered.

``pymdownx.superfences`` calls :func:`formatter` for every fence of a page, in order. The formatter looks
the fence up in the record of what was run. It sits in the Markdown extension and not in a MkDocs hook,
so that no renderer can publish a page past it.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any
from weakref import WeakKeyDictionary

from markdown import Markdown
from pymdownx.superfences import RE_HL_LINES, RE_LINENUMS, SuperFencesException

from valkey_doctest import fences, record
from valkey_doctest.site.shown import commands, without_markers

log = logging.getLogger("mkdocs.valkey_doctest")
"""MkDocs counts what arrives under ``mkdocs.``; an error is counted even by ``mkdocs build --quiet``."""


@dataclass(frozen=True)
class Source:
    """The page that is being rendered."""

    root: Path
    """The project's top folder."""
    path: str
    """The page's path below it, as the record names it."""
    fences: tuple[fences.Fence, ...]
    beginning: str = ""
    """Where the chain of its digests begins, see :func:`valkey_doctest.fences.beginning`."""


@dataclass
class _Progress:
    """How far one page has been rendered: one Markdown instance renders one page, once."""

    digest: str = ""
    count: int = 0
    broken: bool = False
    """An unknown fence was reported: all after it are unknown too, because digests are chained."""


_progress: WeakKeyDictionary[Markdown, _Progress] = WeakKeyDictionary()
_records: dict[Path, tuple[tuple[int, int] | None, dict[str, record.Entry]]] = {}
_source: Source | None = None


def begin(source: Source | None) -> None:
    """Say which page is rendered next: its settings are part of its fences' digests, and messages name the line."""
    global _source  # noqa: PLW0603 -- the formatter is handed a Markdown instance and nothing else
    _source = source


def verified(root: Path) -> dict[str, record.Entry]:
    """The record below ``root`` by digest, read again only when the file has changed."""
    path = root / record.DEFAULT_PATH
    try:
        found = path.stat()
        stamp = (found.st_mtime_ns, found.st_size)
    except FileNotFoundError:
        stamp = None
    known = _records.get(path)
    if known is None or known[0] != stamp:
        try:
            known = (stamp, record.load(path).fences)
        except record.RecordError as error:
            log.error("%s", error)  # noqa: TRY400 -- the message says all; a trace would say less
            known = (stamp, {})
        else:
            if not known[1]:
                log.error("%s holds no verified fences. Run `make verify`.", record.DEFAULT_PATH)
        _records[path] = known
    return known[1]


def validator(
    language: str,  # noqa: ARG001 -- the names are those of SuperFences
    inputs: dict[str, str],
    options: dict[str, str],
    attrs: dict[str, str],  # noqa: ARG001
    md: Markdown,  # noqa: ARG001
) -> bool:
    """Accept what the collector accepts: every input is an option, none is an HTML attribute."""
    options.update(inputs)
    return True


def formatter(
    source: str,
    language: str,
    class_name: str,  # noqa: ARG001
    options: dict[str, str],
    md: Markdown,
    **kwargs: Any,
) -> str:
    """Render one fence with its verdict.

    Raises:
        SuperFencesException: something failed; any other exception would turn the fence into prose.
    """
    try:
        return _format(source, language, options, md, kwargs)
    except Exception as error:
        where = _source.path if _source else "a page"
        raise SuperFencesException(f"{where}: cannot render `{language}` fence: {error!r}") from error


def _format(source: str, language: str, options: dict[str, str], md: Markdown, kwargs: dict[str, Any]) -> str:
    progress = _progress.setdefault(md, _Progress(_source.beginning if _source else ""))
    progress.digest = fences.chain(progress.digest, language, options, source)
    progress.count += 1

    root = _source.root if _source else Path.cwd()
    found = verified(root).get(progress.digest)
    status = found.status if found else "unknown"
    since, note = "", ""
    if "since" in options:
        since = f'<p class="fence-note fence-since">Valkey {escape(options["since"])} and later</p>'
    if status == "marked" and found:
        reasons = "; ".join(dict.fromkeys(run.reason or "no reason given" for run in found.runs))
        note = f'<p class="fence-note fence-skipped">Not run in this build: {escape(reasons)}</p>'
    elif status != "verified":
        message = "Not verified, because a fence before it is not."
        if found or not progress.broken:
            message = _complaint(progress.count, language, options, source, found)
            log.error("%s", message)
        progress.broken = True
        note = f'<p class="fence-note fence-unverified">{escape(message)}</p>'

    html = _highlight(source, language, options, md, kwargs)
    return f'<div class="fence fence-{status}">{since}{html}{note}</div>' if since or note else html


def _highlight(source: str, language: str, options: dict[str, str], md: Markdown, kwargs: dict[str, Any]) -> str:
    """Colours, title and line numbers by SuperFences itself; what the copy button takes by us."""
    source = without_markers(source, language, options)
    known: dict[str, str] = {}
    if "title" in options:
        known["title"] = options["title"]
    if RE_HL_LINES.match(options.get("hl_lines", "")):
        known["hl_lines"] = options["hl_lines"]
    if RE_LINENUMS.match(options.get("linenums", "")):
        known["linenums"] = options["linenums"]
    classes = [f"language-{language}", *kwargs["classes"]]
    attributes = {}
    to_copy = commands(source, language)
    if to_copy:
        attributes["data-copy"] = escape(to_copy).replace("\n", "&#10;")
    elif to_copy is not None:
        classes.append("no-copy")  # Material's class: there is no command to copy
    highlighter = md.preprocessors["fenced_code_block"]
    html: str = highlighter.highlight(  # type: ignore[attr-defined]
        src=source,
        language=language,
        options=known,
        md=md,
        **{**kwargs, "classes": classes, "attrs": attributes},
    )
    return html


def _complaint(number: int, language: str, options: dict[str, str], source: str, found: record.Entry | None) -> str:
    """What is wrong with which fence, and what to do, in one line."""
    page, line = (found.page, found.line) if found else ("", 0)
    fault = "has not been run as it stands, or what comes before it on the page has changed"
    after = 0
    if _source:
        page = _source.path
        written = next(iter(_source.fences[number - 1 : number]), None)
        if written and written.language == language:
            line = written.line
            after = len(_source.fences) - number
            if written.text != fences.normalize(source):
                fault = "is not shown as its page has it: keep macros out of fences"
    if found:
        failed = next((run for run in found.runs if run.verdict == "failed"), None)
        if failed:
            reason = (failed.reason or "no reason given").rstrip(".")
            fault = f"failed on Valkey {failed.version} ({failed.provider}): {reason}"
    elif after:
        fault += f" ({after} more after it wait for this one)"
    title = f' title="{options["title"]}"' if "title" in options else ""
    first = next((text.strip() for text in source.splitlines() if text.strip()), "")
    where = f"{page}:{line}: " if line else f"{page}: " if page else ""
    command = f"pytest {page}" if page else "pytest on its page"
    return f"{where}`{language}{title}` fence beginning `{first}` {fault}. Run `make verify`, or `{command}`."
