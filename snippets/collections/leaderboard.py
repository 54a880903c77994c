"""A leaderboard with fair ties: with equal points, who got there first is ahead."""

from __future__ import annotations

import sys
from typing import NamedTuple

import valkey

# Runs as one step. A script that fails is not undone, so it reads before it writes:
# a key of the wrong type stops it before it has changed the board.
COUNT = """
local board, entries, clock, finished = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local reader, book, points = ARGV[1], ARGV[2], ARGV[3]
if server.call('SISMEMBER', finished, book) == 1 then
    return 0
end
local old = server.call('HGET', entries, reader)
if old then
    points = points + server.call('ZSCORE', board, old)
end
local turn = server.call('INCR', clock)
local entry = string.format('%012d:%s', 999999999999 - turn, reader)
server.call('ZADD', board, points, entry)
if old then
    server.call('ZREM', board, old)
end
server.call('HSET', entries, reader, entry)
server.call('SADD', finished, book)
return 1
"""


class Place(NamedTuple):
    """One line of the board."""

    rank: int
    reader: str
    points: int


class Leaderboard:
    """Pages read in a challenge; each book counts once for each reader."""

    def __init__(self, client: valkey.Valkey, name: str) -> None:
        self.client = client
        self.prefix = f"{{{name}}}"  # in a cluster, braces keep the keys together
        self.board = f"{self.prefix}:board"
        self.entries = f"{self.prefix}:entries"
        self._count = client.register_script(COUNT)

    def finish(self, reader: str, book: str, pages: int) -> bool:
        """Add a book's pages, unless it was counted already; safe to repeat."""
        if pages < 1:
            raise ValueError(f"a book has at least one page, not {pages}")
        clock, finished = f"{self.prefix}:clock", f"{self.prefix}:finished:{reader}"
        keys = [self.board, self.entries, clock, finished]
        return bool(self._count(keys=keys, args=[reader, book, pages]))

    def top(self, count: int = 10) -> list[Place]:
        """The best, in order."""
        return self._places(0, count - 1)

    def place(self, reader: str) -> Place | None:
        """Where a reader stands; ``None`` for one who has not finished a book."""
        seen = None
        while (entry := self.client.hget(self.entries, reader)) != seen:
            found = self.client.zrevrank(self.board, entry, withscore=True)
            if found is not None:
                return Place(int(found[0]) + 1, reader, int(float(found[1])))
            seen = entry  # finished another book meanwhile? Then there is a new entry.
        return None

    def around(self, reader: str, distance: int = 1) -> list[Place]:
        """The reader's neighbours on the board, and the reader."""
        here = self.place(reader)
        if here is None:
            return []
        return self._places(max(0, here.rank - 1 - distance), here.rank - 1 + distance)

    def _places(self, first: int, last: int) -> list[Place]:
        found = self.client.zrange(self.board, first, last, desc=True, withscores=True)
        return [
            Place(rank, entry.partition(":")[2], int(points))
            for rank, (entry, points) in enumerate(found, first + 1)
        ]


def main() -> int:
    """Play a small challenge on the training server; return the exit status."""
    client = valkey.Valkey(host="127.0.0.1", port=6379, decode_responses=True)
    with client:
        try:
            for key in client.scan_iter(match="{summer}:*"):
                client.delete(key)
            board = Leaderboard(client, "summer")
            board.finish("cleo", "emma", 500)
            board.finish("ada", "dune", 600)
            board.finish("zoe", "dune", 600)
            board.finish("ben", "heidi", 250)
            print("counted twice:", board.finish("ada", "dune", 600))
            board.finish("cleo", "momo", 100)  # now cleo has 600, too, but later
            for rank, reader, points in board.top(3):
                print(f"{rank}. {reader:5} {points}")
            print(
                "around cleo:", *[f"{p.rank}. {p.reader}" for p in board.around("cleo")]
            )
        except valkey.ConnectionError as error:
            print(f"Cannot reach Valkey: {error}", file=sys.stderr)
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
