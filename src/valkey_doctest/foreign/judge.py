"""What becomes of every exchange of a foreign page: replayed on a fresh server, compared, and given a verdict.

A difference does not end a page: what comes after it is compared as well. If a reply differs, the page is
replayed twice more on fresh servers, for a reply that is never the same cannot be expected of a page.
"""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

from valkey_doctest.foreign import compare, replay, words
from valkey_doctest.foreign.read import Exchange, Page
from valkey_doctest.foreign.replay import Outcome
from valkey_doctest.servers import Provider

Verdict = Literal["verified", "differs", "skipped"]

REPLY = "the reply differs"
PROMPT = "the prompt is mistyped"
STATE = "the prompt differs"

NO_REPLY = "no reply shown"
SEVERAL_LINES = "a command over several lines"
VARIES = "varies from run to run"
ORDER = "in another order, which is not promised"
WAITED = "depends on how long one waits"
NO_DATA = "needs data that the page does not show"
FOLLOWS = "uses what a skipped command would have made"

DEADLINE = 5.0
"""The longest that a command of a foreign page may take, in seconds; a blocking one says itself how long it waits."""

MORE_REPLAYS = 2

_NEEDS = {
    "needs a module": re.compile(r"\(error\) ERR unknown command '\w+\.[\w.-]+'"),
    "needs a cluster": re.compile(r"(?:\(error\) )?ERR This instance has cluster support disabled"),
    "needs a setting of the server": re.compile(
        r"\(error\) ERR (?:DEBUG|MODULE) command not allowed|\(error\) .*(?:not configured to|policy is not selected)"
    ),
}
"""What the server says if the page was written with another one."""

_UNMADE = frozenset(
    {words.PLACEHOLDER, words.UNTYPEABLE, words.BLOCKS, replay.OTHER, replay.SHELL, SEVERAL_LINES, *_NEEDS}
)
"""Skipped for these reasons, a command did not make what it makes on the page."""

_NOTHING = re.compile(
    r"\(nil\)$|\(empty (?:array|set|hash|list)\)$|none$|(?:\d+\) )*\(integer\) (?:0|-2)$"
    r"|\(error\) (?:ERR no such key|NOGROUP|NOSCRIPT|ERR Function not found)"
)
_NUMBER = re.compile(r"\d+")


@dataclass(frozen=True)
class Judged:
    """An exchange with its verdict."""

    exchange: Exchange
    key: str
    """Finds it again when the page has changed elsewhere: of its command and its reply, and ``-2`` for a second one."""
    verdict: Verdict
    kind: str = ""
    """Why it was skipped, or what differs."""
    actual: tuple[str, ...] = ()
    """The real reply, with documented names."""
    diff: str = ""


def judge(page: Page, provider: Provider, *, deadline: float = DEADLINE) -> list[Judged]:
    """The verdict on every exchange of a page, in order.

    Raises:
        ServerError: no server starts.
    """
    exchanges = [exchange for block in page.blocks for exchange in block.exchanges]
    replays = [replay.run(exchanges, provider, deadline, frozenset())]
    judged = _Bench(exchanges, replays).judge()
    if any(each.kind == REPLY or words.is_random(each.exchange.command) for each in judged):
        blocked = frozenset(index for index, outcome in enumerate(replays[0]) if outcome.kind == words.BLOCKS)
        replays += [replay.run(exchanges, provider, deadline, blocked) for _ in range(MORE_REPLAYS)]
        judged = _Bench(exchanges, replays).judge()
    return judged


def key(exchange: Exchange) -> str:
    """The identity of an exchange on its page, whatever its line."""
    text = "\0".join([exchange.command, *compare.shown(exchange.reply)])
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def _keys(exchanges: Sequence[Exchange]) -> list[str]:
    seen: Counter[str] = Counter()
    keys = []
    for exchange in exchanges:
        name = key(exchange)
        seen[name] += 1
        keys.append(name if seen[name] == 1 else f"{name}-{seen[name]}")
    return keys


