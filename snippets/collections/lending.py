"""Lend a library's books: each copy is in one set, on the shelf or with a reader."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor

import valkey


def shelf(book: str) -> str:
    """The key of the set of a book's copies that can be borrowed."""
    return f"book:{book}:shelf"


def loans(reader: str) -> str:
    """The key of the set of copies that a reader has."""
    return f"reader:{reader}:loans"


def buy(client: valkey.Valkey, book: str, copies: Iterable[str]) -> int:
    """Put new copies on the shelf; return how many were not there yet."""
    return client.sadd(shelf(book), *copies)


def borrow(client: valkey.Valkey, book: str, reader: str) -> str | None:
    """Give the reader a copy of the book; ``None`` if all are out.

    SRANDMEMBER only looks. SMOVE takes the copy from one set and puts it into the
    other in one step, and says 0 if somebody else was faster. Then there is another
    copy to try, or none. No program that dies here can lose a copy.

    After a lost connection nobody knows whether the last SMOVE was executed: ask for
    the reader's loans before trying again.
    """
    while copy := client.srandmember(shelf(book)):
        if client.smove(shelf(book), loans(reader), copy):
            return copy
    return None


def give_back(client: valkey.Valkey, book: str, reader: str, copy: str) -> bool:
    """Put the copy back on the shelf; ``False`` if this reader does not have it."""
    return bool(client.smove(loans(reader), shelf(book), copy))


def whereabouts(
    client: valkey.Valkey, book: str, readers: Iterable[str]
) -> dict[str, set[str]]:
    """The copies on the shelf and with each reader, all at the same moment."""
    keys = [shelf(book), *map(loans, readers)]
    look = client.pipeline(transaction=True)
    for key in keys:
        look.smembers(key)
    return dict(zip(keys, map(set, look.execute()), strict=True))


def demonstrate(client: valkey.Valkey) -> None:
    """Eight readers want one of three copies at the same time."""
    book, readers = "dune", [f"reader-{number}" for number in range(1, 9)]
    client.delete(shelf(book), *map(loans, readers))
    buy(client, book, ["dune-1", "dune-2", "dune-3"])
    with ThreadPoolExecutor(len(readers)) as pool:
        got = list(pool.map(lambda reader: borrow(client, book, reader), readers))
    lent = [copy for copy in got if copy is not None]
    print(f"{len(readers)} readers asked, {len(lent)} got a copy: {sorted(lent)}")
    print(f"left on the shelf: {client.scard(shelf(book))}")
    pairs = zip(readers, got, strict=True)
    reader, copy = next((reader, copy) for reader, copy in pairs if copy is not None)
    print(f"given back: {give_back(client, book, reader, copy)}")
    print(f"given back once more: {give_back(client, book, reader, copy)}")
    total = sum(map(len, whereabouts(client, book, readers).values()))
    print(f"copies in all sets together: {total}")


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
