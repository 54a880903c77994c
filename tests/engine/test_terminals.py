"""Several terminals a page, and commands that block: proven by the server, checked message by message."""

from __future__ import annotations

import signal
from collections.abc import Callable
from typing import Any

import ptyprocess
import pytest

from valkey_doctest.servers.container import engine_problem

QUEUE = """\
```valkey-cli title="Worker"
127.0.0.1:6379> BLPOP jobs 0
```

```valkey-cli title="Producer"
127.0.0.1:6379> RPUSH jobs mail
(integer) 1
```

```valkey-cli title="Worker"
1) "jobs"
2) "mail"
127.0.0.1:6379> LLEN jobs
(integer) 0
```
"""

CHANNEL = """\
```valkey-cli title="Subscriber"
127.0.0.1:6379> SUBSCRIBE news
1) "subscribe"
2) "news"
3) (integer) 1
```

```valkey-cli
127.0.0.1:6379> PUBLISH news hello
(integer) 1
127.0.0.1:6379> PUBLISH news again
(integer) 1
```

```valkey-cli title="Subscriber"
1) "message"
2) "news"
3) "hello"
1) "message"
2) "news"
3) "again"
^C
127.0.0.1:6379> PING
PONG
```
"""

MONITOR = """\
```valkey-cli title="Watcher"
127.0.0.1:6379> MONITOR
OK
```

```valkey-cli
127.0.0.1:6379> PING
PONG
```

```valkey-cli title="Watcher"
^C
```
"""

KINDS = [
    "embedded",
    pytest.param(
        "container", marks=pytest.mark.skipif(engine_problem() is not None, reason="no Docker engine answers")
    ),
]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("page", [QUEUE, CHANNEL])
def test_terminals_that_wait_for_each_other(project: Any, page: str, kind: str) -> None:
    project.page(page)
    project.verify(f"--valkey-server={kind}").assert_outcomes(passed=3)


def test_a_blocked_command_can_be_interrupted(project: Any) -> None:
    page = "```valkey-cli\n127.0.0.1:6379> BLPOP jobs 0\n^C\n```\n\n```valkey-cli\n127.0.0.1:6379> PING\nPONG\n```\n"
    project.page(page)
    project.verify().assert_outcomes(passed=2)


@pytest.mark.parametrize(
    ("page", "old", "new", "line"),
    [
        (QUEUE, '2) "mail"', '2) "male"', 11),
        (QUEUE, "BLPOP jobs 0\n", "LPOP jobs\n", 2),  # it does not block
        (CHANNEL, "3) (integer) 1", "3) (integer) 2", 2),
        (CHANNEL, '3) "again"', '3) "once"', 16),
        (CHANNEL, "127.0.0.1:6379> PUBLISH news again\n(integer) 1\n", "", 14),  # missing
        (CHANNEL, '1) "message"\n2) "news"\n3) "again"\n', "", 19),  # one too many
        (MONITOR, "^C", '1) "x"\n^C', 12),
    ],
)
def test_a_wrong_missing_or_extra_message_is_caught(
    refuses: Callable[..., str], page: str, old: str, new: str, line: int
) -> None:
    said = refuses(page.replace(old, new, 1), "--valkey-deadline=4")
    assert f"docs/page.md:{line}: Valkey" in said
    assert said.count("docs/page.md:") >= 1
    assert "1 failed" in said


def test_a_command_that_should_block_but_replies(refuses: Callable[..., str]) -> None:
    said = refuses(QUEUE.replace("BLPOP jobs 0", "LPOP jobs"), "--valkey-deadline=30")
    assert "docs/page.md:2: Valkey" in said
    assert "+ (nil)" in said


@pytest.mark.parametrize(
    ("page", "line", "says"),
    [
        (QUEUE.split('```valkey-cli title="Producer"', maxsplit=1)[0], 2, "ends with `Worker` still blocked"),
        (QUEUE.replace('1) "jobs"\n2) "mail"\n', ""), 11, "line 2 still blocks this terminal"),
        ('```valkey-cli\n1) "x"\n```\n', 2, "begins with a prompt"),
        (
            "```valkey-cli\n127.0.0.1:6379> SUBSCRIBE a\n1) x\n127.0.0.1:6379> PING\nPONG\n```\n",
            2,
            "keeps its terminal",
        ),
    ],
)
def test_a_terminal_that_cannot_be_where_the_page_has_it(
    refuses: Callable[..., str], page: str, line: int, says: str
) -> None:
    said = refuses(page)
    assert f"docs/page.md:{line}: " in said
    assert says in said


def test_a_terminal_that_takes_its_time_to_die(project: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def too_slow(process: ptyprocess.PtyProcess, force: bool = False) -> bool:  # noqa: FBT001, FBT002  as there
        process.kill(signal.SIGKILL)
        return False

    monkeypatch.setattr(ptyprocess.PtyProcess, "terminate", too_slow)
    monkeypatch.setattr(ptyprocess.PtyProcess, "isalive", lambda _: True)
    project.page(CHANNEL)
    project.verify().assert_outcomes(passed=CHANNEL.count("```valkey-cli"))
