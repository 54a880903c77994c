"""A shop's carts: never below zero, never too full, merged at login."""

from __future__ import annotations

import sys
from concurrent.futures import ThreadPoolExecutor

import valkey

MOST = 9  # pieces of one article
KEPT = 30 * 24 * 3600  # seconds after the last change

# KEYS: cart. ARGV: article, change, most, seconds
CHANGE = """
local there = tonumber(server.call('HGET', KEYS[1], ARGV[1]) or 0)
local wanted = math.max(0, math.min(there + ARGV[2], tonumber(ARGV[3])))
if wanted > 0 then
    server.call('HSET', KEYS[1], ARGV[1], wanted)
else
    server.call('HDEL', KEYS[1], ARGV[1])
end
server.call('EXPIRE', KEYS[1], ARGV[4])
return wanted
"""
# KEYS: the guest's cart, the user's cart. ARGV: most, seconds
MERGE = """
local lines = server.call('HGETALL', KEYS[1])
for i = 1, #lines, 2 do
    local there = tonumber(server.call('HGET', KEYS[2], lines[i]) or 0)
    local sum = math.min(there + lines[i + 1], tonumber(ARGV[1]))
    server.call('HSET', KEYS[2], lines[i], sum)
end
server.call('DEL', KEYS[1])
server.call('EXPIRE', KEYS[2], ARGV[2])
"""


class Carts:
    """The carts of guests and users: article and how many pieces."""

    def __init__(self, client: valkey.Valkey) -> None:
        self.client = client
        self._change, self._merge = map(client.register_script, (CHANGE, MERGE))

    def change(self, cart: str, article: str, by: int) -> int:
        """Put pieces in, or take some out; how many are in the cart now."""
        arguments = [article, by, MOST, KEPT]
        return self._change(keys=[f"cart:{cart}"], args=arguments)

    def merge(self, guest: str, user: str) -> None:
        """At login: put the guest's cart into the user's. Safe to repeat."""
        if guest == user:
            raise ValueError(f"{guest} cannot be merged with itself")
        self._merge(keys=[f"cart:{guest}", f"cart:{user}"], args=[MOST, KEPT])

    def content(self, cart: str) -> dict[str, int]:
        """What is in a cart."""
        found = self.client.hgetall(f"cart:{cart}")
        return {article: int(pieces) for article, pieces in found.items()}


def demonstrate(client: valkey.Valkey) -> None:
    """Two tabs fill one cart, then the guest logs in."""
    client.delete("cart:guest", "cart:ada")
    carts = Carts(client)
    print("too many taken out:", carts.change("guest", "chess", -3))
    carts.change("ada", "chess", 1)
    carts.change("ada", "go", 1)
    with ThreadPoolExecutor(2) as tabs:
        list(tabs.map(lambda by: carts.change("guest", "chess", by), [1, 1, 1, -1]))
    print("the guest's cart:", carts.content("guest"))
    for _ in range(2):  # the second time does nothing
        carts.merge("guest", "ada")
    print("ada's cart:", carts.content("ada"))


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
