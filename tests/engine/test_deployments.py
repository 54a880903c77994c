"""Pages with several servers: replication, Sentinel, a cluster; embedded and in containers."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from valkey_doctest.docker_commands import parse
from valkey_doctest.names import Names
from valkey_doctest.reaper import Reaper
from valkey_doctest.servers.choose import choose
from valkey_doctest.servers.container import engine_problem
from valkey_doctest.session import Session

EMBEDDED = (("embedded", "8.1"), ("embedded", "9.1"))
needs_docker = pytest.mark.skipif(engine_problem() is not None, reason="no Docker engine answers")
CONTAINERS = tuple(pytest.param("container", version, marks=needs_docker) for version in ("8.0", "8.1", "9.1"))
KINDS = ["embedded", pytest.param("container", marks=needs_docker)]
everywhere = pytest.mark.parametrize(("kind", "version"), [*EMBEDDED, *CONTAINERS])

REPLICATION = """\
---
deployment: replication
---

```valkey-cli
127.0.0.1:6379> SET greeting "Hello Valkey"
OK
127.0.0.1:6379> WAIT 2 5000
(integer) 2
127.0.0.1:6379> ROLE
1) "master"
2) (integer) 123  <!-- 1..100000 -->
3) 1) 1) "127.0.0.1"
      2) "6380"
      3) "123"  <!-- 1..100000 -->
   2) 1) "127.0.0.1"
      2) "6381"
      3) "123"  <!-- 1..100000 -->
127.0.0.1:6379> CONFIG GET port
1) "port"
2) "6379"
```

```console {title="Replica"}
$ docker exec -it valkey-replica-1 valkey-cli -p 6380
```

```valkey-cli title="Replica"
127.0.0.1:6380> GET greeting
"Hello Valkey"
127.0.0.1:6380> SET greeting "Hello replica"
(error) READONLY You can't write against a read only replica.
127.0.0.1:6380> ROLE
1) "slave"
2) "127.0.0.1"
3) (integer) 6379
4) "connected"
5) (integer) 123  <!-- 1..100000 -->
```

```console
$ docker exec valkey-replica-2 valkey-cli -p 6381 GET greeting
Hello Valkey
$ docker kill valkey-replica-1
valkey-replica-1
$ docker exec valkey-primary valkey-cli INCR visits
1
$ docker start valkey-replica-1
valkey-replica-1
$ docker exec valkey-primary valkey-cli WAIT 2 5000
2
$ docker exec valkey-replica-1 valkey-cli -p 6380 GET visits
1
```

```python
import valkey

primary, replica = valkey.Valkey(port=6379), valkey.Valkey(host="localhost", port=6381, decode_responses=True)
primary.set("from", "Python")
primary.wait(2, 5000)
print(replica.get("from"), replica.info("replication")["master_port"])
```

```text title="Output"
Python 6379
```

```console
$ docker pause valkey-replica-2
valkey-replica-2
```

```valkey-cli
127.0.0.1:6379> INCR visits
(integer) 2
127.0.0.1:6379> WAIT 2 100
(integer) 1
```

```console
$ docker unpause valkey-replica-2
valkey-replica-2
$ docker exec valkey-replica-2 valkey-cli -p 6381 REPLICAOF NO ONE
OK
$ docker exec valkey-replica-2 valkey-cli -p 6381 REPLICAOF 127.0.0.1 6380
OK
$ docker stop valkey-primary
valkey-primary
```

```console {title="Replica 2"}
$ docker exec -it valkey-replica-2 valkey-cli -p 6381
```

```valkey-cli title="Replica 2"
127.0.0.1:6381> CONFIG GET replicaof
1) "replicaof"
2) "127.0.0.1 6380"
```
"""

SENTINEL = """\
---
deployment: sentinel
---

```valkey-cli
127.0.0.1:6379> SET greeting "Hello Valkey"
OK
```

```console {title="Sentinel"}
$ docker exec -it valkey-sentinel-1 valkey-cli -p 26379
```

```valkey-cli title="Sentinel"
127.0.0.1:26379> SENTINEL GET-MASTER-ADDR-BY-NAME mymaster
1) "127.0.0.1"
2) "6379"
127.0.0.1:26379> SENTINEL CKQUORUM mymaster
OK 3 usable Sentinels. Quorum and failover authorization can be reached
```

