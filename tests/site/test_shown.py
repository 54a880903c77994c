"""What readers see of a fence, and what the copy button takes."""

from __future__ import annotations

import pytest

from valkey_doctest.site.shown import commands, without_markers


@pytest.mark.parametrize(
    ("language", "text", "copied"),
    [
        ("valkey-cli", "127.0.0.1:6379> SET k v\nOK\n127.0.0.1:6379[2]> GET k\n(nil)", "SET k v\nGET k"),
        ("valkey-cli", "1) message\n2) news", ""),
        (
            "console",
            "$ docker run \\\n    image\n> --tail\nout\n> not typed\n$ ls",
            "docker run \\\n    image\n--tail\nls",
        ),
        ("pycon", ">>> for x in y:\n...     f(x)\n...\n1", "for x in y:\n    f(x)\n"),
        ("python", ">>> is not a prompt here", None),
        ("text", "127.0.0.1:6379> nor here", None),
    ],
)
def test_copying(language: str, text: str, copied: str | None) -> None:
    assert commands(text, language) == copied


@pytest.mark.parametrize(
    ("language", "title", "text", "shown"),
    [
        ("valkey-cli", None, '"1-0"  <!-- stream-id -->\n(integer) 5  <!-- 1..9 -->', '"1-0"\n(integer) 5'),
        ("valkey-cli", None, '"<!-- kept -->"', '"<!-- kept -->"'),
        ("valkey-cli", None, "a\n<!-- any order -->\n\nb", "a\n\nb"),
        ("text", "Output", "a <!-- hex 40 --> <!-- any order -->", "a"),
        ("console", None, "x  <!-- 1..2 -->", "x"),
        ("text", None, "a <!-- kept -->", "a <!-- kept -->"),
        ("html", None, "<p> <!-- kept -->", "<p> <!-- kept -->"),
    ],
)
def test_markers(language: str, title: str | None, text: str, shown: str) -> None:
    assert without_markers(text, language, {"title": title} if title else {}) == shown
