"""Reading from replicas and watching them, on a primary with two replicas."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import valkey

from valkey_doctest.reaper import Reaper
from valkey_doctest.servers import Server, deployments, wait_for
from valkey_doctest.servers.embedded import EmbeddedProvider, EmbeddedServer, server_binaries
from valkey_doctest.session import SHIM

FOLDER = Path(__file__).parents[2] / "snippets" / "replication"
PATIENCE = 20.0  # seconds, never used up unless something is broken


@pytest.fixture(scope="module")
def servers() -> Iterator[Mapping[str, Server]]:
    """A primary and two replicas, by their documented names."""
    reaper = Reaper()
    version = max(server_binaries(), key=lambda each: [int(part) for part in each.split(".")])
    network, started = deployments.start("replication", EmbeddedProvider(version, reaper), "test", str)
    yield started
    network.remove()
    reaper.close()


def connect(server: Server) -> Any:
    return valkey.Valkey(host="127.0.0.1", port=server.port, decode_responses=True, socket_timeout=2)


@pytest.fixture
def clients(servers: Mapping[str, Server]) -> Iterator[list[Any]]:
    """Of the primary and its replicas, empty and linked."""
    made = [connect(server) for server in servers.values()]
    made[0].flushall()
    assert made[0].wait(2, int(PATIENCE * 1_000)) == 2
    yield made
    for client in made:
        client.close()


@pytest.fixture
def paused(servers: Mapping[str, Server]) -> Iterator[Callable[[str], None]]:
    """Let a server stand still until the end of the test."""
    stopped: list[EmbeddedServer] = []

    def pause(name: str) -> None:
        server = servers[name]
        assert isinstance(server, EmbeddedServer)
        server.pause()
        stopped.append(server)

    yield pause
    for server in stopped:
        server.unpause()


@pytest.fixture(scope="module")
def fresh(snippet: Callable[[str], ModuleType]) -> ModuleType:
    return snippet("replication/fresh.py")


@pytest.fixture(scope="module")
def lag(snippet: Callable[[str], ModuleType]) -> ModuleType:
    return snippet("replication/lag.py")


def linked(server: Server) -> bool:
    with connect(server) as client:
        return bool(client.info("replication").get("master_link_status", "up") == "up")


@pytest.fixture
def chain(servers: Mapping[str, Server], clients: list[Any]) -> Iterator[None]:
    """Replica 2 copies from replica 1, so that it can be behind and answer."""
    _, _, second = clients
    second.replicaof("127.0.0.1", servers["valkey-replica-1"].port)
    wait_for([servers["valkey-replica-2"]], linked, "no link", PATIENCE)
    yield
    second.replicaof("127.0.0.1", servers["valkey-primary"].port)
    wait_for([servers["valkey-replica-2"]], linked, "no link", PATIENCE)


def test_who_has_written_never_reads_an_older_value(fresh: ModuleType, clients: list[Any]) -> None:
    store = fresh.FreshStore(clients[0], clients[1:])
    wrong: list[str] = []

    def work(name: str) -> None:
        for number in range(100):
            mark = store.write(f"price:{name}", str(number))
            value, _ = store.read(f"price:{name}", mark)
            if value != str(number):
                wrong.append(f"{name}: wrote {number}, read {value}")

    threads = [threading.Thread(target=work, args=(name,)) for name in ("tea", "coffee", "cocoa")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE)
    assert wrong == []


def test_a_replica_that_has_the_write_answers(fresh: ModuleType, clients: list[Any]) -> None:
    store = fresh.FreshStore(clients[0], clients[1:])
    mark = store.write("price:tea", "330")
    clients[0].set("after", 1)
    assert clients[0].wait(2, int(PATIENCE * 1_000)) == 2
    assert store.read("price:tea", mark) == ("330", "a replica")


@pytest.mark.usefixtures("chain")
def test_a_replica_that_is_behind_is_passed_over(
    fresh: ModuleType, clients: list[Any], paused: Callable[[str], None]
) -> None:
    primary, _, behind = clients
    store = fresh.FreshStore(primary, [behind])
    mark = store.write("price:tea", "300")
    while store.read("price:tea", mark)[1] != "a replica":
        pass  # it comes
    paused("valkey-replica-1")
    mark = store.write("price:tea", "330")
    assert store.read("price:tea") == ("300", "a replica")
    assert store.read("price:tea", mark) == ("330", "the primary")


def test_offsets_of_another_history_do_not_count(fresh: ModuleType, clients: list[Any]) -> None:
    primary, replica, _ = clients
    store = fresh.FreshStore(primary, [replica])
    mark = store.write("price:tea", "300")
    foreign = fresh.Mark("0" * 40, 0)
    assert store.read("price:tea", foreign)[1] == "the primary"
    assert mark.history != foreign.history


def test_replicas_that_do_not_answer_are_passed_over(fresh: ModuleType, clients: list[Any], nobody: int) -> None:
    store = fresh.FreshStore(clients[0], [fresh.connect(nobody)])
    mark = store.write("price:tea", "300")
    assert store.read("price:tea", mark) == ("300", "the primary")


def test_a_replica_that_became_a_primary_is_not_asked(fresh: ModuleType, clients: list[Any]) -> None:
    store = fresh.FreshStore(clients[1], [clients[0]])
    clients[0].set("price:tea", "1")
    assert clients[0].wait(2, int(PATIENCE * 1_000)) == 2
    assert store.read("price:tea") == ("1", "the primary")


def test_lag_grows_while_a_replica_stands_still(
    lag: ModuleType, clients: list[Any], paused: Callable[[str], None]
) -> None:
    before = lag.lags(clients[0])
    assert [each.is_good for each in before] == [True, True]
    paused("valkey-replica-2")
    for number in range(12):
        clients[0].set(f"photo:{number}", "x" * 100_000)
    clients[0].wait(1, int(PATIENCE * 1_000))
    good, behind = lag.lags(clients[0])
    assert good.bytes_behind < 100_000
    assert behind.bytes_behind >= 1_200_000
    assert (good.is_good, behind.is_good) == (True, False)


def run(program: str, ports: Mapping[int, int], folder: Path) -> subprocess.CompletedProcess[str]:
    pairs = " ".join(f"{documented}:{real}" for documented, real in ports.items())
    return subprocess.run(
        [sys.executable, FOLDER / program],
        env={"PYTHONPATH": str(SHIM), "VALKEY_DOCTEST_PORTS": pairs, "VALKEY_DOCTEST_ANNOUNCED": "yes"},
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )


def test_they_say_how_it_is(servers: Mapping[str, Server], clients: list[Any], tmp_path: Path) -> None:
    ports = {server.documented_port: server.port for server in servers.values()}
    done = run("lag.py", ports, tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "2 of 2 replicas are good"
    done = run("fresh.py", ports, tmp_path)
    assert (done.returncode, done.stdout) == (0, "100 prices written and read, none was old\n")
    done = run("lag.py", {6379: ports[6380]}, tmp_path)
    assert (done.returncode, "ask its primary" in done.stderr) == (1, True)


def test_too_few_replicas_are_an_exit_status(
    lag: ModuleType, clients: list[Any], monkeypatch: pytest.MonkeyPatch, servers: Mapping[str, Server]
) -> None:
    monkeypatch.setattr(lag, "EXPECTED", 3)
    primary = connect(servers["valkey-primary"])
    monkeypatch.setattr(valkey, "Valkey", lambda **_: primary)
    assert lag.main() == 2


@pytest.mark.parametrize("program", ["lag.py", "fresh.py"])
def test_without_a_server_they_say_so(program: str, nobody: int, tmp_path: Path) -> None:
    done = run(program, {6379: nobody, 6380: nobody, 6381: nobody}, tmp_path)
    assert done.returncode == 1
    assert "Cannot" in done.stderr
