"""Drifts of a page: each a copy of it with one thing wrong, as pages go wrong when servers or authors change."""

from __future__ import annotations

import random
import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

from valkey_doctest.fences import Fence, FenceError, Page
from valkey_doctest.markers import Line
from valkey_doctest.page import Plan
from valkey_doctest.shell import ConsoleStep
from valkey_doctest.steps import OutputStep, PyconStep, Step, TranscriptStep, expected_of, read_lines
from valkey_doctest.transcript import Exchange, parse

KINDS = (
    "digit changed",
    "character changed",
    "line dropped",
    "line added",
    "lines swapped",
    "type changed",
    "error text changed",
    "reply emptied",
    "prompt changed",
    "command changed",
    "language misspelt",
    "marker loosened",
)

TYPED = "inside a value that a marker types, and still of that type"
UNORDERED = "elements of a reply in any order, in another order"
ELAPSED = "in the time that valkey-cli adds to slow replies, which is not compared"
SAME = "the value, or the order, happened to be the same in this run"
WIDER = "a wider range allows all that the narrower one did; how wide it may be is its author's judgement"

_ELAPSED = re.compile(r"\(\d+\.\d\ds\)$")
_INDEX = re.compile(r"(?:\s*\d+[)~#] )*")
_ELEMENT = re.compile(r"\s*\d+[)~#] ")
_ABSENT = re.compile(r"\(nil\)|\(integer\) (?:0|-2)$|\(empty |\(error\) |none$|1\) \(nil\)")
_RANGE = re.compile(r"(-?\d+(?:\.\d+)?)\.\.(-?\d+(?:\.\d+)?)")

# Commands whose first argument is a key, and which say something else of a key that is not there.
_READERS = frozenset(
    {
        "BITCOUNT",
        "EXISTS",
        "GEODIST",
        "GEOPOS",
        "GET",
        "GETBIT",
        "GETRANGE",
        "HGET",
        "HGETALL",
        "HKEYS",
        "HLEN",
        "HMGET",
        "HVALS",
        "LINDEX",
        "LLEN",
        "LRANGE",
        "MGET",
        "PFCOUNT",
        "PTTL",
        "SCARD",
        "SISMEMBER",
        "SMEMBERS",
        "STRLEN",
        "TTL",
        "TYPE",
        "XLEN",
        "XRANGE",
        "ZCARD",
        "ZRANGE",
        "ZRANK",
        "ZREVRANGE",
        "ZSCORE",
    }
)
# Those of them that give one number for several keys.
_TOTALS = frozenset({"EXISTS", "PFCOUNT"})
# Commands that make the key that is their first argument.
_WRITERS = frozenset(
    {
        "APPEND",
        "GEOADD",
        "HSET",
        "INCR",
        "INCRBY",
        "LPUSH",
        "MSET",
        "PFADD",
        "RPUSH",
        "SADD",
        "SET",
        "SETBIT",
        "XADD",
        "ZADD",
    }
)


@dataclass(frozen=True)
class Mutant:
    """A page with one thing wrong."""

    kind: str
    place: int
    """Which of the page's fences it is in, from 0."""
    line: int
    was: str
    now: str
    text: str
    """The page."""
    equivalent: str | None = None
    """Why it says the same as the page, if nothing catches it."""


def replies(step: Step) -> list[tuple[Line, ...]]:
    """What a step compares, one reply or output after the other."""
    if isinstance(step, TranscriptStep):
        return [expected_of(part) for part in parse(step.fence)]
    if isinstance(step, OutputStep):
        return [read_lines(step.fence, 0, step.fence.text.split("\n"))]
    if isinstance(step, ConsoleStep):
        return [command.output for command in step.shell_commands]
    if isinstance(step, PyconStep):
        return [tuple(lines) for _, lines in step._examples]  # noqa: SLF001
    return []


