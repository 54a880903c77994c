"""How far is each replica behind? For a person, or for monitoring by exit status."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import Any

import valkey

EXPECTED = 2  # replicas
MOST_BYTES = 1_000_000
MOST_SECONDS = 10


@dataclass(frozen=True)
class Lag:
    """What the primary knows of one replica."""

    address: str
    state: str
    bytes_behind: int
    seconds_silent: int

    @property
    def is_good(self) -> bool:
        """Whether it could take over with little loss."""
        return (
            self.state == "online"
            and self.bytes_behind <= MOST_BYTES
            and self.seconds_silent <= MOST_SECONDS
        )


def lags(client: valkey.Valkey) -> list[Lag]:
    """What a primary says of its replicas."""
    info: dict[str, Any] = client.info("replication")
    if info["role"] != "master":
        raise ValueError("this server is a replica: ask its primary")
    replicas = [info[f"slave{number}"] for number in range(info["connected_slaves"])]
    return sorted(
        (
            Lag(
                f"{each['ip']}:{each['port']}",
                each["state"],
                max(0, info["master_repl_offset"] - each["offset"]),
                each["lag"],
            )
            for each in replicas
        ),
        key=lambda lag: lag.address,
    )


def main() -> int:
    """Print a line for each replica; return 2 if too few of them are good."""
    client = valkey.Valkey(
        host="127.0.0.1", port=6379, decode_responses=True, socket_timeout=5
    )
    try:
        with client:
            found = lags(client)
    except (valkey.ValkeyError, ValueError) as error:
        print(f"Cannot ask the primary: {error}", file=sys.stderr)
        return 1
    for lag in found:
        print(
            f"{lag.address} {lag.state}: {lag.bytes_behind} bytes behind, "
            f"heard {lag.seconds_silent} s ago"
        )
    good = sum(lag.is_good for lag in found)
    print(f"{good} of {EXPECTED} replicas are good")
    return 0 if good >= EXPECTED else 2


if __name__ == "__main__":
    sys.exit(main())
