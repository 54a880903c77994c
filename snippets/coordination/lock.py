"""A lock for programs on several machines: an owner, an end, and a fencing token."""

from __future__ import annotations

import secrets
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import valkey

ACQUIRE = """
local holder = server.call('GET', KEYS[1])
if not holder then
    server.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
    return server.call('INCR', KEYS[2])
elseif holder == ARGV[1] then -- asked again after a lost reply
    server.call('PEXPIRE', KEYS[1], ARGV[2])
    return tonumber(server.call('GET', KEYS[2]))
end
return 0
"""
IF_OURS = "if server.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end "
RENEW = IF_OURS + "return server.call('PEXPIRE', KEYS[1], ARGV[2])"
RELEASE = IF_OURS + "return server.call('DEL', KEYS[1])"


class LockBusyError(Exception):
    """Somebody else held the lock for as long as we were ready to wait."""


class LockLostError(Exception):
    """The lock's time was over; somebody else may hold it, or may have held it."""


class Lock:
    """A lock on a name. One object is one holder: do not share it."""

    def __init__(self, client: valkey.Valkey, name: str, life: int = 10_000) -> None:
        """Hold for so many milliseconds, unless renewed."""
        self.keys = (f"lock:{{{name}}}", f"lock:{{{name}}}:token")
        self.token = 0  # the fencing token: each holder's is greater than the last
        self._life = life
        self._owner = secrets.token_hex(16)
        self._until = 0.0
        self._acquire = client.register_script(ACQUIRE)
        self._renew = client.register_script(RENEW)
        self._release = client.register_script(RELEASE)

    def acquire(self, patience: float = 0.0) -> bool:
        """Try until the lock is ours, or until so many seconds have passed."""
        give_up = time.monotonic() + patience
        while True:
            asked = time.monotonic()
            self.token = self._acquire(self.keys, (self._owner, self._life))
            if self.token:
                self._until = asked + self._life / 1_000
                return True
            if asked >= give_up:
                return False
            time.sleep(0.001 + secrets.randbelow(20) / 1_000)  # not all at once

    def renew(self) -> None:
        """Begin a new life of the lock, if it is still ours."""
        asked = time.monotonic()
        if not self._renew(self.keys, (self._owner, self._life)):
            self._until = 0.0
            raise LockLostError(self.keys[0])
        self._until = asked + self._life / 1_000

    def release(self) -> None:
        """Let go of the lock, if it is still ours."""
        self._until = 0.0
        if not self._release(self.keys, (self._owner,)):
            raise LockLostError(self.keys[0])

    def left(self) -> float:
        """For how many seconds it is ours, counted from before we asked for it."""
        return max(0.0, self._until - time.monotonic())

    @contextmanager
    def held(self, patience: float = 30.0) -> Iterator[Lock]:
        """Hold the lock while the block runs, and renew it meanwhile."""
        if not self.acquire(patience):
            raise LockBusyError(self.keys[0])
        ended = threading.Event()

        def keep() -> None:
            while not ended.wait(self._life / 3_000):
                try:
                    self.renew()
                except LockLostError:
                    return  # the block may ask left(), and release() will say so
                except (valkey.ConnectionError, valkey.TimeoutError):
                    continue  # there is time for another try

        thread = threading.Thread(target=keep, daemon=True)
        thread.start()
        try:
            yield self
        finally:
            ended.set()
            thread.join()
            self.release()


def count(client: valkey.Valkey, path: Path, rounds: int) -> None:
    """Add one to the number in a file, again and again, under the lock."""
    for _ in range(rounds):
        with Lock(client, "count").held():
            path.write_text(str(int(path.read_text("utf-8")) + 1), "utf-8")


def main() -> int:
    """Count in one file with eight threads; return the exit status."""
    path = Path("count.txt")
    path.write_text("0", "utf-8")
    client = valkey.Valkey(host="127.0.0.1", port=6379, decode_responses=True)
    with client, ThreadPoolExecutor(8) as pool:
        try:
            for done in [pool.submit(count, client, path, 25) for _ in range(8)]:
                done.result()
        except valkey.ConnectionError as error:
            print(f"Cannot reach Valkey: {error}", file=sys.stderr)
            return 1
    print(f"8 threads added 1 for 25 times each: {path.read_text('utf-8')}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