class Planter:
    """Plants mutants in a page, the same ones each time."""

    def __init__(self, plan: Plan) -> None:
        self.page: Page = plan.page
        self.steps = plan.steps
        self._lines = self.page.text.split("\n")

    def _mutant(  # noqa: PLR0913  a place and a change
        self, kind: str, place: int, first: int, new: list[str], *, old: int = 1, equivalent: str | None = None
    ) -> Mutant:
        """The page with ``old`` lines from line ``first`` (from 1) replaced."""
        was = self._lines[first - 1 : first - 1 + old]
        text = "\n".join([*self._lines[: first - 1], *new, *self._lines[first - 1 + old :]])
        changes = [pair for pair in zip(was, new, strict=False) if pair[0] != pair[1]] if old == len(new) else []
        before, after = changes[0] if changes else ("\n".join(was), "\n".join(new))
        return Mutant(kind, place, first, before.strip(), after.strip(), text, equivalent)

    def _shown(self, line: Line, text: str) -> str:
        """The page's line that shows ``text`` in place of what it shows, its marker kept."""
        before, found, after = self._lines[line.number - 1].partition(line.text)
        assert found == line.text
        return before + text + after

    def language(self, place: int) -> Iterator[Mutant]:
        """A fence's language, one letter short and one letter wrong."""
        fence = self.steps[place].fence
        raw = self._lines[fence.line - 1]
        for wrong in (fence.language[:-1], fence.language[0] + fence.language[2:], fence.language.capitalize()):
            yield self._mutant("language misspelt", place, fence.line, [raw.replace(fence.language, wrong, 1)])

    def output(self, place: int) -> Iterator[Mutant]:
        """Drifts of what a fence shows as replies and outputs, and of the markers on it."""
        for reply in replies(self.steps[place]):
            if reply:
                yield from self._reply(place, reply)
            for line in reply:
                yield from self._line(place, reply, line)
                yield from self._marker(place, line)

    def _reply(self, place: int, reply: tuple[Line, ...]) -> Iterator[Mutant]:
        first, last = reply[0].number, reply[-1].number
        raw = self._lines[first - 1 : last]
        yield self._mutant("reply emptied", place, first, [], old=len(reply), equivalent=_elapsed(reply))
        yield self._mutant("line added", place, last, [raw[-1], _bare(raw[-1], reply[-1])])
        for line in reply if len(reply) > 1 else ():
            yield self._mutant("line dropped", place, line.number, [], equivalent=_elapsed([line]))
        for index, (one, other) in enumerate(pairwise(reply)):
            (a, b), (c, d) = _parts(one), _parts(other)
            if b != d:
                why = UNORDERED if _in_any_order(reply[: index + 2]) else None
                new = [self._shown(one, a + d), self._shown(other, c + b)]
                yield self._mutant("lines swapped", place, one.number, new, old=2, equivalent=why)

    def _line(self, place: int, reply: tuple[Line, ...], line: Line) -> Iterator[Mutant]:
        text = line.text
        elapsed = _elapsed([line]) if line is reply[-1] else None

        def new(kind: str, changed: str, at: int | None = None) -> Mutant:
            typed = TYPED if at is not None and any(v.start() <= at < v.end() for v in line.values()) else None
            return self._mutant(kind, place, line.number, [self._shown(line, changed)], equivalent=elapsed or typed)

        for digit in re.finditer(r"\d", text):
            other = str((int(digit[0]) + 1) % 10)
            yield new("digit changed", text[: digit.start()] + other + text[digit.end() :], digit.start())
        others = [index for index, char in enumerate(text) if not (char.isdigit() or char.isspace())]
        if others:
            at = random.Random(f"{line.number} {text}").choice(others)  # noqa: S311  no secret
            yield new("character changed", text[:at] + ("y" if text[at] == "x" else "x") + text[at + 1 :], at)
        index, value = _parts(line)
        if found := re.fullmatch(r'"(.*)"|\(integer\) (-?\d+)', value):
            plain = found[1] if found[1] is not None else found[2]
            yield new("type changed", index + (plain or "(nil)"))
        if re.fullmatch(r"\(integer\) -?\d+|OK|\(nil\)|\(empty \w+\)", value):
            yield new("type changed", f'{index}"{value.removeprefix("(integer) ")}"')
        if value.startswith("(error) "):
            words = value.split(" ")
            for changed in ([words[0], "WRONG", *words[2:]], words[:-1], [*words, "now"], words[1:]):
                yield new("error text changed", index + " ".join(changed))

    def _marker(self, place: int, line: Line) -> Iterator[Mutant]:
        if not (line.markers or line.any_order):
            return
        raw = self._lines[line.number - 1]
        begin = raw.rindex("<!--")
        shown, comment = raw[:begin], raw[begin:]

        def new(changed: str, why: str | None = None) -> Mutant:
            return self._mutant("marker loosened", place, line.number, [shown + changed], equivalent=why)

        yield new("", SAME)
        yield new("<!-- any -->")
        yield new("<!-- hex 39 -->")
        for found in _RANGE.finditer(comment):
            low, high = float(found[1]), float(found[2])
            wider = f"{low - 1 - abs(low):g}..{2 * abs(high) + 1:.0f}"
            yield new(comment[: found.start()] + wider + comment[found.end() :], WIDER)
            yield new(comment[: found.start()] + "stream-id" + comment[found.end() :])

    def prompts(self, place: int) -> Iterator[Mutant]:
        """Drifts of the prompts of a fence."""
        fence = self.steps[place].fence
        for index, text in enumerate(fence.text.split("\n")):
            number = fence.body_line(index)
            raw = self._lines[number - 1]
            for old, new in _prompt_changes(fence, text, self.page.text):
                changed = raw.replace(old, new, 1)
                yield self._mutant("prompt changed", place, number, [changed])

    def commands(self, place: int) -> list[Mutant]:
        """Drifts of a transcript's commands where the page must show the difference."""
        fence = self.steps[place].fence
        if fence.language != "valkey-cli" or fence.included:
            return []
        exchanges = [part for part in parse(fence) if isinstance(part, Exchange)]
        later = [e for s in self.steps[place:] if isinstance(s, TranscriptStep) for e in _exchanges(s.fence)]
        mutants = []
        for exchange in exchanges:
            words = exchange.command.split()
            if len(words) < 2 or '"' in words[1] or "'" in words[1]:  # noqa: PLR2004  name and key
                continue
            name, key = words[0].upper(), words[1]
            reads = name in _READERS and _tells(exchange)
            if name in _WRITERS and len(exchange.reply) == 1 and not exchange.reply[0].text.startswith("(error)"):
                after = [e for e in later if e.line > exchange.line and key in e.command.split()]
                is_new = key not in "\n".join(self._lines[: exchange.line - 1])
                first = after[0] if after else None
                reads = bool(
                    is_new
                    and first
                    and (words_after := first.command.split())[0].upper() in _READERS
                    and words_after[1] == key
                    and _tells(first)
                )
            if reads:
                raw = self._lines[exchange.line - 1]
                at = raw.index(exchange.command) + exchange.command.index(key, len(name))
                new = raw[:at] + key + "-mutant" + raw[at + len(key) :]
                mutants.append(self._mutant("command changed", place, exchange.line, [new]))
        return mutants


