"""A feed that is written ahead: each post is delivered to all followers."""

from __future__ import annotations

import sys
from typing import NamedTuple

import valkey

KEEP = 500  # entries in a feed
BATCH = 100  # followers on one trip


class Post(NamedTuple):
    """What one sees in a feed."""

    number: int
    author: str
    text: str


class Page(NamedTuple):
    """A piece of a feed, and where the next one begins; ``None`` at the end."""

    posts: list[Post]
    cursor: int | None


def follow(client: valkey.Valkey, reader: str, author: str) -> None:
    """From now on the reader gets what the author writes."""
    client.sadd(f"followers:{author}", reader)


def post(client: valkey.Valkey, author: str, text: str) -> int:
    """Keep a post, note that it is to be delivered, and deliver it."""
    number = client.incr("posts:number")
    pipeline = client.pipeline()  # MULTI and EXEC: the post and the note, or neither
    pipeline.hset(f"post:{number}", mapping={"author": author, "text": text})
    pipeline.sadd("posts:pending", number)
    pipeline.execute()
    deliver(client, number)
    return number


def deliver(client: valkey.Valkey, number: int) -> None:
    """Put a post into the feeds of all followers; safe to repeat."""
    author = client.hget(f"post:{number}", "author")
    cursor = 0
    while author:  # none: the post was deleted, and nobody gets it
        cursor, readers = client.sscan(f"followers:{author}", cursor, count=BATCH)
        pipeline = client.pipeline(transaction=False)  # each feed is for itself
        for reader in readers:
            pipeline.zadd(f"feed:{reader}", {str(number): number})
            pipeline.zremrangebyrank(f"feed:{reader}", 0, -KEEP - 1)
        pipeline.execute()
        if cursor == 0:  # all have it
            break
    client.srem("posts:pending", number)


def resume(client: valkey.Valkey) -> int:
    """Deliver what somebody began and did not finish; run it every now and then."""
    pending = sorted(map(int, client.smembers("posts:pending")))
    for number in pending:
        deliver(client, number)
    return len(pending)


def read(
    client: valkey.Valkey, reader: str, before: int | None = None, count: int = 3
) -> Page:
    """The newest posts that are older than ``before``."""
    newest = "+inf" if before is None else f"({before}"
    numbers = client.zrange(
        f"feed:{reader}", newest, "-inf", desc=True, byscore=True, offset=0, num=count
    )
    pipeline = client.pipeline(transaction=False)
    for number in numbers:
        pipeline.hmget(f"post:{number}", "author", "text")
    found = zip(map(int, numbers), pipeline.execute(), strict=True)
    posts = [Post(number, author, text) for number, (author, text) in found if author]
    return Page(posts, int(numbers[-1]) if len(numbers) == count else None)


def demonstrate(client: valkey.Valkey) -> None:
    """Read page by page while others write."""
    client.delete("posts:number", "posts:pending", "feed:ada", "feed:ben")
    for reader in ("ada", "ben"):
        follow(client, reader, "cleo")
    for number in range(1, 6):
        post(client, "cleo", f"move {number}")
    page = read(client, "ada")
    print([each.text for each in page.posts])
    post(client, "cleo", "move 6")
    client.delete("post:2")
    while page.cursor is not None:
        page = read(client, "ada", before=page.cursor)
        print([each.text for each in page.posts])
    print("again from the top:", [each.text for each in read(client, "ada").posts])


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
