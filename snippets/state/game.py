"""A game with a tick: several workers, and each tick is done by one of them."""

from __future__ import annotations

import sys
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import valkey

WORKERS, PLAYERS, MOVES, TICKS = 4, 3, 40, 20


def move(client: valkey.Valkey, game: str, player: str) -> None:
    """A player's wish; it counts at the next tick."""
    client.rpush(f"{{{game}}}:moves", player)


def tick(client: valkey.Valkey, game: str, number: int) -> bool:
    """Make the step with this number; ``False`` if another worker has made it."""
    state, moves = f"{{{game}}}:state", f"{{{game}}}:moves"
    with client.pipeline() as pipeline:
        pipeline.watch(state)
        if int(pipeline.hget(state, "tick") or 0) != number - 1:
            return False
        wishes = pipeline.lrange(moves, 0, -1)
        pipeline.multi()
        pipeline.hset(state, "tick", number)
        for player, steps in Counter(wishes).items():  # the rules of the game
            pipeline.hincrby(state, f"at:{player}", steps)
        pipeline.ltrim(moves, len(wishes), -1)  # newer ones stay for the next tick
        try:
            pipeline.execute()
        except valkey.WatchError:
            return False
    return True


def work(client: valkey.Valkey, game: str) -> int:
    """Try to make every tick; return how many were made here."""
    return sum(tick(client, game, number) for number in range(1, TICKS + 1))


def play(client: valkey.Valkey, game: str) -> tuple[int, dict[str, str]]:
    """Players and workers at the same time; ticks made, and the state at the end."""
    client.delete(f"{{{game}}}:state", f"{{{game}}}:moves")

    def press(number: int) -> None:
        for _ in range(MOVES):
            move(client, game, f"player-{number}")

    with ThreadPoolExecutor(WORKERS + PLAYERS) as pool:
        players = [pool.submit(press, number) for number in range(PLAYERS)]
        workers = [pool.submit(work, client, game) for _ in range(WORKERS)]
        for player in players:
            player.result()
        made = sum(worker.result() for worker in workers)
    made += tick(client, game, TICKS + 1)  # for what came after the last tick
    return made, client.hgetall(f"{{{game}}}:state")


def main() -> int:
    """Play on the training server; return the exit status."""
    client = valkey.Valkey(host="127.0.0.1", port=6379, decode_responses=True)
    with client:
        try:
            made, state = play(client, "race")
        except valkey.ConnectionError as error:
            print(f"Cannot reach Valkey: {error}", file=sys.stderr)
            return 1
    print(f"ticks made by {WORKERS} workers: {made}, the game says {state['tick']}")
    for number in range(PLAYERS):
        print(f"player-{number} moved {state[f'at:player-{number}']} of {MOVES} times")
    return 0


if __name__ == "__main__":
    sys.exit(main())
