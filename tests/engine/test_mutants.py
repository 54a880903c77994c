"""Mutants are planted in every fence and caught; where a check is weakened, they survive and the command says so."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from valkey_doctest import matching, mutants, shell, steps
from valkey_doctest.fences import parse_page
from valkey_doctest.markers import Line
from valkey_doctest.names import Names
from valkey_doctest.page import plan
from valkey_doctest.planting import KINDS, SAME, TYPED, UNORDERED, WIDER, Planter
from valkey_doctest.servers import ServerError

PAGE = """\
```valkey-cli
127.0.0.1:6379> SET visits 41
OK
127.0.0.1:6379> GET visits
"41"
127.0.0.1:6379> INCR visits
(integer) 42
127.0.0.1:6379> LPUSH visits a
(error) WRONGTYPE Operation against a key holding the wrong kind of value
127.0.0.1:6379> SADD tags red green
(integer) 2
127.0.0.1:6379> SMEMBERS tags
1) "red"  <!-- any order -->
2) "green"
127.0.0.1:6379> EXPIRE visits 60
(integer) 1
127.0.0.1:6379> TTL visits
(integer) 60  <!-- 50..65 -->
127.0.0.1:6379> XADD log * level info
"1795473875707-0"  <!-- stream-id -->
127.0.0.1:6379> XRANGE log - +
1) 1) "1795473875707-0"
   2) 1) "level"
      2) "info"
127.0.0.1:6379> SELECT 3
OK
127.0.0.1:6379[3]> MULTI
OK
127.0.0.1:6379[3](TX)> DISCARD
OK
```

```valkey-cli title="Worker"
127.0.0.1:6379> BLPOP jobs 0
```

```valkey-cli title="Listener"
127.0.0.1:6379> SUBSCRIBE news
1) "subscribe"
2) "news"
3) (integer) 1
```

```python
import valkey

client = valkey.Valkey(decode_responses=True)
client.rpush("jobs", "mail")
client.publish("news", "hello")
print("visits:", client.get("visits"))
```

```text title="Output"
visits: 42
```

```valkey-cli title="Worker"
1) "jobs"
2) "mail"
```

```valkey-cli title="Listener"
1) "message"
2) "news"
3) "hello"
^C
```

```pycon
>>> client.get("visits")
'42'
```

