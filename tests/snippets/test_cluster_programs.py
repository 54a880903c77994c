"""The programs of the cluster module, on a cluster of six nodes: slots move, a replica is cut off, a primary dies."""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from types import ModuleType
from typing import Any, NamedTuple

import pytest
import valkey

from valkey_doctest.servers import Provider, deployments
from valkey_doctest.servers.embedded import EmbeddedServer

PATIENCE = 50.0  # seconds, never used up unless something is broken
OPTIONS = (
    *("--cluster-enabled", "yes", "--cluster-node-timeout", "2000"),
    *("--repl-diskless-sync-delay", "0", "--repl-ping-replica-period", "1"),
)
SLOT = 3300  # of the tag b


class Nodes(NamedTuple):
    """Six nodes that the module's program has joined."""

    servers: list[EmbeddedServer]
    clients: list[valkey.Valkey]

    @property
    def ports(self) -> list[int]:
        """Where they really are."""
        return [server.port for server in self.servers]

    def ask(self, node: int, *command: Any) -> Any:
        """What a node replies; they are counted from 1, as on the pages."""
        return self.clients[node - 1].execute_command(*command)  # type: ignore[no-untyped-call]

    def is_whole(self) -> bool:
        """Whether all serve, and each replica has its primary's data."""
        infos = [self.ask(node, "INFO", "replication") for node in range(1, 7)]
        links = [info["master_link_status"] for info in infos if info["role"] == "slave"]
        states = {self.ask(node, "CLUSTER INFO")["cluster_state"] for node in range(1, 7)}
        return links == ["up"] * 3 and states == {"ok"}


def wait_until(condition: Callable[[], bool]) -> None:
    """Ask until it holds; a node that does not answer does not fulfil anything yet."""
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end:
        with suppress(valkey.ValkeyError):
            if condition():
                return
        time.sleep(0.02)
    raise TimeoutError


@pytest.fixture(scope="module")
def join(snippet: Callable[[str], ModuleType]) -> ModuleType:
    return snippet("cluster/join.py")


@pytest.fixture(scope="module")
def nodes(provider: Provider, join: ModuleType) -> Iterator[Nodes]:
    """A cluster, made with join.py."""
    members = [member._replace(arguments=OPTIONS) for member in deployments.NODES]
    network = provider.network("snippets", [member.port for member in members])
    try:
        servers: Any = network.start(members)
        clients = [valkey.Valkey(port=server.port, decode_responses=True, socket_timeout=5) for server in servers]
        each = Nodes(servers, clients)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(join, "PORTS", each.ports)
            assert join.join(clients)
        wait_until(each.is_whole)
        yield each
        for client in clients:
            client.close()  # type: ignore[no-untyped-call]
    finally:
        network.remove()