```python
import time
import valkey

sentinel = valkey.Sentinel([("127.0.0.1", port) for port in (26379, 26380, 26381)], socket_timeout=1)
print(sentinel.discover_master("mymaster"))
client = sentinel.master_for("mymaster", decode_responses=True)
print(client.get("greeting"))
client.wait(2, 5000)
```

```text title="Output"
('127.0.0.1', 6379)
Hello Valkey
```

```console
$ docker kill valkey-primary
valkey-primary
```

```python
until = time.monotonic() + 50
while time.monotonic() < until:
    try:
        client.set("visits", 1)
        new = sentinel.discover_master("mymaster")
        if new != ("127.0.0.1", 6379):
            break
    except valkey.ValkeyError:
        time.sleep(0.05)
info = client.info("replication")
print(info["role"], client.get("greeting"), client.get("visits"))
print(new in {("127.0.0.1", 6380), ("127.0.0.1", 6381)})
```

```text title="Output"
master Hello Valkey 1
True
```

```console
$ docker start valkey-primary
valkey-primary
```

```python
old = valkey.Valkey(port=6379, decode_responses=True)
until = time.monotonic() + 50
while time.monotonic() < until:
    try:
        info = old.info("replication")
        if info["role"] == "slave" and info["master_link_status"] == "up":
            break
    except valkey.ValkeyError:
        pass
    time.sleep(0.05)
print(info["role"], info["master_port"] == new[1], old.get("visits"))
```

```text title="Output"
slave True 1
```
"""

CLUSTER = """\
---
deployment: cluster
---

```valkey-cli
127.0.0.1:7001> CLUSTER KEYSLOT foo
(integer) 12182
127.0.0.1:7001> SET foo bar
(error) MOVED 12182 127.0.0.1:7003
127.0.0.1:7001> SET {user1}:name Ada
(error) MOVED 8106 127.0.0.1:7002
```

```console
$ docker exec -it valkey-node-1 valkey-cli -c -p 7001
```

```valkey-cli
127.0.0.1:7001> SET foo bar
-> Redirected to slot [12182] located at 127.0.0.1:7003
OK
127.0.0.1:7003> GET foo
"bar"
127.0.0.1:7003> CLUSTER SLOTS
1) 1) (integer) 0
   2) (integer) 5460
   3) 1) "127.0.0.1"
      2) (integer) 7001
      3) "18ba4966a56a1c3c4909bdb69b4e9353a4da36cd"  <!-- hex 40 -->
      4) (empty array)
   4) 1) "127.0.0.1"
      2) (integer) 7004
      3) "28ba4966a56a1c3c4909bdb69b4e9353a4da36cd"  <!-- hex 40 -->
      4) (empty array)
2) 1) (integer) 5461
   2) (integer) 10922
   3) 1) "127.0.0.1"
      2) (integer) 7002
      3) "38ba4966a56a1c3c4909bdb69b4e9353a4da36cd"  <!-- hex 40 -->
      4) (empty array)
   4) 1) "127.0.0.1"
      2) (integer) 7005
      3) "48ba4966a56a1c3c4909bdb69b4e9353a4da36cd"  <!-- hex 40 -->
      4) (empty array)
3) 1) (integer) 10923
   2) (integer) 16383
   3) 1) "127.0.0.1"
      2) (integer) 7003
      3) "58ba4966a56a1c3c4909bdb69b4e9353a4da36cd"  <!-- hex 40 -->
      4) (empty array)
   4) 1) "127.0.0.1"
      2) (integer) 7006
      3) "68ba4966a56a1c3c4909bdb69b4e9353a4da36cd"  <!-- hex 40 -->
      4) (empty array)
127.0.0.1:7003> CLUSTER REPLICAS 58ba4966a56a1c3c4909bdb69b4e9353a4da36cd
1) "68ba4966a56a1c3c4909bdb69b4e9353a4da36cd 127.0.0.1:7006@17006 slave 58ba4966a56a1c3c4909bdb69b4e9353a4da36cd 0 1795473875707 3 connected"  <!-- 1000000000000..9999999999999, 1..9 -->
```

```console
$ docker exec valkey-node-4 valkey-cli -p 7001 CLUSTER COUNTKEYSINSLOT 12182
0
$ docker exec valkey-node-4 valkey-cli -c -p 7001 GET foo
bar
```

