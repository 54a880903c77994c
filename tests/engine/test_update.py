"""``--update-docs`` writes the real replies into a page, and touches nothing else."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

STALE = """\
# A page  \n
Text, with trailing blanks.  \n
```valkey-cli
127.0.0.1:6379> SET a 1
NOT OK
127.0.0.1:6379> INCR a
(integer) 2
127.0.0.1:6379> LRANGE nothing 0 -1
1) "something"
2) "else"
```

1. In a list:

    !!! note
        ```valkey-cli
        127.0.0.1:6379> GET a
        "3"
        127.0.0.1:6379> TTL a
        (integer) -1  <!-- -1..60 -->
        ```

```python
import valkey

print(valkey.Valkey(decode_responses=True).get("a"))
print("x")
```

```text title="Output"
old
x
```

```console
$ echo one; echo two
one
```

```pycon
>>> 1 + 1
3
```
"""

FRESH = (
    STALE.replace("NOT OK", "OK")
    .replace('1) "something"\n2) "else"', "(empty array)")
    .replace('"3"', '"2"')
    .replace("old\nx", "2\nx")
    .replace("two\none\n", "two\none\ntwo\n")
    .replace("1 + 1\n3", "1 + 1\n2")
)


@pytest.mark.parametrize("ending", ["\n", "\r\n"])
def test_stale_replies_are_replaced_and_all_else_stays(project: Any, ending: str) -> None:
    path: Path = project.page(STALE.replace("\n", ending))
    result = project.verify("--update-docs")
    assert path.read_bytes().decode() == FRESH.replace("\n", ending)
    result.stdout.fnmatch_lines(["*not run: updated from line 7, 11, 20, 33, 39, 44. Run pytest again to verify it*"])
    project.verify("--update-docs").assert_outcomes(passed=6)
    assert path.read_bytes().decode() == FRESH.replace("\n", ending)


def test_a_marker_is_proposed_where_two_replays_differ(project: Any) -> None:
    path = project.page(
        "```valkey-cli\n127.0.0.1:6379> XADD s * a 1\nold\n127.0.0.1:6379> ACL GENPASS\nold\n"
        "127.0.0.1:6379> SET k v\nOK\n```\n"
    )
    project.verify("--update-docs")
    text = path.read_text()
    assert '"  <!-- stream-id -->\n' in text
    assert '"  <!-- hex 64 -->\n' in text
    assert "\nOK\n" in text
    project.verify().assert_outcomes(passed=1)


@pytest.mark.parametrize(
    "page",
    [
        "```valkey-cli\n127.0.0.1:6379> PING\nPANG\n```\n\n```python\n1 / 0\n```\n",
        "```valkey-cli\n127.0.0.1:6379> PING\nPANG\n127.0.0.1:6378> PING\nPONG\n```\n",
    ],
)
def test_a_page_that_fails_for_another_reason_is_not_touched(project: Any, page: str) -> None:
    path = project.page(page)
    result = project.verify("--update-docs")
    assert path.read_text() == page
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.stdout.fnmatch_lines(["*not updated, because line * fails for another reason than a stale reply*"])


def test_an_included_file_is_not_touched(project: Any) -> None:
    (project.root / "t.txt").write_text("127.0.0.1:6379> PING\nPANG\n")
    path = project.page('```valkey-cli\n--8<-- "t.txt"\n```\n')
    before = path.read_text()
    assert project.verify("--update-docs").ret == pytest.ExitCode.TESTS_FAILED
    assert path.read_text() == before
    assert "PANG" in (project.root / "t.txt").read_text()


def test_one_server_at_a_time(project: Any) -> None:
    project.page(STALE)
    result = project.verify("--update-docs", "--valkey-version=all")
    assert "writes the replies of one server" in result.stdout.str() + result.stderr.str()


def test_an_unmarked_varying_value_comes_with_a_hint(project: Any) -> None:
    project.page('```valkey-cli\n127.0.0.1:6379> XADD s * a 1\n"1795473875707-0"\n```\n')
    result = project.verify()
    result.stdout.fnmatch_lines(["*If line 3 differs from run to run, mark it at its end: <!-- stream-id -->"])


def test_an_empty_output_fence_is_filled(project: Any) -> None:
    page = '```python\nprint("one")\nprint("two")\n```\n\n```text title="Output"\n{}```\n'
    path = project.page(page.format(""))
    project.verify("--update-docs")
    assert path.read_text("utf-8") == page.format("one\ntwo\n")