```console
$ docker exec valkey-dev valkey-cli GET visits
42
```
"""


@pytest.fixture
def judged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Run the command on a page; gives its status and what it wrote."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "docs").mkdir()

    def run(text: str, *options: str) -> tuple[int, dict[str, Any]]:
        (tmp_path / "docs/page.md").write_text(text, "utf-8")
        status = mutants.main(["docs", "--jobs=1", *options])
        path = tmp_path / mutants.DEFAULT_PATH
        return status, json.loads(path.read_text("utf-8")) if path.exists() else {}

    return run


def test_every_kind_is_planted_and_caught(judged: Any, capsys: pytest.CaptureFixture[str]) -> None:
    status, said = judged(PAGE)
    assert status == 0, said["survived"]
    assert [kind["kind"] for kind in said["kinds"]] == list(KINDS)
    for kind in said["kinds"]:
        assert kind["caught"] > 0, kind
        assert kind["planted"] == kind["caught"] + kind["equivalent"]
    assert said["commands"]["replayed"] == 1
    assert said["fences"] == 9
    reasons = {each["reason"] for each in said["equivalent"]}
    assert {TYPED, WIDER} <= reasons <= {TYPED, WIDER, UNORDERED, SAME}
    assert all(each["count"] == len(each["mutants"]) for each in said["equivalent"])
    shown = capsys.readouterr().out
    assert "digit changed" in shown
    assert f"({WIDER})" in shown


def test_every_digit_is_planted() -> None:
    page = parse_page(PAGE, "page.md", root=Path())
    steps_ = plan(page).steps
    planted = [
        m for place in range(len(steps_)) for m in Planter(plan(page)).output(place) if m.kind == "digit changed"
    ]
    replies = [
        line.split("<!--")[0]
        for step in steps_
        if step.fence.language != "python"
        for line in step.fence.text.split("\n")
        if not line.startswith(("127.0.0.1", "$ ", ">>> "))
    ]
    assert len(planted) == sum(char.isdigit() for line in replies for char in line)


def test_a_bound_value_is_equivalent_only_if_the_page_does_not_use_it_again(judged: Any) -> None:
    used = '```valkey-cli\n127.0.0.1:6379> XADD s * a b\n"1795473875707-0"  <!-- stream-id -->\n```\n'
    again = '```valkey-cli\n127.0.0.1:6379> XRANGE s - +\n1) 1) "1795473875707-0"\n   2) 1) "a"\n      2) "b"\n```\n'
    status, said = judged(used)
    assert (status, said["kinds"][0]["equivalent"]) == (0, 14)
    status, said = judged(used + again)
    assert (status, said["kinds"][0]["equivalent"]) == (0, 0)


def ignores_digits(expected: Sequence[Line], actual: Sequence[str], names: Names) -> str | None:
    if len(expected) == len(actual) and not any(line.markers for line in expected):
        table = str.maketrans("0123456789", "0" * 10)
        expected = [line._replace(text=line.text.translate(table)) for line in expected]
        actual = [names.to_documented(line).translate(table) for line in actual]
    return matching.compare(expected, actual, names)


def test_a_comparison_that_ignores_digits_is_found_out(
    judged: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(steps, "compare", ignores_digits)
    status, said = judged(PAGE)
    assert status == 1
    assert {each["kind"] for each in said["survived"]} == {"digit changed"}
    assert """docs/page.md:5: nobody notices: digit changed: '"41"' -> '"51"'""" in capsys.readouterr().err


def test_a_comparison_that_sees_nothing_is_found_out(judged: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(steps, "compare", lambda *_: None)
    monkeypatch.setattr(shell, "compare", lambda *_: None)
    status, said = judged(PAGE)
    assert status == 1
    kinds = {"digit changed", "reply emptied", "line dropped", "error text changed", "command changed"}
    assert kinds <= {each["kind"] for each in said["survived"]}


def test_a_page_that_fails_is_not_judged(judged: Any, capsys: pytest.CaptureFixture[str]) -> None:
    status, said = judged("```valkey-cli\n127.0.0.1:6379> PING\nPOND\n```\n")
    assert (status, said) == (1, {})
    assert "docs/page.md:2: the page itself fails" in capsys.readouterr().err


def test_a_fence_that_is_not_run_is_counted_with_its_reason(judged: Any) -> None:
    status, said = judged(
        '```valkey-cli\n127.0.0.1:6379> PING\nPONG\n```\n\n```valkey-cli {skip="why not"}\n127.0.0.1:6379> A\nB\n```\n'
    )
    assert status == 0
    assert said["left out"] == {"why not": 1}


def test_no_page_is_no_success(judged: Any) -> None:
    assert judged("Nothing.\n") == (1, {})


def test_a_prompt_that_is_not_compared_is_found_out(judged: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    real = steps.TranscriptStep._exchange  # noqa: SLF001

    def lenient(self: Any, terminal: Any, exchange: Any, blocks: Any, session: Any) -> tuple[str, ...]:
        shown = session.names.to_documented(terminal.prompt)
        return real(self, terminal, exchange._replace(prompt=shown), blocks, session)

    monkeypatch.setattr(steps.TranscriptStep, "_exchange", lenient)
    status, said = judged(PAGE)
    assert status == 1
    assert {each["kind"] for each in said["survived"]} == {"prompt changed"}


def test_a_playback_that_fails_unchanged_is_no_catch(
    judged: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(mutants, "play", lambda *_: "all is wrong")
    assert judged(PAGE) == (1, {})
    assert "docs/page.md:1: its playback would fail unchanged: all is wrong" in capsys.readouterr().err


SMALL = "```valkey-cli\n127.0.0.1:6379> SET a 1 EX 60\nOK\n127.0.0.1:6379> TTL a\n(integer) 60  <!-- 50..65 -->\n```\n"


def test_pages_as_they_were_are_not_judged_again(
    judged: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "docs/other.md").write_text(SMALL + SMALL.replace(" a", " b"), "utf-8")
    _, first = judged(SMALL)
    assert set(first["digests"]) == {"docs/other.md", "docs/page.md"}
    assert "as last time" not in capsys.readouterr().out

    _, again = judged("One more line.\n\n" + SMALL)
    assert "2 of the pages have the same fences as last time" in capsys.readouterr().out
    assert again["kinds"] == first["kinds"]
    assert again["digests"] == first["digests"]
    lines = {m["line"] for each in again["equivalent"] for m in each["mutants"] if m["page"] == "docs/page.md"}
    assert lines == {7}  # of the page as it is now

    _, changed = judged(SMALL.replace("SET a 1", "SET a 2"))
    assert "1 of the pages has the same fences as last time" in capsys.readouterr().out
    assert changed["digests"]["docs/page.md"] != first["digests"]["docs/page.md"]
    assert changed["digests"]["docs/other.md"] == first["digests"]["docs/other.md"]

    judged(SMALL.replace("SET a 1", "SET a 2"), "--seed=2")
    assert "as last time" not in capsys.readouterr().out


def test_another_program_judges_again(
    judged: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    judged(SMALL)
    monkeypatch.setattr(mutants, "_program", lambda: "another")
    judged(SMALL)
    assert "as last time" not in capsys.readouterr().out


def test_survivors_are_judged_again(judged: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(steps, "compare", lambda *_: None)
        assert judged(SMALL)[0] == 1
    status, said = judged(SMALL)
    assert (status, said["survived"]) == (0, [])


def test_elements_of_an_inner_array_in_any_order_may_be_swapped(judged: Any) -> None:
    status, said = judged(
        "```valkey-cli\n127.0.0.1:6379> SADD s a b\n(integer) 2\n127.0.0.1:6379> SSCAN s 0\n"
        '1) "0"\n2) 1) "a"  <!-- any order -->\n   2) "b"\n127.0.0.1:6379> EXISTS nothing s\n(integer) 1\n```\n'
    )
    assert status == 0, said["survived"]
    assert [(each["reason"], each["count"]) for each in said["equivalent"] if each["reason"] == UNORDERED] == [
        (UNORDERED, 1)
    ]


def test_without_an_embedded_server_nothing_is_planted(
    judged: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def choose(*_: object) -> list[Any]:
        raise ServerError("no Valkey server to run the pages on.")

    monkeypatch.setattr(mutants, "choose", choose)
    assert judged(SMALL) == (1, {})
    assert "no Valkey server" in capsys.readouterr().err
