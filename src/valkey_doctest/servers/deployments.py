"""Deployments of several servers: which they are, and when they are ready.

Each is one network, in which every server is at ``127.0.0.1`` and its documented port. The settings are
those of the files that learners get, so that what they see is what was run.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import suppress
from functools import partial
from typing import Any

from valkey_doctest.servers import (
    ADDRESS,
    Member,
    Network,
    PortTakenError,
    Provider,
    Server,
    ServerError,
    ask,
    wait_for,
)

PRIMARY = Member("valkey-primary", 6379)
REPLICAS = (Member("valkey-replica-1", 6380), Member("valkey-replica-2", 6381))
SENTINELS = tuple(Member(f"valkey-sentinel-{number}", 26378 + number) for number in (1, 2, 3))
NODES = tuple(Member(f"valkey-node-{number}", 7000 + number) for number in range(1, 7))
SLOTS = ((0, 5460), (5461, 10922), (10923, 16383))
"""Of the first three nodes; the other three are their replicas, in the same order."""

MONITORED = "mymaster"
"""What Sentinel calls the primary."""
QUORUM = 2
DOWN_AFTER = 1500
FAILOVER_TIMEOUT = 5000
NODE_TIMEOUT = 2000
"""Milliseconds, as the two before."""

SETTLE_SECONDS = 5.0
"""How long a server that comes back may take to find its place, before the page goes on anyway."""

# A primary would wait 5 s for more replicas before it sends its data to the first.
_AT_ONCE = ("--repl-diskless-sync-delay", "0")

_START_TRIES = 3


class _Beginning:
    """A deployment while it is being started."""

    def __init__(self, network: Network, real_name: Callable[[str], str]) -> None:
        self.network = network
        self.servers: dict[str, Server] = {}
        self._real_name = real_name

    def start(self, members: Sequence[Member]) -> list[Server]:
        """Start some of its servers, at the same time."""
        named = [member._replace(name=self._real_name(member.name)) for member in members]
        servers = self.network.start(named)
        self.servers |= {member.name: server for member, server in zip(members, servers, strict=True)}
        return servers


def start(
    kind: str, provider: Provider, name: str, real_name: Callable[[str], str]
) -> tuple[Network, dict[str, Server]]:
    """A deployment of this kind, when it says that it is ready; its servers by their documented names.

    Args:
        name: of its network, in this run only.
        real_name: gives this run's name of a server that pages know by another.

    Raises:
        ServerError: it does not get ready.
    """
    members, begin = KINDS[kind]
    for tries_left in reversed(range(_START_TRIES)):
        network: Network | None = None
        try:
            network = provider.network(name, [member.port for member in members])
            beginning = _Beginning(network, real_name)
            begin(beginning)
        except PortTakenError:
            if network:
                network.remove()
            if not tries_left:
                raise
        except BaseException:
            if network:
                network.remove()
            raise
        else:
            return network, beginning.servers
    raise AssertionError


def _replication(beginning: _Beginning) -> None:
    _start_replication(beginning)
    wait_for(beginning.servers.values(), _linked, "a replica has no link to its primary")


def _start_replication(beginning: _Beginning) -> None:
    """Start its servers; the replicas have come to their primary then, but have not all of its data."""
    address = f"{ADDRESS} {beginning.network.inside(PRIMARY.port)}"
    primary = beginning.start([_with(PRIMARY, *_AT_ONCE)])
    for count, replica in enumerate(REPLICAS, 1):  # the primary lists them in the order in which they come
        beginning.start([_with(replica, "--replicaof", address, *_AT_ONCE)])
        wait_for(primary, partial(_has_replicas, count), "a replica does not come")


def _sentinel(beginning: _Beginning) -> None:
    _start_replication(beginning)
    configuration = (
        f"sentinel monitor {MONITORED} {ADDRESS} {beginning.network.inside(PRIMARY.port)} {QUORUM}",
        f"sentinel down-after-milliseconds {MONITORED} {DOWN_AFTER}",
        f"sentinel failover-timeout {MONITORED} {FAILOVER_TIMEOUT}",
    )
    servers = beginning.start([member._replace(configuration=configuration) for member in SENTINELS])
    for server in servers:
        # Sentinels greet each other every 2 s, ask servers for their role every 10 s, and wait 8 s before they
        # make a primary that returns a replica. The same in less time:
        _ask(server, "SENTINEL", "DEBUG", "publish-period", "250", "info-period", "500")
    wait_for(servers, _watches, "the Sentinels do not find each other and the replicas")


def _cluster(beginning: _Beginning) -> None:
    arguments = ("--cluster-enabled", "yes", "--cluster-node-timeout", str(NODE_TIMEOUT), *_AT_ONCE)
    # A primary keeps its cluster waiting until it has run for 2 s: so primaries first.
    primaries = beginning.start([_with(node, *arguments) for node in NODES[: len(SLOTS)]])
    for server, slots in zip(primaries, SLOTS, strict=True):
        _ask(server, "CLUSTER", "ADDSLOTSRANGE", *slots)
    _meet(primaries, [], beginning.network)
    replicas = beginning.start([_with(node, *arguments) for node in NODES[len(SLOTS) :]])
    _meet(replicas, primaries, beginning.network)
    servers = [*primaries, *replicas]
    wait_for(servers, _knows_all, "the nodes do not find each other")
    for primary, replica in zip(primaries, replicas, strict=True):
        _ask(replica, "CLUSTER", "REPLICATE", _ask(primary, "CLUSTER", "MYID"))
    wait_for(replicas, _linked, "a replica has no link to its primary")
    wait_for(servers, _is_whole, "the cluster does not get ready")
    for server in servers:
        _ask(server, "CONFIG", "SET", "repl-ping-replica-period", 10)  # as it was


def _meet(servers: Sequence[Server], met: Sequence[Server], network: Network) -> None:
    """Introduce servers to each other and to those that have met: left to gossip, that takes a second longer."""
    known = [*met]
    for server in servers:
        # Epochs that differ from the start, as `valkey-cli --cluster create` gives them: nothing to settle then.
        _ask(server, "CLUSTER", "SET-CONFIG-EPOCH", len(known) + 1)
        # A replica counts as online once it has received something: the first ping, not after 10 s.
        _ask(server, "CONFIG", "SET", "repl-ping-replica-period", 1)
        known.append(server)
    for index, server in enumerate(known):
        for other in known[max(index + 1, len(met)) :]:
            _ask(server, "CLUSTER", "MEET", ADDRESS, network.inside(other.documented_port))


KINDS: Mapping[str, tuple[tuple[Member, ...], Callable[[_Beginning], None]]] = {
    "replication": ((PRIMARY, *REPLICAS), _replication),
    "sentinel": ((PRIMARY, *REPLICAS, *SENTINELS), _sentinel),
    "cluster": (NODES, _cluster),
}
"""Their servers, and what gets them ready."""


def settle(kind: str, servers: Collection[Server]) -> None:
    """When a server came back, give all time to find their places: replicas their primary, nodes their cluster.

    A learner who types the next command gives them more. What does not come to be in time, because the page
    stopped other servers too, is for the page to show.
    """
    if kind not in KINDS:
        return
    with suppress(ServerError):
        wait_for(servers, partial(_is_settled, kind), "", SETTLE_SECONDS)


def _is_settled(kind: str, server: Server) -> bool:
    if server.documented_port in {sentinel.port for sentinel in SENTINELS}:
        return True
    try:
        return (kind != "cluster" or _state(server) == "ok") and _linked(server)
    except ServerError:
        return True  # it is stopped


def _with(member: Member, *arguments: str) -> Member:
    return member._replace(arguments=arguments)


def _ask(server: Server, *command: str | int) -> Any:
    """See :func:`valkey_doctest.servers.ask`."""
    return ask(server.port, *command, called=server.documented_port)


def _linked(server: Server) -> bool:
    """Whether it is a primary, or a replica that has all its primary's data."""
    said = _ask(server, "INFO", "replication")
    return bool(said["role"] == "master" or said["master_link_status"] == "up")


