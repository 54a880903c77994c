"""A small project of our own, with pages that use every feature: these tests need no server."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import yaml

from valkey_doctest import fences, record

PROJECT = Path(__file__).parents[2]
SAMPLE = Path(__file__).parent / "sample"
PAGES = ("docs/modules/01-introduction/index.md", "docs/modules/01-introduction/characteristics.md")


class Project:
    """A copy of the sample pages with the project's own configuration, assets and templates."""

    def __init__(self, root: Path) -> None:
        self.root = root
        shutil.copytree(SAMPLE, root, dirs_exist_ok=True)
        shutil.copytree(PROJECT / "docs/assets", root / "docs/assets")
        shutil.copytree(PROJECT / "overrides", root / "overrides")
        shutil.copy(PROJECT / "facts.yml", root)
        text = (PROJECT / "mkdocs.yml").read_text("utf-8")
        before, rest = text.split("\nnav:\n", 1)
        after = rest.split("\n\n", 1)[1]
        nav = [
            {"Home": "index.md"},
            {"Part I · Foundations": [{"1 Introduction to Valkey": [page.removeprefix("docs/") for page in PAGES]}]},
        ]
        text = f"{before}\n{yaml.safe_dump({'nav': nav}, allow_unicode=True)}\n{after}"
        (root / "mkdocs.yml").write_text(text, "utf-8")

    def verify(self) -> None:
        """Write the record as if every fence had been run as it now stands."""
        known = record.Record()
        for path in PAGES:
            page = fences.read_page(self.root / path, root=self.root)
            for fence in page.fences:
                known.entries[fence.page, fence.digest] = entry_for(fence)
        record.save(known, self.root / record.DEFAULT_PATH)

    def build(self, *, quiet: bool = True) -> subprocess.CompletedProcess[str]:
        """Build, strictly; quietly, because ``--quiet`` hides MkDocs' own warnings from strict mode.

        What the gate has to say must get through all the same.
        """
        return subprocess.run(
            [sys.executable, "-m", "mkdocs", "build", *(["--quiet"] if quiet else [])],
            cwd=self.root,
            env={**os.environ, "NO_MKDOCS_2_WARNING": "1"},
            capture_output=True,
            text=True,
            check=False,
        )

    def html(self, page: str) -> str:
        """A built page."""
        return (self.root / "site" / page).read_text("utf-8")


def entry_for(fence: fences.Fence) -> record.Entry:
    """A record's entry for a fence: skipped if it says so, else passed on two versions."""
    reason = fence.attributes.get("skip")
    runs = tuple(
        record.Run(version, "embedded", "standalone", "skipped" if reason else "passed", reason)
        for version in ("8.1.8", "9.1.2")
    )
    exchanges = fence.text.count("127.0.0.1:6379") if fence.language == "valkey-cli" else 0
    return record.Entry(fence.digest, fence.page, fence.line, fence.language, exchanges, (), runs)
