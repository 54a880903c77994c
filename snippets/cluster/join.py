"""Make one cluster of six nodes: three primaries, and a replica for each."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from typing import Any

import valkey

PORTS = range(7001, 7007)
SLOTS = ((0, 5460), (5461, 10922), (10923, 16383))  # of the first three
PATIENCE = 30.0  # seconds


def until(condition: Callable[[], bool], what: str) -> None:
    """Ask again and again, until it holds."""
    end = time.monotonic() + PATIENCE
    while not condition():
        if time.monotonic() > end:
            raise TimeoutError(f"not within {PATIENCE:g} s: {what}")
        time.sleep(0.05)


def ask(node: valkey.Valkey, field: str) -> str:
    """One field of what a node says about its cluster."""
    return node.execute_command("CLUSTER INFO")[field]


def known(node: valkey.Valkey) -> dict[str, dict[str, Any]]:
    """The nodes that this one knows and is connected to, by their addresses."""
    nodes = node.execute_command("CLUSTER NODES")
    return {name: each for name, each in nodes.items() if each["connected"]}


def is_whole(node: valkey.Valkey) -> bool:
    """Whether it finds all slots served, all replicas made, and its own data there."""
    replicas = sum("slave" in each["flags"] for each in known(node).values())
    link = node.info("replication").get("master_link_status", "up")
    state = ask(node, "cluster_state")
    return (state, link, replicas) == ("ok", "up", len(SLOTS))


def join(nodes: list[valkey.Valkey]) -> bool:
    """Join the nodes; False if they are joined already."""
    if ask(nodes[0], "cluster_known_nodes") != "1":
        return False
    primaries, replicas = nodes[: len(SLOTS)], nodes[len(SLOTS) :]
    for epoch, node in enumerate(nodes, 1):
        node.execute_command("CLUSTER SET-CONFIG-EPOCH", epoch)
    for primary, (first, last) in zip(primaries, SLOTS, strict=True):
        primary.execute_command("CLUSTER ADDSLOTSRANGE", first, last)
    for port in PORTS[1:]:
        nodes[0].execute_command("CLUSTER MEET", "127.0.0.1", port)
    for node in nodes:  # they tell each other of those they have met
        until(lambda node=node: len(known(node)) == len(nodes), "all know all")
    for primary, replica in zip(primaries, replicas, strict=True):
        name = primary.execute_command("CLUSTER MYID")
        replica.execute_command("CLUSTER REPLICATE", name)
    return True


def show(node: valkey.Valkey) -> None:
    """Print who serves which slots, in their order, and who copies whom."""
    nodes = known(node)
    names = {each["node_id"]: address for address, each in nodes.items()}
    copies = {names.get(each["master_id"]): at for at, each in nodes.items()}
    for first, last, primary, *_ in sorted(node.execute_command("CLUSTER SLOTS")):
        address = f"{primary[0]}:{primary[1]}"
        replica = copies.get(address, "nobody")
        print(f"slots {first} to {last}: {address}, replica {replica}")


def main() -> int:
    """Join the nodes of the compose file, unless they are joined, and show them."""
    nodes = [
        valkey.Valkey(host="127.0.0.1", port=port, decode_responses=True)
        for port in PORTS
    ]
    try:
        join(nodes)
        for node in nodes:
            until(lambda node=node: is_whole(node), "the cluster works")
        show(nodes[0])
    except (valkey.ConnectionError, TimeoutError) as error:
        print(f"The cluster is not there: {error}", file=sys.stderr)
        return 1
    finally:
        for node in nodes:
            node.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
