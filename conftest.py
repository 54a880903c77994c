"""Wiring only: which pages are verified. What does it is the plugin ``valkey_doctest``."""

from __future__ import annotations

from valkey_doctest.plugin import pages

pytest_collect_file = pages("docs")
