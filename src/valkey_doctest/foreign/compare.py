"""Whether a foreign page says the same as the server.

Other pages shorten replies with ``...``, put comments behind them and leave blank lines between them. What is
shortened may stand for anything; nothing else may differ. Our own pages know none of this.
"""

from __future__ import annotations

import re
import time
from collections.abc import Sequence

from valkey_doctest import matching

MOST_LINES = 200
LONGEST_LINE = 1000
"""So much of a reply is shown."""

DAY = 24 * 60 * 60
"""A number this close to now, in seconds, milli- or microseconds, is the time."""

_LEFT_OUT = re.compile(r"\s*(?:\d+[)~#] *)*[\[({<\"]*(?:\.{3,}|…)(?:[\])}>\"]*$|\s)")
_DOTS = re.compile(r"\.{3,}|…")
_ELAPSED = re.compile(r"\(\d+(?:\.\d+)? ?s\)$")
_COMMENT_LINE = re.compile(r"\s*(?:#|//|--|<-|←)")
_COMMENT_END = re.compile(r"\s+(?:#|//|--|<-+|←)\s.*$")
_INDEX = re.compile(r"\s*(?:\d+[)~#] *)+")
_TOKEN = re.compile(r"\w+|\W")


def shown(lines: Sequence[str]) -> list[str]:
    """A reply's lines without blank ones, blanks at their ends, and the time that valkey-cli adds to slow replies."""
    kept = [line.rstrip() for line in lines if line.strip()]
    return kept[:-1] if kept and _ELAPSED.match(kept[-1].strip()) else kept


def says_nothing(documented: Sequence[str]) -> bool:
    """Whether a page shows no reply, or has left out all of it."""
    return all(_LEFT_OUT.match(line) for line in shown(documented))


def agrees(documented: Sequence[str], actual: Sequence[str]) -> bool:
    """Whether the reply is what the page shows, as far as it shows it.

    ```python
    from valkey_doctest.foreign.compare import agrees

    assert agrees(['1) "a"', "...", '9) "i"'], [f'{n}) "{c}"' for n, c in enumerate("abcdefghi", 1)])
    assert agrees(['"2d9c75..."'], ['"2d9c75273d72"'])
    assert not agrees(['"2d9c75"'], ['"2d9c75273d72"'])
    ```
    """
    expected, real = shown(documented), shown(actual)
    if _fits(expected, real):
        return True
    while expected and _COMMENT_LINE.match(expected[-1]):  # a remark about what comes next
        expected = expected[:-1]
        if expected and _fits(expected, real):
            return True
    bare = [line if line in real else _COMMENT_END.sub("", line) for line in expected]
    return bool(bare) and _fits(bare, real)


def _fits(expected: Sequence[str], real: Sequence[str]) -> bool:
    """Compare line by line, as long as some way to fill what was left out is open."""
    open_at = {0}  # how many real lines may have been used up
    for line in expected:
        if _LEFT_OUT.match(line):
            first = min(open_at)
            open_at = set(range(first, len(real) + 1))
            continue
        pattern = re.compile(".*?".join(re.escape(part) for part in _DOTS.split(line)))
        open_at = {at + 1 for at in open_at if at < len(real) and pattern.fullmatch(real[at])}
        if not open_at:
            return False
    return len(real) in open_at


def difference(documented: Sequence[str], actual: Sequence[str]) -> str:
    """The two, as a diff; of a very long reply, the beginning, as comparing long texts word by word takes for ever."""
    return matching.diff(clipped(shown(documented)), clipped(shown(actual)))


def clipped(lines: Sequence[str]) -> list[str]:
    """The beginning of a reply, for people."""
    short = [line if len(line) <= LONGEST_LINE else f"{line[:LONGEST_LINE]}…" for line in lines[:MOST_LINES]]
    return short if len(lines) <= MOST_LINES else [*short, f"… and {len(lines) - MOST_LINES} more lines"]


def varies(documented: Sequence[str], replies: Sequence[Sequence[str]]) -> bool:
    """Whether what the page shows could be one more of several replies to the same command.

    What is the same in all of them has to be on the page, too.
    """
    expected = shown(documented)
    real = [shown(reply) for reply in replies]
    first = real[0]
    if not (_differ(real) or any(_clock(line) for line in first)):
        return False
    if any(len(reply) != len(first) for reply in real) or sum(map(len, first)) > MOST_LINES * LONGEST_LINE:
        return True
    if _DOTS.search("\n".join(expected)):
        # What is left out cannot be aligned: only the lines that are there are looked at.
        patterns = [_pattern([reply[index] for reply in real]) for index in range(len(first))]
        return all(_LEFT_OUT.match(line) or any(_like(line, each) for each in patterns) for line in expected)
    if len(expected) != len(first):
        return False
    if all(same_elements(expected, reply) for reply in real):
        return True
    return all(_like(line, _pattern([reply[index] for reply in real])) for index, line in enumerate(expected))


def same_elements(one: Sequence[str], other: Sequence[str]) -> bool:
    """Whether two replies have the same elements, in whatever order."""
    return sorted(map(_element, one)) == sorted(map(_element, other))


def _differ(replies: Sequence[Sequence[str]]) -> bool:
    return any(reply != replies[0] for reply in replies[1:])


def _element(line: str) -> str:
    return _INDEX.sub("", line)


def _clock(line: str) -> bool:
    """Whether a line holds the time: it is the same in replies that come within one second."""
    now = time.time()
    return any(
        abs(float(number) / unit - now) < DAY
        for number in re.findall(r"(?<![\w.])\d{10,16}(?![\w])", line)
        for unit in (1, 1_000, 1_000_000)
    )


def _like(line: str, parts: Sequence[str]) -> bool:
    """Whether a documented line has these parts; if it is shortened, as many of them as it shows."""
    dots = _DOTS.search(line)
    if not dots:
        return bool(re.fullmatch("".join(parts), line))
    kept = _TOKEN.findall(line[: dots.start()])
    whole = kept[:-1] if kept and kept[-1].isalnum() else kept  # the last word may be cut off
    return len(whole) <= len(parts) and bool(re.fullmatch("".join(parts[: len(whole)]), "".join(whole)))


def _pattern(lines: Sequence[str]) -> list[str]:
    """What lines have in common, as regular expressions a word; in a line that varies, every number may."""
    first = lines[0]
    if all(line == first for line in lines) and not _clock(first):
        return [re.escape(token) for token in _TOKEN.findall(first)]
    index = _INDEX.match(first)
    start = [re.escape(token) for token in _TOKEN.findall(index[0])] if index else []
    tokens = [_TOKEN.findall(line)[len(start) :] for line in lines]
    if any(len(each) != len(tokens[0]) for each in tokens):
        return [*start, ".+"]
    return start + [
        re.escape(column[0]) if len(set(column)) == 1 and not column[0][0].isdigit() else r"[\w.-]+"
        for column in zip(*tokens, strict=True)
    ]
