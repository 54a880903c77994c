"""What goes with a game, by the overlap of the sets of those who bought it."""

from __future__ import annotations

import sys
from typing import NamedTuple

import valkey


class Similar(NamedTuple):
    """Another game, and how much its buyers are the same: 0 to 1."""

    game: str
    similarity: float


def jaccard(both: int, first: int, second: int) -> float:
    """The size of the intersection by that of the union."""
    union = first + second - both
    return both / union if union else 0.0


class Purchases:
    """Who bought what, kept both ways round."""

    def __init__(self, client: valkey.Valkey) -> None:
        self.client = client

    def buy(self, customer: str, game: str) -> None:
        """Note a purchase in both sets, or in neither."""
        pipeline = self.client.pipeline()  # MULTI and EXEC
        pipeline.sadd(f"bought:{customer}", game)
        pipeline.sadd(f"buyers:{game}", customer)
        pipeline.execute()

    def also_bought(self, game: str, count: int = 3) -> list[tuple[str, int]]:
        """What the buyers of a game bought besides, with how many did."""
        buyers = self.client.smembers(f"buyers:{game}")
        if not buyers:
            return []
        baskets = [f"bought:{buyer}" for buyer in buyers]
        counted = self.client.zunion(baskets, withscores=True)  # most at the end
        others = [(each, int(score)) for each, score in counted if each != game]
        return others[::-1][:count]

    def similar(self, game: str, count: int = 3) -> list[Similar]:
        """The games with the most similar buyers."""
        others = [each for each, _ in self.also_bought(game, count=1000)]
        pipeline = self.client.pipeline()  # all sizes at one moment
        pipeline.scard(f"buyers:{game}")
        for other in others:
            pipeline.scard(f"buyers:{other}")
            pipeline.sintercard(2, [f"buyers:{game}", f"buyers:{other}"])
        own, *sizes = pipeline.execute()
        found = [
            Similar(other, jaccard(both, own, size))
            for other, size, both in zip(others, sizes[::2], sizes[1::2], strict=True)
        ]
        return sorted(found, key=lambda each: (-each.similarity, each.game))[:count]

    def suggest(self, customer: str, count: int = 3) -> list[Similar]:
        """Games a customer has not bought, each by the best reason for it."""
        owned = self.client.smembers(f"bought:{customer}")
        best: dict[str, float] = {}
        for game in owned:
            for other, similarity in self.similar(game, count=10):
                if other not in owned:
                    best[other] = max(similarity, best.get(other, 0.0))
        found = [Similar(*each) for each in best.items()]
        return sorted(found, key=lambda each: (-each.similarity, each.game))[:count]


SALES = {
    "ada": "cards chess clock",
    "ben": "cards chess clock go",
    "cleo": "cards chess",
    "dan": "cards dice",
    "eve": "cards dice go",
    "fay": "cards",
    "gus": "cards dice",
    "hal": "cards go",
}


def main() -> int:
    """Sell and suggest on the training server; return the exit status."""
    client = valkey.Valkey(host="127.0.0.1", port=6379, decode_responses=True)
    with client:
        try:
            purchases = Purchases(client)
            for customer, games in SALES.items():
                for game in games.split():
                    purchases.buy(customer, game)
            print("with chess, by number:", purchases.also_bought("chess"))
            for game, similarity in purchases.similar("chess"):
                print(f"with chess: {game:5} {similarity:.2f}")
            print("for cleo:", [each.game for each in purchases.suggest("cleo")])
        except valkey.ConnectionError as error:
            print(f"Cannot reach Valkey: {error}", file=sys.stderr)
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
