"""Colours for what a terminal with valkey-cli shows: prompts, commands and replies.

Pygments finds the lexer by its entry point, so the site and the PDF need no configuration for it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import ClassVar

from pygments.lexer import Lexer
from pygments.token import (
    Comment,
    Generic,
    Keyword,
    Name,
    Number,
    Punctuation,
    String,
    Text,
    Whitespace,
    _TokenType,
)

Token = tuple[int, _TokenType, str]

PROMPT = re.compile(
    r"""
    (?: (?:valkey|redis)[ ](?=\S+:\d) )?                                   # valkey 127.0.0.1:6379>
    (?: [\w.-]+:\d+ | \[[0-9a-f:]+\]:\d+ | /\S+\.sock | valkey(?:-cli)? | redis | not[ ]connected )
    (?: \[\d+\] )? (?: \(TX\) )? (?: \(subscribed[ ]mode\) )? >(?:[ ]|$)
    | >[ ](?=\S)
    """,
    re.VERBOSE,
)
"""What valkey-cli prints before a command, in every state it can be in."""

_ARGUMENT = re.compile(
    r"""
    (?P<space>\s+)
    | (?P<string> "(?:\\.|[^"\\])*"? | '(?:\\.|[^'\\])*'? )
    | (?P<number> [-+]?\d+(?:\.\d+)?(?=\s|$) )
    | (?P<word> [^\s"']+ )
    """,
    re.VERBOSE,
)
_REPLY = re.compile(
    r"""
    (?P<space>\s+)
    | (?P<index> \d+[)\#~](?=\s) )
    | (?P<arrow> =>(?=\s) )
    | (?P<string> "(?:\\.|[^"\\])*"? )
    | (?P<error> \(error\).* )
    | (?P<nothing> \((?:nil|true|false|empty\ [a-z ]+)\) )
    | (?P<time> \(\d+\.\d+s\) )
    | (?P<kind> \((?:integer|double|bignum|big\ number|verbatim)\) )
    | (?P<rest> .+ )
    """,
    re.VERBOSE,
)
_NUMBER_AFTER_KIND = re.compile(r"(\s*)(-?(?:inf|nan|[\d.]+(?:e[-+]?\d+)?))(?=\s|$)", re.IGNORECASE)

_ARGUMENTS = {"space": Whitespace, "string": String, "number": Number, "word": Name.Variable}
_REPLIES = {
    "space": Whitespace,
    "index": Punctuation,
    "arrow": Punctuation,
    "string": String.Double,
    "error": Generic.Error,
    "nothing": Keyword.Constant,
    "time": Comment,
    "kind": Keyword.Type,
    "rest": Generic.Output,
}


class ValkeyCliLexer(Lexer):
    """A transcript, line by line; whatever it does not know is a plain reply."""

    name = "Valkey CLI"
    aliases: ClassVar[list[str]] = ["valkey-cli", "redis-cli"]
    filenames: ClassVar[list[str]] = []
    url = "https://valkey.io/topics/cli/"
    version_added = ""

    def get_tokens_unprocessed(self, text: str) -> Iterator[Token]:
        """Yield every character of the text exactly once, in order."""
        position = 0
        for line in text.splitlines(keepends=True):
            body = line.rstrip("\r\n")
            prompt = PROMPT.match(body)
            if prompt:
                yield position, Generic.Prompt, prompt[0]
                yield from _command(body[prompt.end() :], position + prompt.end())
            elif body == "^C":
                yield position, Generic.Emph, body
            else:
                yield from _reply(body, position)
            if body != line:
                yield position + len(body), Whitespace, line[len(body) :]
            position += len(line)


def _command(text: str, position: int) -> Iterator[Token]:
    first = True
    for found in _ARGUMENT.finditer(text):
        kind = found.lastgroup or "word"
        token = _ARGUMENTS[kind]
        if first and kind != "space":
            token, first = Name.Function, False
        yield position + found.start(), token, found[0]


def _reply(text: str, position: int) -> Iterator[Token]:
    if text.startswith("# "):  # the headings of INFO
        yield position, Generic.Subheading, text
        return
    start = 0
    while start < len(text):
        found = _REPLY.match(text, start)
        if found is None:  # a line separator that "." does not match
            yield position + start, Text, text[start:]
            return
        yield position + start, _REPLIES[found.lastgroup or "rest"], found[0]
        start = found.end()
        if found.lastgroup == "kind" and (number := _NUMBER_AFTER_KIND.match(text, start)):
            if number[1]:
                yield position + start, Whitespace, number[1]
            yield position + number.start(2), Number, number[2]
            start = number.end()
