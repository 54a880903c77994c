"""Typst source, safely quoted."""

from __future__ import annotations


def string(text: str) -> str:
    """A string literal."""
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n") + '"'


def call(function: str, *arguments: str) -> str:
    """A call with strings."""
    return f"#{function}({', '.join(string(argument) for argument in arguments)})"