def _has_replicas(count: int, primary: Server) -> bool:
    """Whether so many have come to it."""
    return bool(_ask(primary, "INFO", "replication")["connected_slaves"] == count)


def _watches(sentinel: Server) -> bool:
    """Whether it knows all Sentinels and replicas, and these have their primary's data."""
    if _ask(sentinel, "INFO", "sentinel")["master0"]["sentinels"] < len(SENTINELS):
        return False
    replicas = _ask(sentinel, "SENTINEL REPLICAS", MONITORED)
    links = [replica[replica.index("master-link-status") + 1] for replica in replicas]
    return links == ["ok"] * len(REPLICAS)


def _nodes(server: Server) -> list[dict[str, Any]]:
    return [*_ask(server, "CLUSTER NODES").values()]


def _knows_all(server: Server) -> bool:
    """Whether it has met all nodes, and is connected to them."""
    nodes = _nodes(server)
    return len(nodes) == len(NODES) and all(node["connected"] and "handshake" not in node["flags"] for node in nodes)


def _state(server: Server) -> str:
    return str(_ask(server, "CLUSTER INFO")["cluster_state"])


def _is_whole(server: Server) -> bool:
    """Whether it says the cluster works, and sees a replica with its data beside each primary."""
    if _state(server) != "ok":
        return False
    replicas = [node for node in _nodes(server) if "slave" in node["flags"]]
    shards = _ask(server, "CLUSTER", "SHARDS")
    return len(replicas) == len(SLOTS) and str(shards).count("online") == len(NODES)
