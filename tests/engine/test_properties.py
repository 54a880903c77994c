"""What holds for every input: fences, transcripts, markers, comparison, names."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from valkey_doctest import markers
from valkey_doctest.fences import Fence, FenceError, parse_page
from valkey_doctest.matching import compare
from valkey_doctest.names import Names
from valkey_doctest.transcript import Exchange, parse

ROOT = Path(__file__).parent

plain = st.text(st.characters(codec="utf-8", exclude_categories=("C", "Z")) | st.just(" "), max_size=30)
line = plain.filter(lambda text: not text.lstrip().startswith(("`", "~", "-", ";")) and "8<" not in text)
reply = plain.filter(lambda text: text.strip() and "<!--" not in text and "> " not in text)


def lines(texts: list[str]) -> list[markers.Line]:
    return [markers.read(text, number) for number, text in enumerate(texts, 1)]


@given(st.text(max_size=300))
def test_any_text_is_read_or_refused_with_its_place(text: str) -> None:
    try:
        page = parse_page(text, "p.md", root=ROOT)
    except FenceError as error:
        refused = error
    else:
        assert all(fence.language for fence in page.fences)
        return
    assert str(refused).startswith("p.md:")
    assert 1 <= refused.line <= text.count("\n") + 2


@given(st.lists(st.tuples(st.sampled_from(["", "    ", "\t"]), st.lists(line, max_size=4)), max_size=4))
def test_every_fence_is_seen_where_it_stands(blocks: list[tuple[str, list[str]]]) -> None:
    text, places = "# A page\n\n", []
    for prefix, body in blocks:
        places.append(text.count("\n") + 1)
        text += "".join(f"{prefix}{each}\n" for each in ["```text", *body, "```", ""])
    fences = parse_page(text, "p.md", root=ROOT).fences
    assert [fence.line for fence in fences] == places
    assert len({fence.digest for fence in fences}) == len(fences)
    for fence, (prefix, _) in zip(fences, blocks, strict=True):
        assert text[fence.start :].startswith(f"{prefix}```text")
        assert text[: fence.end].endswith("```")


@given(st.lists(line, min_size=1, max_size=4), st.integers(0, 3))
def test_a_change_before_a_fence_changes_its_digest(body: list[str], which: int) -> None:
    assume(any(each.strip() for each in body))
    blocks = ["```text\none\n```\n", "```text\ntwo\n```\n", "```text\nthree\n```\n"]
    changed = list(blocks)
    changed.insert(which, "".join(f"{each}\n" for each in ["```text", *body, "```"]))
    before = {fence.digest for fence in parse_page("\n".join(blocks), "p.md", root=ROOT).fences}
    after = [fence.digest for fence in parse_page("\n".join(changed), "p.md", root=ROOT).fences]
    assert before.isdisjoint(after[which + 1 :])


@given(st.lists(st.tuples(reply, st.lists(reply, max_size=3)), min_size=1, max_size=4))
def test_a_transcript_is_its_exchanges(exchanges: list[tuple[str, list[str]]]) -> None:
    text = "\n".join("\n".join([f"127.0.0.1:6379> {command}", *replies]) for command, replies in exchanges)
    fence = Fence("p.md", 1, 0, 0, "", "valkey-cli", {}, text, "")
    parsed = parse(fence)
    assert all(isinstance(part, Exchange) for part in parsed)
    assert [e.command for e in parsed] == [command.rstrip() for command, _ in exchanges]
    assert [[each.text for each in e.reply] for e in parsed] == [[r.rstrip() for r in rs] for _, rs in exchanges]


@given(st.lists(reply, max_size=5))
def test_a_reply_agrees_with_itself(texts: list[str]) -> None:
    assert compare(lines(texts), texts, Names()) is None


@given(st.lists(reply, max_size=5), st.lists(reply, max_size=5))
def test_a_reply_agrees_with_no_other(expected: list[str], actual: list[str]) -> None:
    assume([each.rstrip() for each in expected] != [each.rstrip() for each in actual])
    difference = compare(lines(expected), actual, Names())
    assert difference
    assert all(each.startswith(("- ", "+ ", "  ")) for each in difference.rstrip("\n").split("\n"))


@given(st.permutations([f'"{n}"' for n in range(12)]))
def test_any_order_is_any_order_and_nothing_more(order: list[str]) -> None:
    documented = lines([f'{n:>2}) "{n - 1}"' + ("  <!-- any order -->" if n == 1 else "") for n in range(1, 13)])
    actual = [f"{n:>2}) {value}" for n, value in enumerate(order, 1)]
    assert compare(documented, actual, Names()) is None
    assert compare(documented, actual[:-1], Names())
    assert compare(documented, [*actual[:-1], '12) "12"'], Names())


@given(st.integers(-1000, 1000), st.integers(-1000, 1000), st.integers(1, 1000))
def test_a_range_is_a_range(value: int, low: int, width: int) -> None:
    marked = markers.Line(f"(integer) {low}", 1, markers.parse(f"{low}..{low + width}"))
    assert (compare([marked], [f"(integer) {value}"], Names()) is None) == (low <= value <= low + width)


@given(st.text(alphabet="0123456789abcdef", min_size=8, max_size=8), reply)
def test_a_bound_value_is_translated_both_ways(real: str, words: str) -> None:
    names = Names()
    documented = markers.read("0123abcd  <!-- hex 8 -->", 1)
    assert compare([documented], [real], names) is None
    assume(real not in words)
    assume("0123abcd" not in words)
    assert names.to_real(f"{words} 0123abcd") == f"{words} {real}"
    assert names.to_documented(f"{words} {real}") == f"{words} 0123abcd"


@pytest.mark.parametrize(
    ("line", "actual", "agrees"),
    [
        ("(integer) 58  <!-- 55..60 -->", "(integer) 60", True),
        ("(integer) 58  <!-- 55..60 -->", "(integer) 61", False),
        ("(integer) 58  <!-- 55..60 -->", "(nil)", False),
        ("2) (integer) 58  <!-- 55..60 -->", "3) (integer) 58", False),
        ("a 1.5 ms, b 20 ms  <!-- 1..2, 10..30 -->", "a 1.25 ms, b 11 ms", True),
        ("a 1.5 ms, b 20 ms  <!-- 1..2, 10..30 -->", "a 2.25 ms, b 11 ms", False),
        ("a 1.5 ms, b 20 ms  <!-- 1..2, 10..30 -->", "a 1.25 s, b 11 ms", False),
        ('"1795473875707-0"  <!-- stream-id -->', '"1795473875999-12"', True),
        ('"1795473875707-0"  <!-- stream-id -->', '"12-1"', False),
        ("valkey_version:9.1.2  <!-- version -->", "valkey_version:7.2.11", True),
        ("valkey_version:9.1.2  <!-- version -->", "valkey_version:9.1", False),
        ("KEYS    95 us  <!-- 1..200 -->", "KEYS   100 us", True),
        ("KEYS    95 us  <!-- 1..200 -->", "KEYS     9 us", True),
        ("KEYS    95 us  <!-- 1..200 -->", "KEYS    96 us", True),
        ("KEYS    95 us  <!-- 1..200 -->", "KEYS    100 us", True),
        ("KEYS    95 us  <!-- 1..200 -->", "KEYS  100 us", False),
        ("KEYS    95 us  <!-- 1..200 -->", "KEYS95 us", False),
        ("(integer) 100000  <!-- within 2 % -->", "(integer) 102000", True),
        ("(integer) 100000  <!-- within 2 % -->", "(integer) 102001", False),
        ("(integer) -100  <!-- within 0.5 % -->", "(integer) -100.5", True),
        ("used_memory_human:1.05M  <!-- 900K..2M -->", "used_memory_human:901.25K", True),
        ("used_memory_human:1.05M  <!-- 900K..2M -->", "used_memory_human:899.99K", False),
        ("used_memory_human:1.05M  <!-- 900K..2M -->", "used_memory_human:1.05", False),
        ("addr=127.0.0.1:50000 fd=8  <!-- address -->", "addr=127.0.0.1:43215 fd=8", True),
        ("addr=127.0.0.1:50000 fd=8  <!-- address -->", "addr=127.0.0.1:43215 fd=9", False),
        ("(integer) 7  <!-- client-id -->", "(integer) 12", True),
        ("(integer) 7  <!-- client-id -->", "(integer) 0", False),
        ("id=7 db=0  <!-- client-id -->", "id=12 db=0", True),
        ("id=7 db=0  <!-- client-id -->", "id=12 db=1", False),
    ],
)
def test_what_markers_allow(line: str, actual: str, *, agrees: bool) -> None:
    assert (compare([markers.read(line, 1)], [actual], Names()) is None) == agrees


@given(st.permutations([3, 7, 55, 58]), st.permutations(["a", "b", "c"]))
def test_any_order_goes_with_other_markers_and_with_nested_arrays(numbers: list[int], inner: list[str]) -> None:
    marked = [
        "1) (integer) 3  <!-- any order -->",
        "2) (integer) 7",
        "3) (integer) 57  <!-- 50..60 -->",
        "4) (integer) 55",
    ]
    documented = [markers.read(text, number) for number, text in enumerate(marked, 1)]
    actual = [f"{place}) (integer) {number}" for place, number in enumerate(numbers, 1)]
    assert compare(documented, actual, Names()) is None
    assert compare(documented, [each.replace("55", "56") for each in actual], Names())

    nested = ['1) "0"', '2) 1) "a"  <!-- any order -->', '   2) "b"', '   3) "c"']
    documented = [markers.read(text, number) for number, text in enumerate(nested, 1)]
    shown = [f'   {place}) "{letter}"' for place, letter in enumerate(inner, 1)]
    shown[0] = "2)" + shown[0][2:]
    assert compare(documented, ['1) "0"', *shown], Names()) is None
    assert compare(documented, ['1) "1"', *shown], Names())
    assert compare(documented, ['1) "0"', *shown[:-1], '   3) "d"'], Names())


def test_any_order_of_the_outer_array_keeps_the_order_of_the_inner_ones() -> None:
    text = ['1) 1) "a"  <!-- any order -->', '   2) "1"', '2) 1) "b"', '   2) "2"']
    documented = [markers.read(each, number) for number, each in enumerate(text, 1)]
    assert compare(documented, ['1) 1) "b"', '   2) "2"', '2) 1) "a"', '   2) "1"'], Names()) is None
    assert compare(documented, ['1) 1) "b"', '   2) "1"', '2) 1) "a"', '   2) "2"'], Names())
    assert compare(documented, ['1) 1) "2"', '   2) "b"', '2) 1) "a"', '   2) "1"'], Names())


def test_a_client_id_is_translated_where_it_means_a_client_and_nowhere_else() -> None:
    names = Names()
    assert compare([markers.read("(integer) 7  <!-- client-id -->", 1)], ["(integer) 12"], names) is None
    assert names.to_real("CLIENT KILL ID 7") == "CLIENT KILL ID 12"
    assert names.to_real("client unblock 7 ERROR") == "client unblock 12 ERROR"
    assert names.to_real("CLIENT LIST ID 3 7") == "CLIENT LIST ID 3 12"
    assert names.to_real("SET ID 7") == "SET ID 7"
    assert names.to_real("INCRBY n 7") == "INCRBY n 7"
    assert names.to_documented("id=12 db=12 redir=12") == "id=7 db=12 redir=7"
    assert names.to_documented("(integer) 12") == "(integer) 12"
    again = markers.read("(integer) 7  <!-- client-id -->", 1)
    assert compare([again], ["(integer) 12"], names) is None
    assert "which it did not before" in (compare([again], ["(integer) 13"], names) or "")


@pytest.mark.parametrize(
    ("documented", "actual", "marker"),
    [
        ('"1795473875707-0"', '"1795473875999-3"', "stream-id"),
        ("addr=127.0.0.1:50000", "addr=127.0.0.1:43215", "address"),
        ("id=7 db=0", "id=12 db=0", "client-id"),
        ("redis_version:7.2.4", "redis_version:7.2.5", "version"),
        ("used_memory_human:1.05M", "used_memory_human:1.10M", "0.525M..2.2M"),
        ("(integer) 1504", "(integer) 1600", "752..3200"),
        ("(integer) 42", "(integer) 43", None),  # a count: it is wrong rather than varying
    ],
)
def test_a_value_that_may_vary_is_answered_with_the_marker_that_fits(
    documented: str, actual: str, marker: str | None
) -> None:
    difference = compare([markers.read(documented, 9)], [actual], Names())
    hint = f"If line 9 differs from run to run, mark it at its end: <!-- {marker} -->"
    assert difference is not None
    assert (hint in difference) == (marker is not None)


def test_one_documented_value_cannot_be_two_real_ones() -> None:
    names = Names()
    line = markers.read("0123abcd  <!-- hex 8 -->", 1)
    assert compare([line], ["11111111"], names) is None
    assert compare([line], ["11111111"], names) is None
    assert "already stands for 11111111" in (compare([line], ["22222222"], names) or "")
