"""Which commands the pages run: those that transcripts show, and those that servers counted."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

import pytest

from valkey_doctest import listed
from valkey_doctest.servers import Server, ask

TRANSCRIPT = """\
```valkey-cli
127.0.0.1:6379> SET visits 41
OK
127.0.0.1:6379> 2 INCR visits
(integer) 42
(integer) 43
```

"""
PYTHON = """\
```python
import valkey

client = valkey.Valkey(decode_responses=True)
{}
```

"""


def ran(project: Any) -> list[list[str]]:
    """What servers counted, fence by fence; what the client library itself sends aside."""
    return [
        [name for name in fence["runs"][0]["ran"] if name not in ("CLIENT SETINFO", "HELLO")]
        for fence in project.record()
    ]


def whole(project: Any) -> dict[str, Any]:
    """The record."""
    said: dict[str, Any] = json.loads((project.root / "build/verified.json").read_text("utf-8"))
    return said


def audit(project: Any, *options: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "valkey_doctest.audit", "docs", *options],
        cwd=project.root,
        capture_output=True,
        text=True,
        check=False,
    )


def test_python_consoles_programs_and_scripts_are_counted(project: Any) -> None:
    (project.root / "program.py").write_text('import valkey\n\nvalkey.Valkey().zadd("board", {"ann": 1})\n', "utf-8")
    project.page(
        TRANSCRIPT
        + PYTHON.format('with client.pipeline() as pipe:\n    pipe.lpush("l", 1)\n    pipe.execute()')
        + "```pycon\n>>> client.config_get(\"maxmemory\")\n{'maxmemory': '0'}\n```\n\n"
        + "```console\n$ docker exec valkey-dev valkey-cli OBJECT ENCODING visits\nint\n```\n\n"
        + '```python title="program.py"\n--8<-- "program.py"\n```\n\n'
        + "```console\n$ python program.py\n```\n\n"
        + "```valkey-cli\n127.0.0.1:6379> EVAL \"return redis.call('HSET', KEYS[1], 'f', 1)\" 1 h\n(integer) 1\n```\n"
    )
    project.verify().assert_outcomes(passed=7)
    assert project.record()[0]["commands"] == ["SET", "INCR"]
    assert ran(project) == [[], ["EXEC", "LPUSH", "MULTI"], ["CONFIG GET"], ["OBJECT ENCODING"], [], ["ZADD"], ["HSET"]]


def test_what_the_engine_sends_is_not_counted(project: Any) -> None:
    """Neither what starts a server or a terminal, nor what looks whether one blocks, nor the looks themselves."""
    project.page(
        PYTHON.format("pass")
        + '```valkey-cli title="Worker"\n127.0.0.1:6379> BLPOP jobs 0\n```\n\n'
        + PYTHON.format("pass") * 2
        + '```valkey-cli\n127.0.0.1:6379> EVAL "return 1" 0\n(integer) 1\n'
        + "127.0.0.1:6379> RPUSH jobs a\n(integer) 1\n```\n\n"
        + '```valkey-cli title="Worker"\n1) "jobs"\n2) "a"\n```\n\n'
        + "```console\n$ docker exec -it valkey-dev valkey-cli\n```\n"
    )
    project.verify("--valkey-version=8.1", "--valkey-version=9.1")
    for fence in project.record():
        for run in fence["runs"]:
            assert run["verdict"] == "passed"
            assert set(run["ran"]) <= {"BLPOP"}  # it ends when the fence with EVAL feeds it


def test_counts_that_are_reset_or_start_again_are_followed(project: Any) -> None:
    restart = "$ docker restart valkey-dev\nvalkey-dev\n"
    project.page(
        PYTHON.format('client.set("a", 1)\nclient.set("a", 2)')
        + PYTHON.format('client.config_resetstat()\nclient.set("a", 3)')
        + PYTHON.format('client.config_resetstat()\nclient.get("a")')
        + f"```console\n$ docker exec valkey-dev valkey-cli TTL a\n-1\n{restart}"
        "$ docker exec valkey-dev valkey-cli STRLEN a\n1\n```\n\n"
        + PYTHON.format("client.dbsize()")
        + "```console\n$ docker kill valkey-dev\nvalkey-dev\n$ docker start valkey-dev\nvalkey-dev\n```\n\n"
        + PYTHON.format("client.randomkey()")
    )
    project.verify()
    fences = project.record()
    assert [run["verdict"] for fence in fences for run in fence["runs"]] == ["passed"] * 7
    assert ran(project)[:3] == [["SET"], ["CONFIG RESETSTAT", "SET"], ["CONFIG RESETSTAT", "GET"]]
    assert fences[3]["commands"] == ["TTL", "STRLEN"]
    assert ran(project)[3:] == [[], ["DBSIZE"], [], ["RANDOMKEY"]]


def test_before_a_server_is_stopped_it_is_asked(project: Any) -> None:
    (project.root / "program.py").write_text('import valkey\n\nvalkey.Valkey().append("a", "b")\n', "utf-8")
    project.page(
        '```python title="program.py"\n--8<-- "program.py"\n```\n\n'
        "```console\n$ python program.py\n$ docker stop valkey-dev\nvalkey-dev\n```\n"
    )
    project.verify().assert_outcomes(passed=2)
    assert ran(project) == [[], ["APPEND"]]


def test_nobody_sees_that_servers_are_asked(project: Any) -> None:
    """Neither a MONITOR nor a CLIENT LIST of the page shows it."""
    project.page(
        '```valkey-cli title="Monitor"\n127.0.0.1:6379> MONITOR\nOK\n```\n\n'
        + PYTHON.format("pass")
        + PYTHON.format("print([client['cmd'] for client in client.client_list()])").replace(
            "Valkey(", "Valkey(lib_name=None, lib_version=None, "
        )
        + "```text title=\"Output\"\n['monitor', 'client|list']\n```\n\n"
        + '```valkey-cli title="Monitor"\n^C\n```\n'
    )
    project.verify().assert_outcomes(passed=5)


@pytest.mark.parametrize("deployment", ["replication", "cluster", "sentinel"])
def test_servers_among_themselves_are_not_counted(project: Any, deployment: str) -> None:
    """Replicas count what their primary sends: PEXPIREAT for EXPIRE, DEL for what has expired."""
    port = 7001 if deployment == "cluster" else 6379
    project.page(
        f"---\ndeployment: {deployment}\n---\n\n```python\nimport valkey\n\n"
        f'client = valkey.Valkey(port={port}, decode_responses=True)\nkey = "{{b}}"\n'
        "for _ in range(3):\n    client.set(key, 1)\n    client.pexpire(key, 100)\n```\n\n"
        "```python\nimport time\n\ntime.sleep(0.3)\nclient.get(key)\n```\n"
    )
    project.verify("--valkey-version=8.1", "--valkey-version=9.1").assert_outcomes(passed=4)
    assert [run["ran"] for fence in project.record() for run in fence["runs"]] == [["PEXPIRE", "SET"]] * 2 + [
        ["GET"]
    ] * 2


def test_a_paused_server_is_not_waited_for(project: Any) -> None:
    project.page(
        "---\ndeployment: replication\n---\n\n```console\n$ docker pause valkey-replica-2\nvalkey-replica-2\n```\n\n"
        + PYTHON.format('client.set("a", 1)') * 3
        + "```console\n$ docker unpause valkey-replica-2\nvalkey-replica-2\n```\n"
    )
    project.verify().assert_outcomes(passed=5)
    assert ran(project) == [[], ["SET"], ["SET"], ["SET"], []]
    assert sum(run["seconds"] for fence in project.record()[1:4] for run in fence["runs"]) < 2


def test_a_server_that_refuses_us_is_not_counted_and_fails_nothing(project: Any) -> None:
    project.page(
        TRANSCRIPT
        + "```valkey-cli\n127.0.0.1:6379> CONFIG SET requirepass secret\nOK\n```\n\n"
        + PYTHON.format("").replace("Valkey(", 'Valkey(password="secret", ')
        + "```python\nclient.get('a')\n```\n\n"
    )
    project.verify().assert_outcomes(passed=4)
    assert ran(project) == [[], [], [], []]


def test_the_list_of_commands_is_the_servers_own(project: Any, valkey_server: Server) -> None:
    project.page(TRANSCRIPT)
    project.verify()
    commands = whole(project)["commands"][valkey_server.version]
    names = {name.upper().replace("|", " ") for name in ask(valkey_server.port, "COMMAND LIST")}
    containers = {name.split()[0] for name in names if " " in name}
    assert set(commands) == names - containers
    assert commands["CONFIG GET"]["since"] == "2.0.0"
    assert commands["CONFIG GET"]["group"] == "server"
    assert commands["CONFIG GET"]["summary"].startswith("Returns the effective values")
    assert "O(1)" in commands["GET"]["complexity"]
    assert commands["SLAVEOF"]["flags"] == ["deprecated"]
    assert commands["REPLCONF"]["flags"] == ["syscmd"]


def test_a_version_is_asked_for_its_commands_once(project: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int] = []
    real = listed.commands
    monkeypatch.setattr(listed, "commands", lambda port: asked.append(port) or real(port))  # type: ignore[func-returns-value]
    project.page(TRANSCRIPT, "one.md")
    project.page(TRANSCRIPT, "two.md")
    project.verify("--valkey-version=8.1", "--valkey-version=9.1")
    assert len(asked) == 2
    project.verify("--valkey-version=8.1", "--valkey-version=9.1")
    assert len(asked) == 2
    assert [version[:3] for version in whole(project)["commands"]] == ["8.1", "9.1"]


def test_workers_tell_the_commands_too(project: Any) -> None:
    project.page(TRANSCRIPT + PYTHON.format('client.append("a", "b")'))
    project.verify("-n2").assert_outcomes(passed=2)
    assert ran(project) == [[], ["APPEND"]]
    assert len(whole(project)["commands"]) == 1


def test_the_audit_counts_commands(project: Any) -> None:
    project.page(TRANSCRIPT + PYTHON.format('client.append("a", "b")'))
    project.verify()
    assert "Commands: the record does not say" not in audit(project).stdout
    (project.root / "coverage.yml").write_text("PFDEBUG: for those who test Valkey itself\n", "utf-8")
    done = audit(project)
    total = len(next(iter(whole(project)["commands"].values())))
    last = done.stdout.strip().split("\n")[-1]
    assert f": 4 of {total} run; 1 not, with reasons; {total - 5} not yet." in last  # with CLIENT SETINFO
    assert done.returncode == 0

    done = audit(project, "--all-commands")
    assert done.returncode == 1
    assert "  pubsub: " in done.stderr
    assert "PUBSUB NUMSUB" in done.stderr
    assert "PFDEBUG" not in done.stderr
    assert "APPEND" not in done.stderr
    assert "say why not in coverage.yml" in done.stderr


def test_a_fence_that_is_not_verified_covers_nothing(project: Any) -> None:
    project.page(TRANSCRIPT + "```valkey-cli\n127.0.0.1:6379> APPEND a b\n(integer) 7\n```\n")
    project.verify()
    assert ": 2 of " in audit(project).stdout
    project.page(TRANSCRIPT.replace("SET", "MSET"))
    assert "Commands: the record does not say which there are." in audit(project).stdout


@pytest.mark.parametrize(
    ("reasons", "said"),
    [
        ("# why\nAPPEND: later\nSET: too easy\n", "coverage.yml:3: `SET` is run, at docs/page.md:1. Delete the line."),
        ("GTE: no such\n", "coverage.yml:1: `GTE` is no command of Valkey 9.1"),
        ("CONFIG: a container\n", "coverage.yml:1: `CONFIG` is no command of Valkey 9.1"),
        ("APPEND:\n", "coverage.yml:1: `APPEND` is given no reason."),
        ("APPEND: a\nAPPEND: b\n", "coverage.yml:2: `APPEND` stands here twice."),
        ("- APPEND\n", "coverage.yml:1: a line looks like `PFDEBUG: why it is left out`."),
        ("APPEND: [\n", "coverage.yml: cannot be read: "),
    ],
)
def test_a_reason_has_to_be_needed_and_readable(project: Any, reasons: str, said: str) -> None:
    project.page(TRANSCRIPT)
    project.verify()
    (project.root / "coverage.yml").write_text(reasons, "utf-8")
    done = audit(project)
    assert done.returncode == 1
    assert said in done.stderr
    assert "Traceback" not in done.stderr
