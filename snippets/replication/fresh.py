"""Read from replicas, and still see what you wrote."""

from __future__ import annotations

import random
import sys
from collections.abc import Sequence
from dataclasses import dataclass

import valkey


@dataclass(frozen=True)
class Mark:
    """A place in the stream of writes. It fits into a session or a cookie."""

    history: str
    offset: int


class FreshStore:
    """Writes go to the primary, reads to a replica that has come far enough."""

    def __init__(
        self, primary: valkey.Valkey, replicas: Sequence[valkey.Valkey]
    ) -> None:
        self._primary = primary
        self._replicas = list(replicas)

    def write(self, key: str, value: str) -> Mark:
        """Store a value; the mark says how far a replica must be to have it."""
        # No MULTI: inside it, INFO would tell the offset from before the write.
        with self._primary.pipeline(transaction=False) as pipe:
            info = pipe.set(key, value).info("replication").execute()[1]
        return Mark(info["master_replid"], info["master_repl_offset"])

    def read(self, key: str, mark: Mark | None = None) -> tuple[str | None, str]:
        """A value that is not older than the mark, and who answered."""
        for replica in random.sample(self._replicas, len(self._replicas)):
            try:
                # With MULTI: what INFO says holds for the GET.
                with replica.pipeline(transaction=True) as pipe:
                    info, value = pipe.info("replication").get(key).execute()
            except valkey.ValkeyError:
                continue  # away, loading, or without its primary: ask the next
            if info["role"] != "slave":
                continue
            here = Mark(info["master_replid"], info["slave_repl_offset"])
            if mark is None or (
                here.history == mark.history and here.offset >= mark.offset
            ):
                return value, "a replica"
        return self._primary.get(key), "the primary"


def connect(port: int) -> valkey.Valkey:
    """A client that gives up soon."""
    return valkey.Valkey(
        host="127.0.0.1", port=port, decode_responses=True, socket_timeout=0.5
    )


def main() -> int:
    """Change a price, and read it; return the exit status."""
    clients = [connect(port) for port in (6379, 6380, 6381)]
    store = FreshStore(clients[0], clients[1:])
    answered = {"a replica": 0, "the primary": 0}
    try:
        for cents in range(300, 400):
            mark = store.write("price:tea", str(cents))
            value, who = store.read("price:tea", mark)
            if value != str(cents):
                print(f"wrote {cents}, read {value}", file=sys.stderr)
                return 1
            answered[who] += 1
    except (valkey.ConnectionError, valkey.TimeoutError) as error:
        print(f"Cannot reach the primary: {error}", file=sys.stderr)
        return 1
    finally:
        for client in clients:
            client.close()
    print(f"{sum(answered.values())} prices written and read, none was old")
    return 0


if __name__ == "__main__":
    sys.exit(main())
