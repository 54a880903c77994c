"""Fill the same cache under each policy, write on, and see who had to go."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

import valkey

POLICIES = (
    *("noeviction", "allkeys-random", "allkeys-lru", "allkeys-lfu"),
    *("volatile-random", "volatile-lru", "volatile-lfu", "volatile-ttl"),
)
VALUE = "x" * 1_000
HOUR, TEN_MINUTES = 3_600, 600
# Group: how many keys, and how long they live.
GROUPS: dict[str, tuple[int, int | None]] = {
    "lasting": (200, None),  # no expiry
    "hot": (200, HOUR),  # read 20 times
    "cold": (400, HOUR),  # never read
    "ending": (400, TEN_MINUTES),  # never read
    "new": (700, HOUR),  # written when the server is full
}
SETTINGS = ("maxmemory", "maxmemory-policy", "lfu-log-factor", "lfu-decay-time")


@contextmanager
def settings_kept(client: valkey.Valkey) -> Iterator[None]:
    """Put the settings back, whatever happens."""
    before = client.config_get(*SETTINGS)
    try:
        yield
    finally:
        client.execute_command("FLUSHDB", "SYNC")
        client.config_set("maxmemory", before.pop("maxmemory"))  # first: no more OOM
        for name, value in before.items():
            client.config_set(name, value)


def write(client: valkey.Valkey, group: str) -> int:
    """Write a group's keys one by one; return how many writes were refused."""
    count, life = GROUPS[group]
    batch = client.pipeline(transaction=False)
    for number in range(count):
        batch.set(f"{group}:{number}", VALUE, ex=life)
    replies = batch.execute(raise_on_error=False)
    errors = [each for each in replies if isinstance(each, Exception)]
    for error in errors:
        if not isinstance(error, valkey.OutOfMemoryError):
            raise error
    return len(errors)


def left(client: valkey.Valkey, group: str) -> int:
    """How many keys of a group are still there."""
    count, _ = GROUPS[group]
    found: int = client.exists(*[f"{group}:{number}" for number in range(count)])
    return found


def run(client: valkey.Valkey, policy: str) -> dict[str, int]:
    """Fill the server under this policy, and write 700 keys more than it may hold."""
    client.config_set("maxmemory", 0)
    client.config_set("maxmemory-policy", policy)
    client.execute_command("FLUSHDB", "SYNC")
    for group in ("lasting", "hot", "cold", "ending"):
        write(client, group)
    if policy.endswith("lru"):
        time.sleep(1.1)  # the clock of LRU counts seconds
    for _ in range(20):
        client.mget([f"hot:{number}" for number in range(GROUPS["hot"][0])])
    client.config_set("maxmemory", client.info("memory")["used_memory"] + 100_000)
    before = client.info("stats")["evicted_keys"]
    refused = write(client, "new")
    client.config_set("maxmemory", 0)  # nothing more is evicted while we count
    result = {group: left(client, group) for group in GROUPS}
    evicted = client.info("stats")["evicted_keys"] - before
    return {**result, "evicted": evicted, "refused": refused}


def table(client: valkey.Valkey) -> Iterator[str]:
    """A line for each policy."""
    columns = ["lasting", "hot", "cold", "ending", "evicted", "new"]
    yield f"{'':16}" + "".join(f"{name:>8}" for name in columns)
    for policy in POLICIES:
        result = run(client, policy)
        yield f"{policy:16}" + "".join(f"{result[name]:8}" for name in columns)


def main() -> int:
    """Try all policies on an empty training server; return the exit status."""
    client = valkey.Valkey(host="127.0.0.1", port=6379, db=9, decode_responses=True)
    with client:
        try:
            with settings_kept(client):
                client.config_set("lfu-log-factor", 0)  # LFU counts every read
                client.config_set("lfu-decay-time", 0)  # and forgets none
                for line in table(client):
                    print(line)
        except valkey.ConnectionError as error:
            print(f"Cannot reach Valkey: {error}", file=sys.stderr)
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
