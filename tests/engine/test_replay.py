"""A page is run once, in order, on a fresh server, and reported fence by fence."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

PAGE = """\
# Counting

```valkey-cli
127.0.0.1:6379> SET visits 41
OK
127.0.0.1:6379> INCR visits
(integer) 42
```

```python
import valkey

client = valkey.Valkey(decode_responses=True)
print(client.get("visits"))
```

```text title="Output"
42
```

```pycon
>>> client.get("visits")
'42'
>>> client.lpush("visits", "x")
Traceback (most recent call last):
    ...
valkey.exceptions.ResponseError: WRONGTYPE Operation against a key holding the wrong kind of value
```

```console
$ cd /
$ pwd
/
$ docker exec valkey-dev valkey-cli GET visits
42
```
"""


def test_every_kind_of_fence_runs_on_one_server(project: Any) -> None:
    project.page(PAGE)
    result = project.verify()
    result.assert_outcomes(passed=5)
    result.stdout.fnmatch_lines(["Valkey 9.1.* (embedded): 5 fences, 7 exchanges verified"])


PROGRAM = """\
```python title="page.py"
print("read as a program of the page, not as one of the engine")
```

```console
$ python page.py
read as a program of the page, not as one of the engine
```

```python
import page
```

```text title="Output"
read as a program of the page, not as one of the engine
```
"""


FILES = """\
```valkey-cli
127.0.0.1:6379> SET a 1
OK
127.0.0.1:6379> SAVE
OK
```

```console
$ docker cp valkey-dev:/data/dump.rdb backup.rdb
$ head -c 6 backup.rdb
VALKEY
$ docker stop valkey-dev
valkey-dev
$ echo spoilt > dump.rdb
$ docker cp dump.rdb valkey-dev:/data/dump.rdb
$ docker run -i --rm --volumes-from valkey-dev valkey/valkey:9.1 head -n 1 /data/dump.rdb < backup.rdb
spoilt
$ docker cp backup.rdb valkey-dev:/data/dump.rdb
$ docker start valkey-dev
valkey-dev
```

