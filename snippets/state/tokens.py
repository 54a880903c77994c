"""Links to files: one that works once, and one that needs no server to be checked."""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
import sys
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import valkey

CLIENTS = 20
DEADLINE = 10.0  # seconds after which a thread no longer waits for the others


def key(purpose: str, token: str) -> str:
    """Where a token is kept: as a digest, so that reading the keys opens nothing."""
    return f"token:{purpose}:{hashlib.sha256(token.encode()).hexdigest()}"


def issue(client: valkey.Valkey, purpose: str, subject: str, seconds: int = 900) -> str:
    """A token that stands for this subject, once, and for so long."""
    token = secrets.token_urlsafe(24)
    client.set(key(purpose, token), subject, ex=seconds)
    return token


def redeem(client: valkey.Valkey, purpose: str, token: str) -> str | None:
    """What the token stands for, to the first who asks; ``None`` to all others."""
    return client.getdel(key(purpose, token))


def _signature(secret: bytes, path: str, until: int) -> str:
    message = f"{path}\n{until}".encode()
    return hmac.new(secret, message, hashlib.sha256).hexdigest()


def sign(secret: bytes, path: str, until: int) -> str:
    """A link to this path that is good until then, in seconds since 1970."""
    return f"{path}?until={until}&signature={_signature(secret, path, until)}"


def check(secret: bytes, link: str, now: int) -> str | None:
    """The path, if the link is ours, unchanged and not too old; else ``None``."""
    path, _, query = link.partition("?until=")
    until, _, signature = query.partition("&signature=")
    if not re.fullmatch("[0-9]{1,12}", until):  # whoever asks may send anything
        return None
    expected = _signature(secret, path, int(until))
    genuine = hmac.compare_digest(signature.encode(), expected.encode())
    return path if genuine and now < int(until) else None


def race(client: valkey.Valkey, token: str) -> list[str]:
    """Let twenty clients redeem one token at the same moment; what they got."""
    together = Barrier(CLIENTS)

    def try_it() -> str | None:
        together.wait(DEADLINE)
        return redeem(client, "download", token)

    with ThreadPoolExecutor(CLIENTS) as pool:
        jobs = [pool.submit(try_it) for _ in range(CLIENTS)]
        return [got for job in jobs if (got := job.result()) is not None]


def main() -> int:
    """Try both kinds with the training server; return the exit status."""
    client = valkey.Valkey(host="127.0.0.1", port=6379, decode_responses=True)
    with client:
        try:
            got = race(client, issue(client, "download", "media:1"))
        except valkey.ConnectionError as error:
            print(f"Cannot reach Valkey: {error}", file=sys.stderr)
            return 1
    print(f"{CLIENTS} clients with one token: {got}")
    secret, ends = secrets.token_bytes(32), 1_900_000_000
    link = sign(secret, "/media/1", ends)
    print("signed, in time:", check(secret, link, ends - 1))
    print("signed, too late:", check(secret, link, ends))
    print("signed, changed:", check(secret, link.replace("/1?", "/2?"), ends - 1))
    return 0


if __name__ == "__main__":
    sys.exit(main())
