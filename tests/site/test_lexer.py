"""Colours never change a character, and tell prompts, commands and kinds of replies apart."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pygments.lexers import get_lexer_by_name
from pygments.token import Generic, Keyword, Name, Number, Punctuation, String

from valkey_doctest.site.lexer import ValkeyCliLexer

LIKELY = st.sampled_from(
    [
        *("127.0.0.1:6379> ", "127.0.0.1:6379[1]> ", "redis> ", "> ", "SET k v", "^C", "# Server"),
        *("(integer) 5", "(error) ERR", "(nil)", "1) ", "1# ", " => ", "(1.05s)", '"a \\" b"'),
        *("'", '"', "\n", "\r\n", " ", "\x0b", "é"),
    ]
)


@given(st.one_of(st.text(), st.lists(LIKELY).map("".join)))
def test_output_joined_is_input(text: str) -> None:
    tokens = list(ValkeyCliLexer().get_tokens_unprocessed(text))
    assert "".join(value for _, _, value in tokens) == text
    assert [index for index, _, _ in tokens] == [sum(len(v) for _, _, v in tokens[:n]) for n in range(len(tokens))]


def test_pygments_finds_it_by_name() -> None:
    assert isinstance(get_lexer_by_name("valkey-cli"), ValkeyCliLexer)


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("127.0.0.1:6379> GET k", [(Generic.Prompt, "127.0.0.1:6379> "), (Name.Function, "GET"), (Name.Variable, "k")]),
        ("127.0.0.1:6379[1]> PING", [(Generic.Prompt, "127.0.0.1:6379[1]> "), (Name.Function, "PING")]),
        ("127.0.0.1:6379(TX)> EXEC", [(Generic.Prompt, "127.0.0.1:6379(TX)> "), (Name.Function, "EXEC")]),
        (
            "valkey> INCRBY n 2",
            [(Generic.Prompt, "valkey> "), (Name.Function, "INCRBY"), (Name.Variable, "n"), (Number, "2")],
        ),
        ('redis> ECHO "a b"', [(Generic.Prompt, "redis> "), (Name.Function, "ECHO"), (String, '"a b"')]),
        ("(integer) -3", [(Keyword.Type, "(integer)"), (Number, "-3")]),
        ("(double) 1.5e+20", [(Keyword.Type, "(double)"), (Number, "1.5e+20")]),
        ("(nil)", [(Keyword.Constant, "(nil)")]),
        ("(empty array)", [(Keyword.Constant, "(empty array)")]),
        ("(error) ERR no", [(Generic.Error, "(error) ERR no")]),
        ('2) 1) "a"', [(Punctuation, "2)"), (Punctuation, "1)"), (String.Double, '"a"')]),
        (
            '1# "f" => (nil)',
            [(Punctuation, "1#"), (String.Double, '"f"'), (Punctuation, "=>"), (Keyword.Constant, "(nil)")],
        ),
        ("QUEUED", [(Generic.Output, "QUEUED")]),
    ],
)
def test_kinds(line: str, expected: list[tuple[object, str]]) -> None:
    tokens = ValkeyCliLexer().get_tokens_unprocessed(line)
    assert [(token, value) for _, token, value in tokens if value.strip()] == expected
