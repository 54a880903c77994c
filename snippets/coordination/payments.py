"""Charge a card once, however often the request for it comes."""

from __future__ import annotations

import logging
import secrets
import sqlite3
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import valkey

CLAIM = """
-- KEYS: the idempotency key.   ARGV: what is asked for, who asks, milliseconds
local asked, result = unpack(server.call('HMGET', KEYS[1], 'asked', 'result'))
if not asked then
    server.call('HSET', KEYS[1], 'asked', ARGV[1], 'owner', ARGV[2])
    server.call('PEXPIRE', KEYS[1], ARGV[3])
    return {'ours'}
elseif asked ~= ARGV[1] then
    return server.error_reply('OTHER this key was used for something else')
end
return result and {'done', result} or {'busy'}
"""
RECORD = """
-- KEYS: the idempotency key.   ARGV: who, the result, milliseconds
if server.call('HGET', KEYS[1], 'owner') ~= ARGV[1] then return 0 end
server.call('HSET', KEYS[1], 'result', ARGV[2])
return server.call('PEXPIRE', KEYS[1], ARGV[3])
"""
log = logging.getLogger(__name__)
DAY = 24 * 60 * 60 * 1_000


class BusyError(Exception):
    """The same request is being worked on: ask again later."""


class Bank:
    """Charges cards; in a file, so that it outlives the programs that ask it."""

    def __init__(self, path: Path, *, knows_keys: bool) -> None:
        """A bank that knows keys takes each key once."""
        self.path, unique = path, "UNIQUE" if knows_keys else ""
        with closing(sqlite3.connect(path)) as database:
            database.execute(
                f"CREATE TABLE IF NOT EXISTS charges (key {unique}, amount)"
            )

    def charge(self, key: str, cents: int) -> str:
        """Take the money; returns the receipt."""
        insert = "INSERT OR IGNORE INTO charges VALUES (?, ?)"
        with closing(sqlite3.connect(self.path, timeout=30)) as database, database:
            database.execute(insert, (key, cents))
        return f"receipt for {cents} cents"

    def charges(self) -> int:
        """How often money was taken."""
        with closing(sqlite3.connect(self.path)) as database:
            return int(database.execute("SELECT count(*) FROM charges").fetchone()[0])


def pay(
    client: valkey.Valkey, bank: Bank, key: str, cents: int, claim: int = 30_000
) -> str:
    """Charge once per key; every further call with it gets the first one's receipt.

    Raises:
        BusyError: another call with this key is working, or died less than
            ``claim`` milliseconds ago.
        valkey.ResponseError: the key was used for another amount.
    """
    name, owner = f"payment:{key}", secrets.token_hex(8)
    state, *known = client.eval(CLAIM, 1, name, cents, owner, claim)
    if state == "done":
        return str(known[0])
    if state != "ours":
        raise BusyError(key)
    receipt = bank.charge(key, cents)
    if not client.eval(RECORD, 1, name, owner, receipt, DAY):
        log.warning("%s took longer than its claim: charged twice?", key)
    return receipt


def insist(client: valkey.Valkey, bank: Bank, key: str, cents: int) -> str:
    """Pay, and ask again while somebody is at it: at the longest until a claim ends."""
    while True:
        try:
            return pay(client, bank, key, cents)
        except BusyError:
            time.sleep(0.01)


def main() -> int:
    """Forty requests for five payments at once; return the exit status."""
    path = Path("bank.db")
    path.unlink(missing_ok=True)
    bank = Bank(path, knows_keys=False)
    keys = [f"order-{number % 5}" for number in range(40)]
    client = valkey.Valkey(host="127.0.0.1", port=6379, decode_responses=True)
    with client, ThreadPoolExecutor(8) as pool:
        try:
            list(pool.map(lambda key: insist(client, bank, key, 1_999), keys))
        except valkey.ConnectionError as error:
            print(f"Cannot reach Valkey: {error}", file=sys.stderr)
            return 1
    print(f"{len(keys)} requests for 5 payments: charged {bank.charges()} times")
    return 0


if __name__ == "__main__":
    sys.exit(main())