@dataclass
class _Bench:
    """A page before the judge, with what its exchanges so far have shown."""

    exchanges: Sequence[Exchange]
    replays: Sequence[Sequence[Outcome]]
    _shown: bool = False
    """Whether an exchange was verified: then the page has shown where its data come from."""
    _unmade: set[str] = field(default_factory=set)
    """Arguments of skipped commands: keys that are not there because of that."""
    _random: set[str] = field(default_factory=set)
    """Keys from which a random element was taken."""

    def judge(self) -> list[Judged]:
        """The verdicts, in order."""
        judged = []
        for index, name in enumerate(_keys(self.exchanges)):
            each = self._verdict(self.exchanges[index], name, [outcomes[index] for outcomes in self.replays])
            self._shown |= each.verdict == "verified" or (each.kind == NO_REPLY and not _is_nothing(each.actual))
            if each.kind in _UNMADE:
                self._unmade |= _arguments(each.exchange)
            if words.takes_at_random(each.exchange.command):
                self._random |= _arguments(each.exchange)
            judged.append(each)
        return judged

    def _verdict(self, exchange: Exchange, name: str, outcomes: Sequence[Outcome]) -> Judged:
        first = outcomes[0]
        judged = Judged(exchange, name, "verified", actual=first.lines)
        if reason := self._not_comparable(exchange, first):
            return replace(judged, verdict="skipped", kind=reason)
        replies = [first.lines, *(outcome.lines for outcome in outcomes[1:] if not outcome.kind)]
        agree = {compare.agrees(exchange.reply, lines) for lines in replies}
        if agree == {True} and not self._is_luck(exchange):
            return self._prompt(judged, first)
        if reason := VARIES if True in agree else self._not_expected(exchange, replies):
            return replace(judged, verdict="skipped", kind=reason)
        return replace(judged, verdict="differs", kind=REPLY, diff=compare.difference(exchange.reply, first.lines))

    def _is_luck(self, exchange: Exchange) -> bool:
        """Whether a reply depends on what was drawn at random, so that it says nothing if it agrees."""
        lists_elements = bool(words.UNORDERED.intersection(words.words(exchange.command)[:1]))
        return words.is_random(exchange.command) or (lists_elements and bool(self._random & _arguments(exchange)))

    def _prompt(self, judged: Judged, outcome: Outcome) -> Judged:
        """The verdict when the reply agrees: the prompt has to, too."""
        exchange, address = judged.exchange, replay.address(self.exchanges)
        mistyped = exchange.mistyped or bool(exchange.address and replay.almost(exchange.address, address))
        if not mistyped and (not exchange.state or outcome.kind or exchange.state == outcome.state):
            return judged
        real = f"{address or '127.0.0.1:6379'}{outcome.state}> "
        diff = f"- {exchange.prompt}{exchange.command}\n+ {real}{exchange.command}\n"
        return replace(judged, verdict="differs", kind=PROMPT if mistyped else STATE, diff=diff)

    def _not_comparable(self, exchange: Exchange, outcome: Outcome) -> str:
        """Why there are no two replies to compare; empty if there are."""
        if outcome.kind and not (outcome.kind == words.BLOCKS and compare.agrees(exchange.reply, outcome.lines)):
            return outcome.kind
        if not compare.agrees(exchange.reply, outcome.lines):
            for need, said in _NEEDS.items():
                if any(said.match(line) for line in outcome.lines):
                    return need
        if compare.says_nothing(exchange.reply):
            return outcome.kind or NO_REPLY
        return SEVERAL_LINES if exchange.several_lines else ""

    def _not_expected(self, exchange: Exchange, replies: Sequence[Sequence[str]]) -> str:
        """Why a page cannot be expected to show the reply that came; empty if it can."""
        name = (words.words(exchange.command) or [""])[0]
        documented, real = compare.shown(exchange.reply), compare.shown(replies[0])
        reason = ""
        if (words.is_random(exchange.command) and len(documented) == len(real)) or self._random & _arguments(exchange):
            reason = VARIES
        elif name in words.UNORDERED and compare.same_elements(documented, real):
            reason = ORDER
        elif name in words.CLOCKS and _earlier(documented, real):
            reason = WAITED
        elif not self._shown and _is_nothing(real):
            reason = NO_DATA
        elif self._unmade & _arguments(exchange):
            reason = FOLLOWS
        elif len(replies) > 1 and compare.varies(exchange.reply, replies):
            reason = VARIES
        return reason


def _arguments(exchange: Exchange) -> set[str]:
    """A command's arguments that could be keys."""
    found = {word.strip("\"'") for word in exchange.command.split()[1:]}
    return {word for word in found if re.search(r"[a-z]", word) and not word.startswith("<")}


def _is_nothing(reply: Sequence[str]) -> bool:
    """Whether a reply says that there is nothing."""
    return len(reply) <= 2 and any(_NOTHING.match(line) for line in reply)  # noqa: PLR2004  SCAN's has two


def _earlier(documented: Sequence[str], real: Sequence[str]) -> bool:
    """Whether the page shows times to live that can come of waiting; a slow machine has waited a little, too."""
    if [_NUMBER.sub("", line) for line in documented] != [_NUMBER.sub("", line) for line in real]:
        return False
    pairs = zip(_NUMBER.findall("\n".join(documented)), _NUMBER.findall("\n".join(real)), strict=True)
    return all(int(shown) <= int(now) * 1.1 + 1 for shown, now in pairs)
