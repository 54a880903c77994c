"""Summarise sensor readings by the minute: a crash neither loses nor repeats one."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation

import valkey

STREAM = "readings"
REJECTED = "readings:rejected"  # a stream of what could not be summarised
POSITION = "readings:position"  # the id of the last entry that has been summarised
BATCH = 500


@dataclass
class Summary:
    """One sensor in one minute. Decimals, so that no sum is off by a rounding."""

    count: int
    total: Decimal
    lowest: Decimal
    highest: Decimal

    def add(self, value: Decimal) -> None:
        """Take one more reading in."""
        self.count += 1
        self.total += value
        self.lowest = min(self.lowest, value)
        self.highest = max(self.highest, value)


def load(stored: dict[str, str], first: Decimal) -> Summary:
    """What is stored already, or an empty summary that the first reading can join."""
    return Summary(
        int(stored.get("count", 0)),
        Decimal(stored.get("total", 0)),
        Decimal(stored.get("lowest", first)),
        Decimal(stored.get("highest", first)),
    )


def place(entry: str, fields: dict[str, str]) -> tuple[str, Decimal]:
    """The key of the summary that the reading belongs to, and its value."""
    value = Decimal(fields["celsius"])
    if not value.is_finite():
        raise ValueError(value)
    at = datetime.fromtimestamp(int(entry.partition("-")[0]) / 1000, UTC)
    return f"summary:{fields['sensor']}:{at:%Y-%m-%dT%H:%M}", value


def attempt(pipeline: valkey.client.Pipeline, batch: int) -> int:
    """Summarise up to ``batch`` readings unless somebody else does it meanwhile."""
    pipeline.watch(POSITION)  # from here on commands are executed at once
    position = pipeline.get(POSITION) or "0"
    entries = pipeline.xrange(STREAM, min=f"({position}", count=batch)
    if not entries:
        return 0
    summaries: dict[str, Summary] = {}
    rejected = []
    for entry, fields in entries:
        try:
            key, value = place(entry, fields)
        except (KeyError, ValueError, InvalidOperation):
            rejected.append({"id": entry, **fields})
            continue
        if key not in summaries:
            summaries[key] = load(pipeline.hgetall(key), value)
        summaries[key].add(value)
    pipeline.multi()  # from here on they are collected
    for key, summary in summaries.items():
        numbers = {name: str(value) for name, value in vars(summary).items()}
        pipeline.hset(key, mapping=numbers)
    for fields in rejected:
        pipeline.xadd(REJECTED, fields, maxlen=10_000)
    pipeline.set(POSITION, entries[-1][0])
    pipeline.execute()  # all of it, or WatchError and nothing of it
    return len(entries)


def summarise(client: valkey.Valkey, batch: int = BATCH) -> int:
    """Summarise all that is new; return how many readings this call has done."""
    done = 0
    with client.pipeline() as pipeline:
        while True:
            try:
                count = attempt(pipeline, batch)
            except valkey.WatchError:  # another one was faster: look again
                continue
            if not count:
                return done
            done += count


def main() -> int:
    """Summarise what is new on the training server; return the exit status."""
    client = valkey.Valkey(host="127.0.0.1", port=6379, decode_responses=True)
    with client:
        try:
            print(f"{summarise(client)} new readings, {client.xlen(REJECTED)} rejected")
            for key in sorted(client.scan_iter(match="summary:*")):
                found = load(client.hgetall(key), Decimal(0))
                mean = found.total / found.count
                span = f"{found.lowest}..{found.highest}, mean {mean:.2f}"
                print(f"{key.removeprefix('summary:')}  {found.count} readings, {span}")
        except valkey.ConnectionError as error:
            print(f"Cannot reach Valkey: {error}", file=sys.stderr)
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
