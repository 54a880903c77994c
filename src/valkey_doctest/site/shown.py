"""What a reader sees of a fence, and what the copy button takes of it: text in, text out."""

from __future__ import annotations

import re
from collections.abc import Mapping

from valkey_doctest.site.lexer import PROMPT

_MARKERS = re.compile(r"(?:[ \t]*<!--(?:(?!-->).)*-->)+[ \t]*$")
_PYTHON_PROMPT = re.compile(r"(?:>>>|\.\.\.)(?: |$)")


def without_markers(text: str, language: str, attributes: Mapping[str, str]) -> str:
    """The text without the typed markers at the ends of lines, in fences that can have them.

    A line that is a marker and nothing else goes altogether.
    """
    replies = language in {"valkey-cli", "console", "pycon"}
    if not replies and (language, attributes.get("title")) != ("text", "Output"):
        return text
    shown = ((line, _MARKERS.sub("", line)) for line in text.split("\n"))
    return "\n".join(after for before, after in shown if after or not before.strip())


def commands(text: str, language: str) -> str | None:
    """What one would type to repeat the fence; ``None`` where all of it is to be copied."""
    if language == "valkey-cli":
        return _typed_in_valkey_cli(text)
    if language == "console":
        return _typed_in_shell(text)
    if language == "pycon":
        lines = text.split("\n")
        return "\n".join(line[found.end() :] for line in lines if (found := _PYTHON_PROMPT.match(line)))
    return None


def _typed_in_valkey_cli(text: str) -> str:
    typed = (line[found.end() :] for line in text.split("\n") if (found := PROMPT.match(line)))
    return "\n".join(line for line in typed if line.strip())


def _typed_in_shell(text: str) -> str:
    """Commands after ``$ ``, with their continuations: after ``> ``, or after a backslash."""
    typed: list[str] = []
    continued = False
    for line in text.split("\n"):
        if line.startswith("$ "):
            typed.append(line[2:])
            continued = True
        elif continued and line.startswith("> "):
            typed.append(line[2:])
        elif continued and typed[-1].endswith("\\"):
            typed.append(line)
        else:
            continued = False
    return "\n".join(typed)
