"""Jobs for later: keep them in a sorted set, and queue each one when it is due."""

from __future__ import annotations

import sys
import time

import valkey

LATER = "reminders:later"
QUEUE = "reminders"
BATCH = 100
TICK = 0.5  # seconds: a job that is added late may be this much late

# One script, so that no job is between the two keys when something fails.
MOVE_DUE = """
local now = server.call('TIME')
now = now[1] * 1000 + math.floor(now[2] / 1000)
local due = server.call('ZRANGE', KEYS[1], '-inf', now, 'BYSCORE', 'LIMIT', 0, ARGV[1])
for _, job in ipairs(due) do
    server.call('ZREM', KEYS[1], job)
    server.call('RPUSH', KEYS[2], job)
end
return due
"""


def now(client: valkey.Valkey) -> int:
    """The server's time in milliseconds: one clock for all programs."""
    seconds, microseconds = client.time()
    return seconds * 1000 + microseconds // 1000


def schedule(client: valkey.Valkey, job: str, delay: int) -> bool:
    """Have a job done in so many milliseconds; false if it only got a new time."""
    return client.zadd(LATER, {job: now(client) + delay}) == 1


def cancel(client: valkey.Valkey, job: str) -> bool:
    """Call a job off; false if it is too late for that, or if there is none."""
    return client.zrem(LATER, job) == 1


def move_due(client: valkey.Valkey) -> list[str]:
    """Queue the jobs whose time has come, the earliest first, and return them."""
    moved = client.register_script(MOVE_DUE)(keys=[LATER, QUEUE], args=[BATCH])
    return list(moved)


def pause(client: valkey.Valkey) -> float:
    """How many seconds there is nothing to do: until the next job, or one tick."""
    first = client.zrange(LATER, 0, 0, withscores=True)
    if not first:
        return TICK
    _, due = first[0]
    return min(TICK, max(0.0, (due - now(client)) / 1000))


def run(client: valkey.Valkey) -> None:
    """Queue job after job until none is left for later."""
    while client.exists(LATER):
        for job in move_due(client):
            print(f"due: {job}")
        if client.exists(LATER):
            time.sleep(pause(client))


def main() -> int:
    """Schedule three reminders, call one off, wait for the rest."""
    client = valkey.Valkey(host="127.0.0.1", port=6379, decode_responses=True)
    with client:
        try:
            schedule(client, "ask ada for a review", delay=900)
            schedule(client, "tell ben that the parcel comes", delay=100)
            schedule(client, "ask cleo to pay", delay=200)
            print(f"cleo has paid, called off: {cancel(client, 'ask cleo to pay')}")
            run(client)
            print(f"in the queue: {client.llen(QUEUE)}")
        except valkey.ConnectionError as error:
            print(f"Cannot reach Valkey: {error}", file=sys.stderr)
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
