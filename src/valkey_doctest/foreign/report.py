r"""What a run found out, added up so that nothing is missing: for people in the summary, for machines as JSON.

The JSON, of schema 1::

    {"schema": 1, "runs": [{
      "version": "9.1.2", "provider": "embedded",
      "totals": {"pages": 3, "blocks": 12, "transcripts": 7, "exchanges": 40, "verified": 30,
                 "differs": 2, "known": 1, "skipped": 8, "not run": 0},
      "blocks": {"transcript": 7, "language python": 5},
      "skipped": {"blocks": 3, "no reply shown": 5},
      "differs": {"the reply differs": 2},
      "pages": [{
        "page": "topics/lists.md", "seconds": 0.31, "error": null,
        "blocks": [{
          "line": 12, "form": "fence", "language": "valkey-cli", "kind": "transcript",
          "exchanges": [{
            "line": 13, "key": "3fa91c02d7e4", "command": "GET a", "verdict": "differs", "kind": "the reply differs",
            "documented": ["\"1\""], "actual": ["\"2\""], "known": null}]}]}]}]}

``blocks`` adds up to ``totals.blocks``. ``verified``, ``differs``, ``skipped`` and ``not run`` add up to
``totals.exchanges``; ``known`` says how many of those that differ are listed. ``form`` is ``fence``,
``indented``, ``shortcode`` or ``HTML``. An exchange is ``not run`` if pytest was told not to (``-k``, ``-x``).
Very long replies are cut. ``error`` says why a page could not be read or replayed.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from valkey_doctest import whole
from valkey_doctest.foreign.known import Known
from valkey_doctest.foreign.read import TRANSCRIPT, Page

SCHEMA = 1
NOT_RUN = "not run"
WORST = 10
"""How many pages the summary names."""


@dataclass
class Run:
    """All pages on one server version."""

    version: str
    provider: str
    pages: Sequence[Page]
    verdicts: Mapping[tuple[str, int], Sequence[Mapping[str, Any]]]
    """By page and line of the block: what became of each exchange, as :func:`exchange` says."""
    known: Mapping[tuple[str, str], Known] = field(default_factory=dict)
    seconds: Mapping[str, float] = field(default_factory=dict)
    errors: Mapping[str, str] = field(default_factory=dict)

    def exchanges(self) -> Iterator[tuple[str, Mapping[str, Any]]]:
        """Every exchange, with its page."""
        for page in self.pages:
            for block in page.blocks:
                for each in self._block(page, block.line, len(block.exchanges)):
                    yield page.name, each

    def _block(self, page: Page, line: int, count: int) -> Sequence[Mapping[str, Any]]:
        found = self.verdicts.get((page.name, line))
        return found if found is not None else [{"verdict": NOT_RUN, "kind": ""}] * count

    def listed(self, page: str, exchange: Mapping[str, Any]) -> Known | None:
        """The line of the list that an exchange is on."""
        return self.known.get((page, exchange.get("key", "")))

    def totals(self) -> dict[str, int]:
        """The numbers that add up."""
        verdicts = Counter(each["verdict"] for _, each in self.exchanges())
        blocks = [block for page in self.pages for block in page.blocks]
        return {
            "pages": len(self.pages),
            "blocks": len(blocks),
            "transcripts": sum(block.kind == TRANSCRIPT for block in blocks),
            "exchanges": sum(verdicts.values()),
            "verified": verdicts["verified"],
            "differs": verdicts["differs"],
            "known": sum(each["verdict"] == "differs" and bool(self.listed(p, each)) for p, each in self.exchanges()),
            "skipped": verdicts["skipped"],
            NOT_RUN: verdicts[NOT_RUN],
        }

    def kinds(self, verdict: str) -> dict[str, int]:
        """How often a verdict has which kind, most frequent first."""
        return dict(Counter(each["kind"] for _, each in self.exchanges() if each["verdict"] == verdict).most_common())

    def blocks(self) -> dict[str, int]:
        """How many blocks of each kind there are, most frequent first."""
        return dict(Counter(block.kind for page in self.pages for block in page.blocks).most_common())

    def as_json(self) -> dict[str, Any]:
        """See the module."""
        return {
            "version": self.version,
            "provider": self.provider,
            "totals": self.totals(),
            "blocks": self.blocks(),
            "skipped": self.kinds("skipped"),
            "differs": self.kinds("differs"),
            "pages": [self._page(page) for page in self.pages],
        }

    def _page(self, page: Page) -> dict[str, Any]:
        blocks = [
            {
                "line": block.line,
                "form": block.form,
                "language": block.language,
                "kind": block.kind,
                "exchanges": [
                    {
                        "line": exchange.line,
                        "command": exchange.command,
                        "documented": list(exchange.reply),
                        "key": None,
                        "actual": [],
                        **verdict,
                        "known": known.reason if (known := self.listed(page.name, verdict)) else None,
                    }
                    for exchange, verdict in zip(
                        block.exchanges, self._block(page, block.line, len(block.exchanges)), strict=True
                    )
                ],
            }
            for block in page.blocks
        ]
        return {
            "page": page.name,
            "seconds": round(self.seconds.get(page.name, 0), 3),
            "error": self.errors.get(page.name),
            "blocks": blocks,
        }

    def summary(self) -> Iterator[str]:
        """A run in a few lines, however many pages it has."""
        totals = self.totals()
        others = [f"{count} {kind}" for kind, count in self.blocks().items() if kind != TRANSCRIPT]
        yield (
            f"Valkey {self.version} ({self.provider}): {totals['pages']} pages, {totals['blocks']} blocks of code: "
            f"{totals['transcripts']} transcripts{''.join(f', {other}' for other in others)}"
        )
        yield f"  {totals['exchanges']:5} exchanges"
        yield f"  {totals['verified']:5} verified"
        known = f", {totals['known']} of them known" if totals["known"] else ""
        yield f"  {totals['differs']:5} differ{known}{_kinds(self.kinds('differs'))}"
        yield f"  {totals['skipped']:5} skipped{_kinds(self.kinds('skipped'))}"
        if totals[NOT_RUN]:
            yield f"  {totals[NOT_RUN]:5} not run"
        for page, error in self.errors.items():
            yield f"  {page}: {error}"
        yield from self._worst()

    def _worst(self) -> Iterator[str]:
        """The pages with the most differences that are not known; if there are few pages, all of them."""
        differ = Counter(
            page for page, each in self.exchanges() if each["verdict"] == "differs" and not self.listed(page, each)
        )
        counted: dict[str, Counter[str]] = {page.name: Counter() for page in self.pages}
        for page, each in self.exchanges():
            counted[page][each["verdict"]] += 1
        pages = list(counted) if len(counted) <= WORST else [page for page, _ in differ.most_common(WORST)]
        if pages:
            yield "  verified   differ  skipped  page"
        for page in pages:
            count = counted[page]
            yield f"  {count['verified']:8} {count['differs']:8} {count['skipped']:8}  {page}"
        if len(counted) > WORST and len(differ) > WORST:
            yield f"  and {len(differ) - WORST} more pages with differences"


def _kinds(kinds: Mapping[str, int]) -> str:
    return ": " + ", ".join(f"{count} {kind}" for kind, count in kinds.items()) if kinds else ""


def save(runs: Sequence[Run], path: Path) -> None:
    """Write the report, whole or not at all.

    Raises:
        OSError: it cannot be written.
    """
    text = json.dumps({"schema": SCHEMA, "runs": [run.as_json() for run in runs]}, indent=1, ensure_ascii=False) + "\n"
    whole.write(path, text.encode("utf-8", errors="replace"))