```python
import asyncio
import time
import valkey
import valkey.asyncio
from valkey.asyncio.cluster import ValkeyCluster as AsyncCluster
from valkey.cluster import ValkeyCluster

cluster = ValkeyCluster(host="127.0.0.1", port=7001, decode_responses=True)
print(cluster.get("foo"), cluster.get_node_from_key("foo").port)


async def main():
    client = AsyncCluster.from_url("valkey://localhost:7002", decode_responses=True)
    print(await client.get("foo"))
    await client.aclose()
    one = valkey.asyncio.Valkey(port=7003, decode_responses=True)
    print(await one.get("foo"))
    await one.aclose()


asyncio.run(main())
cluster.execute_command("WAIT", 1, 5000, target_nodes=cluster.get_node_from_key("foo"))
```

```text title="Output"
bar 7003
bar
bar
```

```console
$ docker kill valkey-node-3
valkey-node-3
```

```python
replica = valkey.Valkey(port=7006, decode_responses=True)
until = time.monotonic() + 50
while time.monotonic() < until and replica.role()[0] != "master":
    time.sleep(0.05)
while time.monotonic() < until:
    try:
        print(cluster.get("foo"), cluster.get_node_from_key("foo").port)
        break
    except valkey.ValkeyError:
        time.sleep(0.05)
```

```text title="Output"
bar 7006
```

```console
$ docker start valkey-node-3
valkey-node-3
$ docker exec valkey-node-3 valkey-cli -p 7003 GET foo
MOVED 12182 127.0.0.1:7006

```
"""  # noqa: E501  a node is one line


def verify(project: Any, page: str, kind: str, version: str) -> Any:
    project.page(page)
    result = project.verify(f"--valkey-server={kind}", f"--valkey-version={version}")
    result.assert_outcomes(passed=page.count("```") // 2)
    return result


@everywhere
def test_a_page_on_replication(project: Any, kind: str, version: str) -> None:
    verify(project, REPLICATION, kind, version)
    assert {run["deployment"] for fence in project.record() for run in fence["runs"]} == {"replication"}


@everywhere
def test_a_page_on_sentinel_survives_its_primary(project: Any, kind: str, version: str) -> None:
    started = time.monotonic()
    verify(project, SENTINEL, kind, version)
    assert time.monotonic() - started < 60  # 7 on an idle machine, 10 more if the first election finds no leader


@everywhere
def test_a_page_on_a_cluster(project: Any, kind: str, version: str) -> None:
    verify(project, CLUSTER, kind, version)


REPLICAOF = """\
---
deployment: replication
---

```console
$ docker exec -it valkey-replica-2 valkey-cli -p 6381
```

```valkey-cli
127.0.0.1:6381> REPLICAOF 127.0.0.1 6380
OK
127.0.0.1:6381> CONFIG GET replicaof
1) "replicaof"
2) "127.0.0.1 6380"
127.0.0.1:6381> REPLICAOF NO ONE
OK
127.0.0.1:6381> SET port 6379
OK
127.0.0.1:6381> STRLEN port
(integer) 4
127.0.0.1:6381> MIGRATE 127.0.0.1 6379 port 0 5000
OK
127.0.0.1:6381> EXISTS port
(integer) 0
```

```python
import valkey

primary, moved = valkey.Valkey(decode_responses=True), valkey.Valkey(port=6381)
assert primary.get("port") == "6379"
assert [address[:2] for address in primary.role()[2]] == [["127.0.0.1", "6380"]]
moved.replicaof("127.0.0.1", 6379)
assert moved.role()[1:3] == [b"127.0.0.1", 6379]
```

```console
$ docker pause valkey-primary
valkey-primary
$ docker stop valkey-replica-1
valkey-replica-1
$ docker rm -fv valkey-primary
valkey-primary
$ echo still here
still here
```
"""

QUORUM = """\
---
deployment: sentinel
---

```python
import asyncio
import valkey
from valkey.asyncio import Sentinel


async def main():
    sentinel = Sentinel([("127.0.0.1", 26379)])
    print(await sentinel.discover_master("mymaster"))
    print(sorted(await sentinel.discover_slaves("mymaster")))


asyncio.run(main())
```

```text title="Output"
('127.0.0.1', 6379)
[('127.0.0.1', 6380), ('127.0.0.1', 6381)]
```

