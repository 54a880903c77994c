"""Measure what each policy of the append-only file costs the server for a write."""

from __future__ import annotations

import sys
import time
from typing import NamedTuple

import valkey

POLICIES = ("no", "everysec", "always")
WRITES = 200
KEY = "fsync_cost"
SETTINGS = ("appendonly", "appendfsync")


class Cost(NamedTuple):
    """Microseconds the main thread spends on the log, for each write."""

    alone: float
    """When each write is sent after the reply to the one before."""
    together: float
    """When a hundred are sent at once."""


def spent(client: valkey.Valkey) -> int:
    """Microseconds that the main thread has spent on the log since it started."""
    return int(client.info("debug")["eventloop_duration_aof_sum"])


def switch_on(client: valkey.Valkey, deadline: float = 20.0) -> None:
    """Start the append-only file, and return when it holds all data.

    Raises:
        TimeoutError: the first copy of the data takes longer than ``deadline`` seconds.
    """
    client.config_set("appendonly", "yes")
    end = time.monotonic() + deadline
    while True:
        state = client.info("persistence")
        if not state["aof_rewrite_in_progress"] and not state["aof_rewrite_scheduled"]:
            return
        if time.monotonic() > end:
            raise TimeoutError("the append-only file is not complete yet")
        time.sleep(0.01)


def measure_one(client: valkey.Valkey, policy: str) -> Cost:
    """What one policy costs."""
    client.config_set("appendfsync", policy)
    before = spent(client)
    for number in range(WRITES):
        client.set(KEY, number)
    alone = spent(client) - before
    before = spent(client)
    for _ in range(WRITES // 100):
        pipeline = client.pipeline(transaction=False)
        for number in range(100):
            pipeline.set(KEY, number)
        pipeline.execute()
    return Cost(alone / WRITES, (spent(client) - before) / WRITES)


def measure(client: valkey.Valkey) -> dict[str, Cost]:
    """What each policy costs; afterwards the settings are what they were."""
    kept = {name: client.config_get(name)[name] for name in SETTINGS}
    try:
        switch_on(client)
        return {policy: measure_one(client, policy) for policy in POLICIES}
    finally:
        for name, value in kept.items():
            client.config_set(name, value)
        client.delete(KEY)


def report(costs: dict[str, Cost]) -> str:
    """The measurement in words."""
    lines = [
        f"{policy:8}  {cost.alone:8.1f} alone  {cost.together:8.2f} of a hundred"
        for policy, cost in costs.items()
    ]
    strict = costs["always"]
    shared = "yes" if strict.alone > 3 * strict.together else "no"
    return "\n".join([*lines, f"with always, a hundred share the wait: {shared}"])


def main() -> int:
    """Measure the training server; return the exit status."""
    client = valkey.Valkey(host="127.0.0.1", port=6379, decode_responses=True)
    with client:
        try:
            print(report(measure(client)))
        except (valkey.ConnectionError, TimeoutError) as error:
            print(f"Cannot measure: {error}", file=sys.stderr)
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
