"""A semaphore: so many may work at once, in the order in which they came."""

from __future__ import annotations

import secrets
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress

import valkey

ASK = """
-- KEYS: numbers (who -> number), ends (who -> until when), the last number given out
-- ARGV: who, for how many milliseconds
local time = server.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
for _, dead in ipairs(server.call('ZRANGE', KEYS[2], '-inf', now, 'BYSCORE')) do
    server.call('ZREM', KEYS[1], dead)
    server.call('ZREM', KEYS[2], dead)
end
if not server.call('ZSCORE', KEYS[1], ARGV[1]) then
    server.call('ZADD', KEYS[1], server.call('INCR', KEYS[3]), ARGV[1])
end
server.call('ZADD', KEYS[2], now + ARGV[2], ARGV[1])
return server.call('ZRANK', KEYS[1], ARGV[1])
"""


class NoPlaceError(Exception):
    """All places were taken for as long as we were ready to wait."""


class Semaphore:
    """So many places under one name. Whoever waits has to keep asking."""

    def __init__(
        self, client: valkey.Valkey, name: str, places: int, life: int = 10_000
    ) -> None:
        """A place, and a place in the queue, is kept for so many milliseconds."""
        base = f"semaphore:{{{name}}}"
        self.keys = (f"{base}:numbers", f"{base}:ends", f"{base}:last")
        self.places = places
        self.life = life
        self._client = client
        self._ask = client.register_script(ASK)

    def ask(self, who: str) -> bool:
        """Queue up, or say that we are still there; whether we have a place."""
        return int(self._ask(self.keys, (who, self.life))) < self.places

    def leave(self, who: str) -> None:
        """Give the place back, or stop waiting for one."""
        pipeline = self._client.pipeline()
        pipeline.zrem(self.keys[0], who)
        pipeline.zrem(self.keys[1], who)
        pipeline.execute()

    @contextmanager
    def place(self, patience: float = 30.0) -> Iterator[str]:
        """Have a place while the block runs, and keep it meanwhile."""
        who = secrets.token_hex(8)
        ended = threading.Event()
        give_up = time.monotonic() + patience

        def keep() -> None:
            while not ended.wait(self.life / 3_000):
                with suppress(valkey.ConnectionError, valkey.TimeoutError):
                    self.ask(who)  # the next round tries again

        thread = threading.Thread(target=keep, daemon=True)
        try:
            while not self.ask(who):
                if time.monotonic() >= give_up:
                    raise NoPlaceError(self.keys[0])
                time.sleep(0.005)
            thread.start()
            yield who
        finally:
            ended.set()
            if thread.ident is not None:
                thread.join()
            self.leave(who)


def call_bank(client: valkey.Valkey, semaphore: Semaphore) -> int:
    """Call a bank that bears few calls at once; how many there were just then."""
    with semaphore.place():
        busy = int(client.incr("bank:busy"))
        time.sleep(0.002)  # the bank thinks
        client.decr("bank:busy")
    return busy


def main() -> int:
    """Let twenty threads call a bank that bears three; return the exit status."""
    client = valkey.Valkey(host="127.0.0.1", port=6379, decode_responses=True)
    with client, ThreadPoolExecutor(20) as pool:
        try:
            semaphore = Semaphore(client, "bank", places=3)
            calls = [pool.submit(call_bank, client, semaphore) for _ in range(60)]
            busy = [call.result() for call in calls]
        except valkey.ConnectionError as error:
            print(f"Cannot reach Valkey: {error}", file=sys.stderr)
            return 1
    print(f"{len(busy)} calls by 20 threads, at most {max(busy)} at once")
    return 0


if __name__ == "__main__":
    sys.exit(main())
