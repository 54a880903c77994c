"""Send the same requests to caches of different sizes, and count the hits."""

from __future__ import annotations

import random
import sys
from collections.abc import Iterator
from itertools import islice

import valkey

POLICIES = ("allkeys-lfu", "allkeys-random")
PRODUCTS, REQUESTS, BATCH = 2_000, 20_000, 50
VALUE = "x" * 4_000
SHARES = (0.1, 0.25, 0.5)  # of the products, which the cache has room for


def requests() -> list[int]:
    """Numbers of products, always the same: the n-th is wanted 1/n as often."""
    weights = [1 / (place + 1) for place in range(PRODUCTS)]
    dice = random.Random(8)  # noqa: S311  no secret, but the same for everybody
    return dice.choices(range(PRODUCTS), weights, k=REQUESTS)


def batches(numbers: list[int]) -> Iterator[list[str]]:
    """What is asked for on one trip: fifty products, as a page of a shop shows."""
    keys = iter([f"product:{number}" for number in numbers])
    while batch := list(islice(keys, BATCH)):
        yield batch


def serve(client: valkey.Valkey, numbers: list[int]) -> float:
    """Cache-aside for all requests; return the hit rate that the server counted."""
    client.config_resetstat()
    for keys in batches(numbers):
        found = client.mget(keys)
        missing = client.pipeline(transaction=False)
        for key, copy in zip(keys, found, strict=True):
            if copy is None:
                missing.set(key, VALUE)
        missing.execute()
    counted = client.info("stats")
    hits, misses = counted["keyspace_hits"], counted["keyspace_misses"]
    rate: float = hits / (hits + misses)
    return rate


def exact_lru(numbers: list[int], room: int) -> float:
    """What a cache would reach that always knew the least recently used key."""
    kept: dict[int, None] = {}  # the one used last stands last
    hits = 0
    for number in numbers:
        hits += number in kept
        kept.pop(number, None)
        kept[number] = None
        if len(kept) > room:
            del kept[next(iter(kept))]
    return hits / len(numbers)


def room_for(client: valkey.Valkey, products: int) -> int:
    """The ``maxmemory`` with which about so many products fit."""
    client.execute_command("FLUSHDB", "SYNC")
    empty: int = client.info("memory")["used_memory"]
    client.set("product:0", VALUE)
    one: int = client.memory_usage("product:0")
    client.delete("product:0")
    return empty + products * one + 200_000  # for the commands on their way


def measure(client: valkey.Valkey) -> dict[str, list[float]]:
    """The hit rates of each policy, one for each size."""
    before = client.config_get("maxmemory", "maxmemory-policy")
    numbers = requests()
    rates: dict[str, list[float]] = {policy: [] for policy in POLICIES}
    try:
        for share in SHARES:
            for policy in POLICIES:
                client.config_set("maxmemory", 0)
                client.config_set("maxmemory-policy", policy)
                client.config_set("maxmemory", room_for(client, int(PRODUCTS * share)))
                rates[policy].append(serve(client, numbers))
    finally:
        client.execute_command("FLUSHDB", "SYNC")
        client.config_set("maxmemory", before["maxmemory"])
        client.config_set("maxmemory-policy", before["maxmemory-policy"])
    return rates


def main() -> int:
    """Measure on an empty training server; return the exit status."""
    client = valkey.Valkey(host="127.0.0.1", port=6379, db=9, decode_responses=True)
    with client:
        try:
            rates = measure(client)
        except valkey.ConnectionError as error:
            print(f"Cannot reach Valkey: {error}", file=sys.stderr)
            return 1
    print(f"{'room for':16}" + "".join(f"{share:>8.0%}" for share in SHARES))
    exact = [exact_lru(requests(), int(PRODUCTS * share)) for share in SHARES]
    for policy, row in {**rates, "LRU, calculated": exact}.items():
        print(f"{policy:16}" + "".join(f"{rate:>8.0%}" for rate in row))
    return 0


if __name__ == "__main__":
    sys.exit(main())
