"""A season's leaderboard: points and time in one score, and a last day."""

from __future__ import annotations

import sys
from typing import NamedTuple

import valkey

# A score is points * UNIT + the milliseconds that were left of the season.
UNIT = 10**10  # longer than any season: 115 days
MOST = 2**53 // UNIT - 1  # points: beyond that, a score would no longer be exact

# KEYS: board, matches. ARGV: player, points, match, end of the season, unit, most
SCORE = """
if server.call('SISMEMBER', KEYS[2], ARGV[3]) == 1 then
    return 0
end
local time = server.call('TIME')
local left = ARGV[4] - (time[1] * 1000 + math.floor(time[2] / 1000))
if left <= 0 then
    return server.error_reply('OVER the season has ended')
end
local unit = tonumber(ARGV[5])
local old = tonumber(server.call('ZSCORE', KEYS[1], ARGV[1]) or 0)
local points = math.floor(old / unit) + ARGV[2]
if points > tonumber(ARGV[6]) or left >= unit then
    return server.error_reply('RANGE the score would not be exact')
end
local score = string.format('%.0f', points * unit + left)
server.call('ZADD', KEYS[1], score, ARGV[1])
server.call('SADD', KEYS[2], ARGV[3])
return 1
"""


class Place(NamedTuple):
    """One line of the board."""

    rank: int
    player: str
    points: int


class Season:
    """A season of a game. ``ends`` is in seconds since 1970."""

    def __init__(self, client: valkey.Valkey, name: str, ends: int) -> None:
        self.client = client
        self.ends = ends
        # In a cluster, braces keep these keys on one server.
        self.board = f"{{{name}}}:board"
        self.matches = f"{{{name}}}:matches"
        self.winners = f"{{{name}}}:winners"
        self._score = client.register_script(SCORE)

    def win(self, player: str, points: int, match: str) -> bool:
        """Add points, unless this match was counted already."""
        if points < 1:
            raise ValueError(f"a win is worth at least one point, not {points}")
        arguments = [player, points, match, self.ends * 1000, UNIT, MOST]
        return self._score(keys=[self.board, self.matches], args=arguments) == 1

    def top(self, count: int = 10) -> list[Place]:
        """The best; with equal points, whoever had them first is ahead."""
        found = self.client.zrange(self.board, 0, count - 1, desc=True, withscores=True)
        return [
            Place(rank, player, int(score) // UNIT)
            for rank, (player, score) in enumerate(found, 1)
        ]

    def shared_rank(self, player: str) -> int | None:
        """The place if equal points share a place: 1, 2, 2, 4."""
        score = self.client.zscore(self.board, player)
        if score is None:
            return None
        more = (int(score) // UNIT + 1) * UNIT
        return self.client.zcount(self.board, more, "+inf") + 1

    def close(self, keep_days: int = 365) -> None:
        """Keep the three winners for good, all others for a year; safe to repeat."""
        if self.client.time()[0] < self.ends:
            raise ValueError("the season has not ended yet")
        if self.client.exists(self.winners):
            return  # done before, and the board may be gone by now
        until = self.ends + keep_days * 24 * 3600
        pipeline = self.client.pipeline()  # MULTI and EXEC
        pipeline.zrangestore(self.winners, self.board, 0, 2, desc=True)
        pipeline.expireat(self.board, until)
        pipeline.expireat(self.matches, until)
        pipeline.execute()


def demonstrate(client: valkey.Valkey) -> None:
    """Three players, two of them with equal points."""
    ends = client.time()[0] + 90 * 24 * 3600
    season = Season(client, "chess:2026-4", ends)
    client.delete(season.board, season.matches, season.winners)
    season.win("zoe", 30, "match-1")
    season.win("ben", 20, "match-2")
    before = client.time()[1] // 1000
    while client.time()[1] // 1000 == before:
        pass  # the clock of this board has milliseconds
    season.win("ada", 20, "match-3")
    print("counted twice:", season.win("ada", 20, "match-3"))
    for rank, player, points in season.top():
        print(f"{rank}. {player:4} {points}, shared: {season.shared_rank(player)}")


def main() -> int:
    """Run the demonstration on the training server; return the exit status."""
    client = valkey.Valkey(host="127.0.0.1", port=6379, decode_responses=True)
    with client:
        try:
            demonstrate(client)
        except valkey.ConnectionError as error:
            print(f"Cannot reach Valkey: {error}", file=sys.stderr)
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
