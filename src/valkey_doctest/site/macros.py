"""What pages may call, and the line under each title that says how the page was verified.

MkDocs-macros loads this module (``modules:`` in ``mkdocs.yml``). A picture is an SVG file in
``docs/assets/pictures/``, drawn by hand and put into the page inline. That is the one way to get a picture
that is legible in the light and the dark palette, needs no script and is a vector in the PDF: its colours are
attributes (``fill="#…"``), which are what the PDF and a file viewer show, and classes (``class="ink"``),
by which the site's stylesheet gives them the colours of the palette.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterable
from html import escape
from pathlib import Path
from typing import Any

from valkey_doctest import fences, record
from valkey_doctest.site import gate
from valkey_doctest.site import mutants as mutants_of

PICTURES = Path("docs/assets/pictures")

_H1 = re.compile(r"^# .*$|^<h1\b.*</h1>$", re.MULTILINE)
_FENCE = re.compile(r"^(?P<mark>```+|~~~+).*?^(?P=mark)[ ]*$", re.MULTILINE | re.DOTALL)


class PictureError(Exception):
    """A picture that cannot be shown, or not to everyone."""


def define_env(env: Any) -> None:
    """Offer ``picture()`` and ``mutants()`` to pages, and watch what they show in ``mkdocs serve``."""
    root = Path(env.project_dir)
    for path in (root / record.DEFAULT_PATH, root / mutants_of.PATH):
        if path.exists():
            env.conf["watch"].append(str(path))
    gate.verified(root)

    @env.macro  # type: ignore[untyped-decorator]
    def picture(name: str) -> str:
        """The picture ``docs/assets/pictures/<name>.svg``, inline."""
        return inline_picture(root / PICTURES / f"{name}.svg")

    @env.macro  # type: ignore[untyped-decorator]
    def mutants() -> str:
        """How many wrong things were planted in the pages, and noticed."""
        return mutants_of.table(root, Path(env.conf["docs_dir"]))


def inline_picture(path: Path) -> str:
    """An SVG file as a figure, its title and description readable by a screen reader.

    Raises:
        PictureError: there is no such file, or it lacks a title, a description or a viewBox.
    """
    try:
        svg = path.read_text("utf-8")
    except FileNotFoundError:
        known = ", ".join(sorted(other.stem for other in path.parent.glob("*.svg")))
        raise PictureError(f"no picture {path.stem!r}; there are: {known}") from None
    svg = re.sub(r"<\?xml.*?\?>|<!--.*?-->", "", svg, flags=re.DOTALL).strip()
    for needed in ("<title>", "<desc>", "viewBox="):
        if needed not in svg:
            raise PictureError(f"{path.name} has no {needed.strip('<>=')}")
    ids = f"picture-{path.stem}"
    svg = svg.replace("<title>", f'<title id="{ids}-title">', 1).replace("<desc>", f'<desc id="{ids}-desc">', 1)
    svg = svg.replace("<svg", f'<svg role="img" aria-labelledby="{ids}-title" aria-describedby="{ids}-desc"', 1)
    svg = re.sub(r"\s*\n\s*", " ", svg)  # one line: a blank line would end Markdown's HTML block
    return f'<figure class="picture" data-picture="{escape(path.stem)}">{svg}</figure>'


def on_pre_page_macros(env: Any) -> None:
    """Tell the gate which page comes, and put the verified line under the page's title."""
    root = Path(env.project_dir)
    path = Path(env.page.file.abs_src_path)
    try:
        page = fences.read_page(path, root=root)
    except fences.FenceError as error:
        gate.log.error("%s", error)
        gate.begin(None)
        return
    gate.begin(gate.Source(root, page.path, page.fences, fences.beginning(page.meta)))
    lines = []
    if "since" in page.meta:
        lines.append(f'<p class="page-since">For Valkey {escape(str(page.meta["since"]))} and later</p>')
    if page.fences:
        entries = gate.verified(root)
        lines.append(verified_line([entries.get(fence.digest) for fence in page.fences]))
    if lines:
        env.markdown = _under_title(env.markdown, "\n".join(lines))


def _under_title(markdown: str, html: str) -> str:
    """Insert a block after the first heading that is not in a fence, or at the top."""
    inside = [found.span() for found in _FENCE.finditer(markdown)]
    for found in _H1.finditer(markdown):
        if not any(start <= found.start() < end for start, end in inside):
            return f"{markdown[: found.end()]}\n\n{html}\n{markdown[found.end() :]}"
    return f"{html}\n\n{markdown}"


def verified_line(entries: Iterable[record.Entry | None]) -> str:
    """What the record knows of a page's fences, as the line under its title."""
    state, sentence = verified_sentence(entries, "on this page")
    return f'<p class="page-verified page-verified--{state}">{escape(sentence)}</p>'


def verified_sentence(entries: Iterable[record.Entry | None], where: str) -> tuple[str, str]:
    """What the record knows of some fences (``None``: nothing): the worst of it in a word, and all of it in prose."""
    known = list(entries)
    passed = [entry for entry in known if entry and entry.status == "verified"]
    skipped = [entry for entry in known if entry and entry.status == "marked"]
    unverified = len(known) - len(passed) - len(skipped)
    exchanges = sum(entry.exchanges for entry in passed)

    sentences = []
    if passed:
        subject = f"Every example {where} was run"
        if len(passed) < len(known):
            subject = f"{len(passed)} of {len(known)} examples {where} were run"
        counted = _plural(len(passed), "fence") + (f", {_plural(exchanges, 'exchange')}" if exchanges else "")
        sentences.append(f"{subject}: {counted}{_servers(passed)}.")
    if skipped:
        reasons = "; ".join(dict.fromkeys(run.reason or "no reason given" for entry in skipped for run in entry.runs))
        sentences.append(f"{len(skipped)} {'was' if len(skipped) == 1 else 'were'} not run in this build: {reasons}.")
    if unverified:
        sentences.append(f"{unverified} not verified.")
    return "unverified" if unverified else "skipped" if skipped else "verified", " ".join(sentences)


def _servers(entries: Iterable[record.Entry]) -> str:
    """Such as ``, on Valkey 8.1.8 and 9.1.2 (embedded); 9.1.2 (container)``."""
    pairs = {(run.provider, run.version) for entry in entries for run in entry.runs if run.verdict == "passed"}
    ordered = sorted(pairs, key=lambda pair: (pair[0] != "embedded", pair[0], version_key(pair[1])))
    groups = [
        f"{_listed([version for _, version in group])} ({provider})"
        for provider, group in itertools.groupby(ordered, key=lambda pair: pair[0])
    ]
    return f", on Valkey {'; '.join(groups)}" if groups else ""


def _listed(words: list[str]) -> str:
    return " and ".join([*([", ".join(words[:-1])] if words[1:] else []), words[-1]])


def version_key(version: str) -> tuple[int, ...]:
    """Order versions as numbers: 8.1.10 after 8.1.9."""
    return tuple(int(part) for part in re.findall(r"\d+", version))


def _plural(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