```console
$ docker restart valkey-sentinel-3
valkey-sentinel-3
$ docker exec valkey-sentinel-3 valkey-cli -p 26381 SENTINEL GET-MASTER-ADDR-BY-NAME mymaster
127.0.0.1
6379
$ docker exec valkey-sentinel-3 valkey-cli -p 26381 SENTINEL MONITOR again 127.0.0.1 6379 2
OK
$ docker exec valkey-sentinel-3 valkey-cli -p 26381 SENTINEL GET-MASTER-ADDR-BY-NAME again
127.0.0.1
6379
$ docker kill valkey-sentinel-1
valkey-sentinel-1
$ docker kill valkey-sentinel-2
valkey-sentinel-2
```
"""

MANUAL = """\
---
deployment: cluster
---

```python
import time
import valkey

node = valkey.Valkey(port=7001, decode_responses=True)
try:
    node.get("foo")
except valkey.ResponseError as error:
    print(error)
nodes = node.execute_command("CLUSTER NODES")
print(sorted(nodes) == [f"127.0.0.1:{port}" for port in range(7001, 7007)], nodes["127.0.0.1:7006"]["flags"])
shards = node.execute_command("CLUSTER SHARDS")
print(sorted(member[member.index("port") + 1] for shard in shards for member in shard[3]))
```

```text title="Output"
MOVED 12182 127.0.0.1:7003
True slave
[7001, 7002, 7003, 7004, 7005, 7006]
```

```console
$ docker exec valkey-node-1 valkey-cli -p 7006 CLUSTER FAILOVER
OK
$ docker exec valkey-node-2 valkey-cli -p 7002 CLUSTER MEET 127.0.0.1 7001
OK
$ docker exec valkey-node-2 valkey-cli --cluster call 127.0.0.1:7001 PING
>>> Calling PING  <!-- any order -->
127.0.0.1:7001: PONG
127.0.0.1:7002: PONG
127.0.0.1:7003: PONG
127.0.0.1:7004: PONG
127.0.0.1:7005: PONG
127.0.0.1:7006: PONG
```

```python
new = valkey.Valkey(port=7006)
until = time.monotonic() + 10
while new.role()[0] != b"master" and time.monotonic() < until:
    time.sleep(0.02)
print(new.set("foo", "bar"))
```

```text title="Output"
True
```
"""


@everywhere
def test_commands_name_servers_by_their_documented_addresses(project: Any, kind: str, version: str) -> None:
    verify(project, REPLICAOF, kind, version)


@everywhere
def test_sentinels_stop_and_return(project: Any, kind: str, version: str) -> None:
    verify(project, QUORUM, kind, version)


@everywhere
def test_a_cluster_is_told_to_change(project: Any, kind: str, version: str) -> None:
    verify(project, MANUAL, kind, version)


@pytest.mark.parametrize(
    ("line", "said"),
    [
        (
            "docker exec valkey-node-2 valkey-cli PING",
            "asks at port 6379, where valkey-node-2 does not listen: add `-p",
        ),
        ("docker exec valkey-dev valkey-cli PING", "no server is called valkey-dev here, only valkey-node-1, valkey-"),
        ("docker unpause valkey-node-1\nvalkey-node-1\n$ docker exec valkey-node-1 valkey-cli -p 7001 PONG", "ERR"),
    ],
)
def test_what_is_wrong_is_said(refuses: Any, line: str, said: str) -> None:
    assert said in refuses(f"---\ndeployment: cluster\n---\n\n```console\n$ {line}\n```\n")


RESTART = """\
---
deployment: replication
---

```console
$ docker restart valkey-primary
valkey-primary
```

```valkey-cli
127.0.0.1:6379> SET visits 1
OK
127.0.0.1:6379> WAIT 2 1000
(integer) 2
```

```console
$ docker kill valkey-replica-1
valkey-replica-1
```

