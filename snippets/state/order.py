"""Check out a cart: reserve all of it or nothing, then sell it or give it back."""

from __future__ import annotations

import sys

import valkey

# KEYS: cart, stock, order, due. ARGV: order number, milliseconds to pay
CHECKOUT = """
if server.call('EXISTS', KEYS[3]) == 1 then
    return 0 -- asked twice: once is enough
end
local lines = server.call('HGETALL', KEYS[1])
if #lines == 0 then
    return server.error_reply('EMPTY there is nothing in the cart')
end
for i = 1, #lines, 2 do
    local left = tonumber(server.call('HGET', KEYS[2], lines[i]) or 0)
    if left < tonumber(lines[i + 1]) then
        return server.error_reply('LACKING ' .. lines[i])
    end
end
for i = 1, #lines, 2 do
    server.call('HINCRBY', KEYS[2], lines[i], -lines[i + 1])
end
local time = server.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
server.call('RENAME', KEYS[1], KEYS[3])
server.call('PERSIST', KEYS[3])
server.call('ZADD', KEYS[4], now + ARGV[2], ARGV[1])
return 1
"""
# KEYS: stock, order, due. ARGV: order number
RELEASE = """
if server.call('ZREM', KEYS[3], ARGV[1]) == 0 then
    return 0 -- paid, or given back already
end
local lines = server.call('HGETALL', KEYS[2])
for i = 1, #lines, 2 do
    server.call('HINCRBY', KEYS[1], lines[i], lines[i + 1])
end
server.call('DEL', KEYS[2])
return 1
"""


class OutOfStockError(Exception):
    """There are not so many of this article."""


class Orders:
    """Orders that wait for their payment, and the stock they are taken from."""

    STOCK, DUE = "stock", "orders:due"

    def __init__(self, client: valkey.Valkey) -> None:
        self.client = client
        self._checkout = client.register_script(CHECKOUT)
        self._release = client.register_script(RELEASE)

    def checkout(self, cart: str, order: str, seconds: float = 900) -> None:
        """Reserve all that is in the cart, or nothing. Safe to repeat.

        Raises:
            OutOfStockError: it names the first article of which there is too little.
            valkey.ResponseError: there is nothing in the cart.
        """
        keys = [f"cart:{cart}", self.STOCK, f"order:{order}", self.DUE]
        try:
            self._checkout(keys=keys, args=[order, round(seconds * 1000)])
        except valkey.ResponseError as error:
            if str(error).startswith("LACKING "):
                raise OutOfStockError(str(error).removeprefix("LACKING ")) from None
            raise

    def pay(self, order: str) -> bool:
        """The money is here: the order is final. ``False`` if it was too late.

        Safe to repeat: what was given back no longer exists, so the rest is paid.
        """
        pipeline = self.client.pipeline()  # MULTI and EXEC
        pipeline.zrem(self.DUE, order)
        pipeline.exists(f"order:{order}")
        return pipeline.execute()[1] == 1

    def release(self, order: str) -> bool:
        """Give everything back, unless the order was paid."""
        keys = [self.STOCK, f"order:{order}", self.DUE]
        return self._release(keys=keys, args=[order]) == 1

    def release_late(self) -> int:
        """Give back what was not paid in time; run it every few seconds."""
        now = self.client.time()[0] * 1000
        late = self.client.zrange(self.DUE, "-inf", now, byscore=True)
        return sum(self.release(order) for order in late)


def demonstrate(client: valkey.Valkey) -> None:
    """Ada orders the last piece, and Ben comes too late."""
    client.delete("order:1", "order:2", Orders.DUE)
    client.hset(Orders.STOCK, mapping={"chess": 5, "go": 1})
    for cart in ("cart:ada", "cart:ben"):
        client.hset(cart, mapping={"chess": 2, "go": 1})
    orders = Orders(client)
    orders.checkout("ada", "1")
    try:
        orders.checkout("ben", "2")
    except OutOfStockError as error:
        print("ben gets nothing, there is too little of:", error)
    print("left:", client.hgetall(Orders.STOCK))
    print("ada's order given back:", orders.release("1"), orders.release("1"))
    print("left:", client.hgetall(Orders.STOCK))
    orders.checkout("ben", "2")
    print("ben paid:", orders.pay("2"), "given back:", orders.release("2"))


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
