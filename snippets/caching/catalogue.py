"""A shop's products: SQLite behind a cache that keeps no old copy by accident."""

from __future__ import annotations

import json
import logging
import random
import sqlite3
import sys
import time
import uuid
from concurrent.futures import ThreadPoolExecutor
from threading import Lock
from typing import Any

import valkey

LIFE, LIFE_OF_NOTHING = 300.0, 30.0  # seconds a copy is good for
LEASE = 5.0  # seconds that a reader may take to ask the database
MARK = "lease:"
# Only the reader whose mark is still there may put its copy, or take the mark away.
FILL = """
if server.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
if ARGV[2] == '' then return server.call('DEL', KEYS[1]) end
server.call('SET', KEYS[1], ARGV[2], 'PX', ARGV[3])
return 1
"""
logger = logging.getLogger("catalogue")
TROUBLE = valkey.ValkeyError  # the cache is away, full, read-only, loading, …
Product = dict[str, Any]


class Database:
    """The truth: a table of SQLite. It counts what it is asked."""

    def __init__(self) -> None:
        self.queries = 0
        self._one_at_a_time = Lock()
        self._rows = sqlite3.connect(":memory:", check_same_thread=False)
        self._rows.execute("CREATE TABLE product (id INTEGER PRIMARY KEY, name, price)")
        rows = [(7, "tea", 4), (8, "cup", 9)]
        self._rows.executemany("INSERT INTO product VALUES (?, ?, ?)", rows)
        self._rows.commit()

    def product(self, number: int) -> Product | None:
        """The row of this number, if there is one."""
        with self._one_at_a_time:
            self.queries += 1
            query = "SELECT name, price FROM product WHERE id = ?"
            row = self._rows.execute(query, (number,)).fetchone()
        return {"name": row[0], "price": row[1]} if row else None

    def change_price(self, number: int, price: int) -> None:
        """Write and commit."""
        with self._one_at_a_time, self._rows:  # commits at its end
            update = "UPDATE product SET price = ? WHERE id = ?"
            self._rows.execute(update, (price, number))


class Catalogue:
    """Products, from the cache where possible; without the cache, from the database."""

    def __init__(self, client: valkey.Valkey, database: Database) -> None:
        self.client, self.database = client, database
        self._fill = client.register_script(FILL)

    def product(self, number: int) -> Product | None:
        """The product, or nothing if there is none of this number."""
        key, mark = f"product:{number}", MARK + uuid.uuid4().hex
        end = time.monotonic() + LEASE
        try:
            while time.monotonic() < end:
                found: Any = self.client.get(key)
                if found is None:
                    if self.client.set(key, mark, nx=True, px=int(LEASE * 1000)):
                        return self._load(key, mark, number)
                elif not found.startswith(MARK):
                    copy: Product | None = json.loads(found)
                    return copy
                else:
                    time.sleep(0.005)  # another reader is asking the database
        except TROUBLE as error:
            logger.warning("no cache: %s", error)
        return self.database.product(number)

    def _load(self, key: str, mark: str, number: int) -> Product | None:
        """Ask the database; keep what it said, unless it has changed meanwhile."""
        copy, life = "", LIFE  # an empty copy takes the mark away
        try:
            found = self.database.product(number)
            copy = json.dumps(found)  # "null" if there is no such product
            life = LIFE if found else LIFE_OF_NOTHING
        finally:
            life *= random.uniform(0.9, 1.1)  # noqa: S311  no secret
            try:
                self._fill(keys=[key], args=[mark, copy, int(life * 1000)])
            except TROUBLE as error:  # no reason to fail: the row is there
                logger.warning("not cached: %s", error)
        return found

    def change_price(self, number: int, price: int) -> None:
        """Change the truth first, then remove the copy, or the mark of a reader."""
        self.database.change_price(number, price)
        try:
            self.client.delete(f"product:{number}")
        except TROUBLE as error:  # the copy's life is the longest it can be wrong
            logger.warning("product %s may be old in the cache: %s", number, error)


def demonstrate(client: valkey.Valkey) -> list[str]:
    """What the shop's pages see, and how often the database was asked."""
    database = Database()
    shop = Catalogue(client, database)
    client.delete("product:7", "product:8", "product:99")

    def asked(what: str) -> str:
        queries, database.queries = database.queries, 0
        return f"{what}: {queries} queries" if queries != 1 else f"{what}: 1 query"

    seen = [shop.product(7) for _ in range(10)]
    lines = [asked(f"product 7, ten times, {seen[-1]}")]
    seen = [shop.product(99) for _ in range(10)]
    lines.append(asked(f"product 99, ten times, {seen[-1]}"))
    shop.change_price(7, 5)
    seen = [shop.product(7) for _ in range(10)]
    lines.append(asked(f"product 7 after a change, {seen[-1]}"))
    with ThreadPoolExecutor(16) as pool:
        seen = list(pool.map(shop.product, [8] * 16))
    lines.append(asked(f"product 8, 16 threads at once, {seen[-1]}"))
    return lines


def main() -> int:
    """Show the catalogue on the training server; return the exit status."""
    client = valkey.Valkey(
        host="127.0.0.1", port=6379, decode_responses=True, socket_timeout=2
    )
    with client:
        try:
            print("\n".join(demonstrate(client)))
        except valkey.ConnectionError as error:
            print(f"Cannot reach Valkey: {error}", file=sys.stderr)
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
