"""Write numbered entries into a cluster, whatever happens, and count what is lost."""

from __future__ import annotations

import sys
import threading
import time
from collections import Counter

import valkey
from valkey.cluster import ClusterNode, ValkeyCluster
from valkey.exceptions import ClusterError, ValkeyClusterException

NODES = tuple(("127.0.0.1", port) for port in range(7001, 7007))
TAGS = ("b", "c", "a")  # their slots 3300, 7365, 15495: one of each primary
PATIENCE = 60.0  # seconds for one entry
NAP = 0.004  # seconds between two entries

FLEETING = (
    valkey.ConnectionError,
    valkey.TimeoutError,
    ClusterError,  # also ClusterDownError
    ValkeyClusterException,
)
"""What may be over in a moment: the node is gone, or the cluster elects another."""


def connect() -> ValkeyCluster:
    """A client that finds the cluster as long as one of the nodes answers."""
    return ValkeyCluster(
        startup_nodes=[ClusterNode(host, port) for host, port in NODES],
        decode_responses=True,
        socket_timeout=5,
        socket_connect_timeout=5,
    )


class Writer(threading.Thread):
    """Writes entries of one hash tag until told to stop.

    Args:
        copies: of replicas that have to confirm an entry before it counts.
    """

    def __init__(self, cluster: ValkeyCluster, tag: str, copies: int = 0) -> None:
        super().__init__(daemon=True)
        self.cluster, self.tag, self.copies = cluster, tag, copies
        self.acknowledged = 0
        self.longest_pause = 0.0
        self.errors: Counter[str] = Counter()
        self._ended = threading.Event()

    def key(self, number: int) -> str:
        """Where an entry is stored."""
        return f"entry:{{{self.tag}}}:{number}"

    def write(self, number: int) -> None:
        """Store one entry. Doing so twice does no harm."""
        key = self.key(number)
        self.cluster.set(key, number)
        if self.copies:
            node = self.cluster.get_node_from_key(key)
            have = self.cluster.wait(self.copies, 500, target_nodes=node)
            if have < self.copies:
                raise valkey.TimeoutError(f"{have} of {self.copies} have it")

    def write_patiently(self, number: int) -> None:
        """Store one entry; try again as long as there is hope."""
        begun = time.monotonic()
        while True:
            try:
                return self.write(number)
            except FLEETING as error:
                self.errors[type(error).__name__] += 1
                if time.monotonic() - begun > PATIENCE:
                    raise
                time.sleep(0.02)

    def run(self) -> None:
        """Write one entry after the other."""
        while not self._ended.wait(NAP):
            begun = time.monotonic()
            self.write_patiently(self.acknowledged + 1)
            self.acknowledged += 1
            self.longest_pause = max(self.longest_pause, time.monotonic() - begun)

    def wait_for(self, count: int) -> None:
        """Return when so many more entries are acknowledged."""
        goal = self.acknowledged + count
        while self.is_alive() and self.acknowledged < goal:
            time.sleep(0.01)

    def stop(self) -> None:
        """End after the present entry."""
        self._ended.set()
        self.join()

    def lost(self) -> list[int]:
        """The entries that were acknowledged, and are not there."""
        numbers = range(1, self.acknowledged + 1)
        values = []
        for start in range(0, len(numbers), 1000):
            some = numbers[start : start + 1000]
            values += self.cluster.mget([self.key(number) for number in some])
        return [n for n, value in zip(numbers, values, strict=True) if not value]


def main() -> int:
    """Write for some seconds with a writer for each primary, and report."""
    seconds = float(sys.argv[1]) if len(sys.argv) > 1 else 10.0
    try:
        writers = [Writer(connect(), tag) for tag in TAGS]
    except FLEETING as error:
        print(f"Cannot reach the cluster: {error}", file=sys.stderr)
        return 1
    for writer in writers:
        writer.start()
    time.sleep(seconds)
    for writer in writers:
        writer.stop()
    for writer in writers:
        lost = len(writer.lost())
        pause = writer.longest_pause
        print(f"{{{writer.tag}}}: pause {pause:.2f} s, {lost} lost", end=", ")
        print(f"{writer.acknowledged} acknowledged")
    return 0


if __name__ == "__main__":
    sys.exit(main())