@pytest.fixture
def writer(snippet: Callable[[str], ModuleType], nodes: Nodes, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    module = snippet("cluster/writer.py")
    monkeypatch.setattr(module, "NODES", [("127.0.0.1", port) for port in nodes.ports])
    module.connect().flushall(target_nodes="primaries")
    return module


@pytest.fixture
def visits(snippet: Callable[[str], ModuleType], nodes: Nodes, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    module = snippet("cluster/visits.py")
    monkeypatch.setattr(module, "PORTS", nodes.ports)
    return module


def test_nodes_are_joined_once_and_shown(
    join: ModuleType, nodes: Nodes, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(join, "PORTS", nodes.ports)
    assert not join.join(nodes.clients)
    assert join.main() == 0
    shown = "".join(
        f"slots {first} to {last}: 127.0.0.1:{nodes.ports[index]}, replica 127.0.0.1:{nodes.ports[index + 3]}\n"
        for index, (first, last) in enumerate(deployments.SLOTS)
    )
    assert capsys.readouterr().out == shown


def test_three_writers_reach_three_primaries(
    writer: ModuleType, nodes: Nodes, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    cluster = writer.connect()
    keys = [writer.Writer(cluster, tag).key(1) for tag in writer.TAGS]
    assert [cluster.get_node_from_key(key).port for key in keys] == nodes.ports[:3]
    monkeypatch.setattr(sys, "argv", ["writer.py", "0.1"])
    assert writer.main() == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.partition(":")[0] for line in lines] == ["{b}", "{c}", "{a}"]
    assert all(", 0 lost, " in line for line in lines)


def test_what_is_gone_is_counted(writer: ModuleType) -> None:
    each = writer.Writer(writer.connect(), "b")
    for number in range(1, 11):
        each.write(number)
    each.acknowledged = 10
    assert each.lost() == []
    each.cluster.delete(each.key(3), each.key(7))
    assert each.lost() == [3, 7]


def by_hand(nodes: Nodes, source: int, target: int) -> None:
    """Move the slot key by key."""
    names = {node: nodes.ask(node, "CLUSTER MYID") for node in (source, target)}
    nodes.ask(target, "CLUSTER SETSLOT", SLOT, "IMPORTING", names[source])
    nodes.ask(source, "CLUSTER SETSLOT", SLOT, "MIGRATING", names[target])
    while keys := nodes.ask(source, "CLUSTER GETKEYSINSLOT", SLOT, 10):
        nodes.ask(source, "MIGRATE", "127.0.0.1", nodes.ports[target - 1], "", 0, 5000, "KEYS", *keys)
    for node in (target, source):
        nodes.ask(node, "CLUSTER SETSLOT", SLOT, "NODE", names[target])


def at_once(nodes: Nodes, source: int, target: int) -> None:
    """Move the slot as Valkey 9.0 can."""
    name = nodes.ask(target, "CLUSTER MYID")
    nodes.ask(source, "CLUSTER MIGRATESLOTS", "SLOTSRANGE", SLOT, SLOT, "NODE", name)
    wait_until(lambda: "success" in nodes.ask(source, "CLUSTER GETSLOTMIGRATIONS")[0])


@pytest.mark.parametrize("move", [by_hand, at_once])
def test_nothing_is_lost_while_a_slot_moves(
    writer: ModuleType, nodes: Nodes, move: Callable[[Nodes, int, int], None]
) -> None:
    each = writer.Writer(writer.connect(), "b")
    each.start()
    each.wait_for(100)
    for source, target in ((1, 2), (2, 1)):
        move(nodes, source, target)
        each.wait_for(50)
        assert each.cluster.get_node_from_key(each.key(1)).port == nodes.ports[target - 1]
    each.stop()
    assert each.acknowledged >= 200
    assert each.lost() == []
    assert not each.errors  # the client follows ASK and MOVED: the program sees nothing


def test_an_entry_that_no_replica_has_is_not_acknowledged(writer: ModuleType, nodes: Nodes) -> None:
    each = writer.Writer(writer.connect(), "b", copies=1)
    each.write(1)
    nodes.ask(1, "ACL SETUSER", "default", "-psync", "-sync")
    try:
        assert nodes.ask(1, "CLIENT KILL", "TYPE", "REPLICA") == 1
        with pytest.raises(valkey.TimeoutError, match="0 of 1"):
            each.write(2)
    finally:
        nodes.ask(1, "ACL SETUSER", "default", "+psync", "+sync")
    each.write_patiently(2)
    assert each.errors.keys() <= {"TimeoutError"}


def test_who_gives_up_says_so(writer: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    each = writer.Writer(writer.connect(), "b", copies=2)  # there is one replica only
    monkeypatch.setattr(writer, "PATIENCE", 0.0)
    with pytest.raises(valkey.TimeoutError, match="1 of 2"):
        each.write_patiently(1)


def test_visitors_are_counted_once(visits: ModuleType, capsys: pytest.CaptureFixture[str]) -> None:
    assert asyncio.run(visits.main()) == 0
    assert asyncio.run(visits.main()) == 0  # the same people again
    lines = [
        "apple: 200 visitors, in slot 5264",
        "milk: 200 visitors, in slot 6399",
        "pear: 200 visitors, in slot 15099",
    ]
    assert capsys.readouterr().out.splitlines() == lines * 2


def test_programs_survive_a_killed_primary(writer: ModuleType, visits: ModuleType, nodes: Nodes) -> None:
    wait_until(nodes.is_whole)
    safe, other = writer.Writer(writer.connect(), "b", copies=1), writer.Writer(writer.connect(), "c")

    async def visit_when_it_is_gone() -> tuple[list[int], dict[str, int]]:
        cluster = visits.connect()
        await visits.record(cluster, "apple", "first")  # its slot is the dying node's
        nodes.servers[0].kill()
        tries = await asyncio.gather(*(visits.record(cluster, "apple", f"reader-{n}") for n in range(20)))
        counts = await visits.totals(cluster, ["apple"])
        await cluster.aclose()
        return list(tries), counts

    for each in (safe, other):
        each.start()
        each.wait_for(100)
    safe.cluster.delete("visitors:apple")
    tries, counts = asyncio.run(visit_when_it_is_gone())
    other.wait_for(50)
    assert nodes.ask(4, "ROLE")[0] == "master"
    nodes.servers[0].start()  # without it there is no replica that could confirm anything
    for each in (safe, other):
        each.wait_for(50)
        each.stop()
    assert safe.lost() == []  # each was confirmed by the replica that took over: this is what the page promises
    assert other.lost() == []  # its primary has not died
    assert safe.errors
    assert safe.longest_pause > 1  # the node timeout is 2 s
    assert min(tries) > 0
    # "first" was acknowledged by the dead primary alone: it may be lost, as the page says. Nobody counts twice.
    assert counts["apple"] in (20, 21)

    wait_until(lambda: nodes.ask(1, "ROLE")[0] == "slave" and nodes.is_whole())

    def is_primary_again() -> bool:
        if nodes.ask(1, "ROLE")[0] == "slave" and time.monotonic() > asked[-1] + 6:
            asked.append(time.monotonic())
            nodes.ask(1, "CLUSTER FAILOVER")  # it tries for 5 s, and then has to be asked again
        return nodes.ask(1, "ROLE")[0] == "master" and nodes.is_whole()

    asked = [float("-inf")]
    wait_until(is_primary_again)
    assert safe.lost() == []


@pytest.mark.parametrize("program", ["writer", "visits", "join"])
def test_without_a_cluster_they_say_so(
    snippet: Callable[[str], ModuleType],
    program: str,
    nobody: int,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    module = snippet(f"cluster/{program}.py")
    monkeypatch.setattr(module, "NODES", [("127.0.0.1", nobody)], raising=False)
    monkeypatch.setattr(module, "PORTS", [nobody] * 6, raising=False)
    monkeypatch.setattr(module, "PATIENCE", 0.0)
    monkeypatch.setattr(sys, "argv", [f"{program}.py"])
    assert (asyncio.run(module.main()) if program == "visits" else module.main()) == 1
    said = capsys.readouterr().err
    assert said.startswith(("Cannot reach the cluster: ", "The cluster is not there: "))
    assert said.count("\n") == 1
