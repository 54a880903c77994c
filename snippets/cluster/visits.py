"""Count the visitors of articles in a cluster, from many tasks at once."""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Iterable

import valkey
from valkey.asyncio.cluster import ClusterNode, ValkeyCluster
from valkey.exceptions import ClusterError, ValkeyClusterException

PORTS = range(7001, 7007)
PATIENCE = 60.0  # seconds for one visit
FLEETING = (
    valkey.ConnectionError,
    valkey.TimeoutError,
    ClusterError,
    ValkeyClusterException,
)


def connect() -> ValkeyCluster:
    """A client; it asks the first node that answers when it is first used."""
    return ValkeyCluster(
        startup_nodes=[ClusterNode("127.0.0.1", port) for port in PORTS],
        decode_responses=True,
        socket_timeout=5,
        socket_connect_timeout=5,
    )


async def record(cluster: ValkeyCluster, article: str, visitor: str) -> int:
    """Note that somebody visited; how often that had to be tried again.

    A set takes a member once, however often it is sent. With INCR instead, an
    attempt whose reply got lost would be counted twice.
    """
    begun = time.monotonic()
    failures = 0
    while True:
        try:
            await cluster.sadd(f"visitors:{article}", visitor)
        except FLEETING:
            failures += 1
            if time.monotonic() - begun > PATIENCE:
                raise
            await asyncio.sleep(0.05)
        else:
            return failures


async def totals(cluster: ValkeyCluster, articles: Iterable[str]) -> dict[str, int]:
    """How many different people visited each article, asked all at once."""
    names = list(articles)
    counts = await asyncio.gather(*(cluster.scard(f"visitors:{n}") for n in names))
    return dict(zip(names, counts, strict=True))


async def main() -> int:
    """Let 200 people read three articles, and count them."""
    articles = ("apple", "milk", "pear")
    cluster = connect()
    try:
        people = [f"reader-{number}" for number in range(200)]
        visits = [(article, person) for article in articles for person in people]
        await asyncio.gather(*(record(cluster, *visit) for visit in visits))
        for article, count in (await totals(cluster, articles)).items():
            slot = cluster.keyslot(f"visitors:{article}")
            print(f"{article}: {count} visitors, in slot {slot}")
    except FLEETING as error:
        print(f"Cannot reach the cluster: {error}", file=sys.stderr)
        return 1
    finally:
        await cluster.aclose()
    return 0


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