```valkey-cli
127.0.0.1:6379> GET a
"1"
```
"""


def test_a_servers_files_are_read_copied_and_brought_back(project: Any) -> None:
    project.page(FILES)
    project.verify().assert_outcomes(passed=3)


def test_python_finds_the_programs_of_the_page(project: Any) -> None:
    project.page(PROGRAM)
    project.verify().assert_outcomes(passed=4)


def test_the_record_says_what_ran(project: Any) -> None:
    project.page(PAGE)
    project.verify()
    first = project.record()[0]
    assert (first["page"], first["line"], first["language"], first["exchanges"]) == ("docs/page.md", 3, "valkey-cli", 2)
    assert first["commands"] == ["SET", "INCR"]
    (run,) = first["runs"]
    assert (run["provider"], run["deployment"], run["verdict"], run["reason"]) == (
        "embedded",
        "standalone",
        "passed",
        None,
    )
    assert run["version"].startswith("9.1.")


def test_one_fence_alone_tells_the_same_story(project: Any) -> None:
    project.page(PAGE)
    project.verify("-k", "line:17").assert_outcomes(passed=1, deselected=4)


def test_workers_tell_the_same_story(project: Any) -> None:
    project.page(PAGE)
    project.verify("-n2").assert_outcomes(passed=5)
    assert len(project.record()) == 5


def test_every_version_in_one_run(project: Any) -> None:
    project.page(PAGE)
    project.verify("--valkey-version=8.1", "--valkey-version=9.1").assert_outcomes(passed=10)
    versions = [run["version"][:3] for run in project.record()[0]["runs"]]
    assert versions == ["8.1", "9.1"]


def test_a_later_run_adds_to_the_record(project: Any) -> None:
    project.page(PAGE)
    project.verify("--valkey-version=8.1")
    project.verify("--valkey-version=9.1")
    assert {len(fence["runs"]) for fence in project.record()} == {2}


def test_pages_do_not_see_each_other(project: Any) -> None:
    page = "```valkey-cli\n127.0.0.1:6379> INCR n\n(integer) 1\n```\n"
    project.page(page, "one.md")
    project.page(page, "two.md")
    project.verify().assert_outcomes(passed=2)


def test_a_wrong_reply_shows_line_command_and_diff(refuses: Callable[..., str]) -> None:
    said = refuses(PAGE.replace("(integer) 42", "(integer) 43"))
    assert "docs/page.md:6: Valkey 9.1." in said
    assert "127.0.0.1:6379> INCR visits" in said
    assert "- (integer) 43" in said
    assert "+ (integer) 42" in said


@pytest.mark.parametrize(
    ("old", "new", "line"),
    [
        ("127.0.0.1:6379> INCR", "127.0.0.1:6378> INCR", 6),
        ("127.0.0.1:6379> INCR", "127.0.0.1:6379[1]> INCR", 6),
        ("(integer) 42\n", "", 6),
        ("(integer) 42\n", "(integer) 42\nOK\n", 6),
        ("OK\n", "QUEUED\n", 4),
        ('"Output"\n42', '"Output"\n43', 17),
        ("'42'", "'43'", 22),
        ("holding the wrong", "holding a wrong", 24),
        ("$ pwd\n/", "$ pwd\n/root", 32),
        ("GET visits\n42", "GET visits\n43", 34),
    ],
)
def test_what_is_wrong_is_found_where_it_stands(refuses: Callable[..., str], old: str, new: str, line: int) -> None:
    assert f"docs/page.md:{line}: " in refuses(PAGE.replace(old, new))


def test_each_wrong_reply_is_one_report(project: Any) -> None:
    fence = "```valkey-cli\n127.0.0.1:6379> PING\n{}\n127.0.0.1:6379> INCR n\n{}\n```\n\n"
    project.page(fence.format("PANG", "(integer) 7") + fence.format("PONG", "(integer) 2") + fence.format("PUNG", "x"))
    result = project.verify()
    result.assert_outcomes(failed=2, passed=1)
    result.stdout.fnmatch_lines(["docs/page.md:2: *: 2 replies differ.", "docs/page.md:16: *: 2 replies differ."])


def test_what_breaks_a_lane_is_one_report(project: Any) -> None:
    project.page("```python\nx = 1 / 0\n```\n\n```python\nx + 1\n```\n\n```python\nx + 2\n```\n")
    result = project.verify()
    result.assert_outcomes(failed=1, skipped=2)
    result.stdout.fnmatch_lines(["*2 not run: line 1, before it, failed: docs/page.md:5, 9"])
    assert [run["verdict"] for fence in project.record() for run in fence["runs"]] == ["failed", "skipped", "skipped"]


def test_skips_carry_their_reason_and_are_counted(project: Any) -> None:
    project.page(
        '```valkey-cli {skip="needs two machines"}\n127.0.0.1:6379> PING\nPANG\n```\n\n'
        '```valkey-cli {since="9.0"}\n127.0.0.1:6379> PING\nPONG\n```\n'
    )
    result = project.verify("--valkey-version=8.1")
    result.assert_outcomes(skipped=2)
    result.stdout.fnmatch_lines(
        [
            "*1 not run: needs two machines: docs/page.md:1",
            "*1 not run: needs Valkey 9.0, says the page, but passes on 8.1.*: docs/page.md:6",
        ]
    )
    project.verify("--valkey-version=9.1").assert_outcomes(passed=1, skipped=1)


def test_output_is_not_run_where_its_python_is_not(project: Any) -> None:
    page = '```python {{{}}}\nprint("from the future")\n```\n\n```text title="Output"\nfrom the past\n```\n'
    project.page(page.format('since="99.0"'))
    project.verify().assert_outcomes(skipped=2)
    project.page(page.format('skip="it takes years"'))
    project.verify().assert_outcomes(skipped=2)
    assert {run["reason"] for fence in project.record() for run in fence["runs"]} == {"it takes years"}


def test_a_since_that_is_too_cautious_is_reported(project: Any) -> None:
    fence = '```valkey-cli {since="9.0"}\n127.0.0.1:6379> {}\n```\n\n'
    project.page(fence.replace("{}", "PING\nPONG") + fence.replace("{}", "HGETEX h FIELDS 1 f\n1) (nil)"))
    result = project.verify("--valkey-version=8.1")
    result.assert_outcomes(skipped=2)
    result.stdout.fnmatch_lines(
        [
            "*1 not run: needs Valkey 9.0, says the page, but passes on 8.1.*: docs/page.md:1",
            "*1 not run: needs Valkey 9.0: docs/page.md:6",
        ]
    )
    project.verify("--valkey-version=9.1").assert_outcomes(passed=2)


def test_markers_bind_for_the_rest_of_the_page(project: Any) -> None:
    project.page(
        "```valkey-cli\n"
        "127.0.0.1:6379> XADD s * f v\n"
        '"1795473875707-0"  <!-- stream-id -->\n'
        "127.0.0.1:6379> XDEL s 1795473875707-0\n"
        "(integer) 1\n"
        "127.0.0.1:6379> SET k v EX 60\n"
        "OK\n"
        "127.0.0.1:6379> TTL k\n"
        "(integer) 60  <!-- 55..60 -->\n"
        "127.0.0.1:6379> SADD s2 a b\n"
        "(integer) 2\n"
        "127.0.0.1:6379> SMEMBERS s2\n"
        '1) "b"  <!-- any order -->\n'
        '2) "a"\n'
        "```\n"
    )
    project.verify().assert_outcomes(passed=1)


def test_files_are_read_by_their_programs(project: Any) -> None:
    (project.root / "hello.py").write_text('print("hello")\n')
    project.page('```python title="hello.py"\n--8<-- "hello.py"\n```\n\n```console\n$ python hello.py\nhello\n```\n')
    project.verify().assert_outcomes(passed=2)


def test_windows_line_ends_are_no_difference(project: Any) -> None:
    project.page(PAGE.replace("\n", "\r\n").encode())
    project.verify().assert_outcomes(passed=5)


def test_servers_restart_on_the_same_data(project: Any) -> None:
    project.page(
        "```valkey-cli\n127.0.0.1:6379> SET a 1\nOK\n```\n\n"
        "```console\n$ docker restart valkey-dev\nvalkey-dev\n$ docker exec -it valkey-dev valkey-cli\n```\n\n"
        '```valkey-cli\n127.0.0.1:6379> GET a\n"1"\n127.0.0.1:6379> SET a 2\nOK\n```\n\n'
        "```console\n$ docker kill valkey-dev\nvalkey-dev\n$ docker start valkey-dev\nvalkey-dev\n```\n\n"
        '```valkey-cli\n127.0.0.1:6379> GET a\n"1"\n```\n'
    )
    project.verify().assert_outcomes(passed=5)


def test_docker_without_docker_is_a_skip(project: Any) -> None:
    project.page("```console\n$ docker compose up -d --wait\n```\n")
    result = project.verify()
    result.assert_outcomes(skipped=1)
    result.stdout.fnmatch_lines(["*1 not run: needs Docker: docs/page.md:1"])