def _exchanges(fence: Fence) -> list[Exchange]:
    try:
        return [part for part in parse(fence) if isinstance(part, Exchange)]
    except FenceError:
        return []


def _tells(exchange: Exchange) -> bool:
    """Whether the reply says that its key is there."""
    words = exchange.command.split()
    if words[0].upper() in _TOTALS and len(words) > 2:  # noqa: PLR2004  name and key
        return False
    return bool(exchange.reply) and not _ABSENT.match(exchange.reply[0].text) and exchange.reply[0].text != '""'


def _in_any_order(lines: tuple[Line, ...]) -> bool:
    """Whether an array may have any order that holds the last two of these lines; they are a reply's first ones."""
    for place, line in enumerate(lines[:-1]):
        if not line.any_order:
            continue
        outer = _ELEMENT.match(line.text) if place else None  # the array begins after this
        width = outer.end() if outer else 0
        if all(not later.text[:width].strip() for later in lines[place + 1 :]):
            return True
    return False


def _prompt_changes(fence: Fence, text: str, page: str) -> Iterator[tuple[str, str]]:
    if fence.language == "valkey-cli" and (found := re.match(r"127\.0\.0\.1:(\d+)(\[\d+\])?(\(TX\))?> ?", text)):
        old, port = found[0], found[1]
        yield old, old.replace(port, next(str(p) for p in range(int(port) + 1, 65536) if str(p) not in page), 1)
        yield old, old.replace(">", "[7]>" if not found[2] else ">", 1).replace(found[2] or "\0", "", 1)
        yield old, old.replace("(TX)", "") if found[3] else old.replace(">", "(TX)>", 1)
        yield old, old.replace(">", "", 1)
        yield old, old.replace("127.", "128.", 1)
    elif fence.language == "console" and text.startswith("$ "):
        yield "$ ", "# "
        yield "$ ", ""
    elif fence.language == "pycon" and text.startswith(">>> "):
        yield ">>> ", ">> "
        yield ">>> ", ""


def _parts(line: Line) -> tuple[str, str]:
    """The indices of an array's element, and what it shows."""
    found = _INDEX.match(line.text)
    assert found is not None  # it matches the empty string
    return found[0], line.text[found.end() :]


def _bare(raw: str, line: Line) -> str:
    """A page's line without its marker."""
    before, found, _ = raw.partition(line.text)
    return before + found


def _elapsed(lines: list[Line] | tuple[Line, ...]) -> str | None:
    return ELAPSED if all(_ELAPSED.match(line.text) for line in lines) else None