```valkey-cli
127.0.0.1:6379> INCR visits
(integer) 3
```
"""


@pytest.mark.parametrize("kind", KINDS)
def test_a_server_that_the_page_stopped_is_no_fault(project: Any, kind: str) -> None:
    project.page(RESTART)
    result = project.verify(f"--valkey-server={kind}", "--valkey-version=9.1")
    result.assert_outcomes(passed=3, failed=1)
    assert "last words" not in result.stdout.str()


@pytest.fixture(params=KINDS)
def cluster(request: pytest.FixtureRequest, reaper: Reaper) -> Iterator[Session]:
    (provider,) = choose(request.param, ["9.1"], "valkey/valkey", reaper)
    session = Session(provider, reaper, "cluster", deadline=10)
    yield session
    session.close()


def test_the_prompt_says_which_server(cluster: Session) -> None:
    assert cluster.terminal("", 7005).send("PING").prompt == cluster.names.to_real("127.0.0.1:7005") + "> "
    assert cluster.names.to_documented(cluster.terminal("").send("PING").prompt) == "127.0.0.1:7005> "
    assert cluster.names.to_documented(cluster.terminal("2").send("PING").prompt) == "127.0.0.1:7001> "
    assert cluster.names.to_documented(cluster.terminal("3", 6379).send("PING").prompt) == "127.0.0.1:7001> "
    assert cluster.server_at(7005) is cluster.server("valkey-node-5")
    assert cluster.server_at(6379) is None


def test_a_cluster_is_ready_soon(cluster: Session) -> None:
    started = time.monotonic()
    cluster.server()
    assert time.monotonic() - started < 10  # 3 on an idle machine


INTERRUPTED = """\
import sys, time
from valkey_doctest.reaper import Reaper
from valkey_doctest.servers.choose import choose
from valkey_doctest.session import Session

reaper = Reaper()
(provider,) = choose(sys.argv[1], ["9.1"], "valkey/valkey", reaper)
session = Session(provider, reaper, "sentinel", deadline=10)
print(session.token, flush=True)
session.server()
time.sleep(60)
"""


@pytest.mark.skipif(not Path("/proc/self/cwd").exists(), reason="this system has no /proc to look into")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
@pytest.mark.parametrize("seconds", [0.3, 0.9, 4.0])
@pytest.mark.parametrize("kind", KINDS)
def test_an_ended_run_leaves_nothing(tmp_path: Path, kind: str, seconds: float, number: signal.Signals) -> None:
    run = subprocess.Popen(
        [sys.executable, "-c", INTERRUPTED, kind],
        env={**os.environ, "TMPDIR": str(tmp_path)},
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    assert run.stdout
    token = run.stdout.readline().strip()
    time.sleep(seconds)
    run.send_signal(number)
    run.communicate()
    end = time.monotonic() + 30
    while left := [*left_behind(tmp_path), *(containers(token) if kind == "container" else ())]:
        assert time.monotonic() < end, left
        time.sleep(0.1)
    time.sleep(1)  # a container that was asked for before the end could still come
    assert kind == "embedded" or not containers(token)


def containers(token: str) -> list[str]:
    asked = ["docker", "ps", "--all", "--quiet", "--filter", f"name=-{token}"]
    return subprocess.run(asked, capture_output=True, text=True, check=True).stdout.split()


def left_behind(folder: Path) -> list[str]:
    """Files in a folder, and processes that work there."""
    found = [path.name for path in folder.iterdir()]
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            if (process / "cwd").readlink().is_relative_to(folder):
                found.append((process / "cmdline").read_text())
    return found


def test_addresses_are_translated_and_data_is_not() -> None:
    names = Names()
    names.port(7001, 21001)
    for text, real in {
        "CLUSTER MEET 127.0.0.1 7001": "CLUSTER MEET 127.0.0.1 21001",
        'CLUSTER MEET "127.0.0.1" "7001"': 'CLUSTER MEET "127.0.0.1" "21001"',
        "valkey-cli -p 7001 --cluster check localhost:7001": "valkey-cli -p 21001 --cluster check localhost:21001",
        "SET port 7001": "SET port 7001",
        "SET 10.127.0.0.1 7001": "SET 10.127.0.0.1 7001",
        "MIGRATE 127.0.0.1 7002 7001 0 5000": "MIGRATE 127.0.0.1 7002 7001 0 5000",
        "DEL 127.0.0.1:70011 x-p 7001": "DEL 127.0.0.1:70011 x-p 7001",
    }.items():
        assert names.to_real(text) == real
        assert names.to_documented(real) == text
    assert names.arguments_to_real(["-p", "7001", "GET", "7001"]) == ["-p", "21001", "GET", "7001"]


def test_what_opens_a_terminal() -> None:
    opened = parse("docker exec -it valkey-node-1 valkey-cli -c -p 7001")
    assert opened
    assert (opened.verb, opened.arguments) == ("open", ("-c", "-p", "7001"))
    assert parse("docker exec -it valkey-node-1 valkey-cli -p 7001 GET a") is None
    assert parse("docker exec -it valkey-node-1 valkey-cli -p") is None
