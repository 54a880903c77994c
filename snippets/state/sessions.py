"""Sessions: they end when unused, change their id, and can all be ended at once."""

from __future__ import annotations

import hashlib
import secrets
import sys

import valkey

IDLE = 30 * 60  # seconds without a request
LIFE = 7 * 24 * 3600  # seconds at most, however often it is used

NOW = """
local time = server.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
"""
# KEYS: the session, the user's sessions
# ARGV: the session's digest, idle time and life in milliseconds, fields and values
START = f"""{NOW}
local ends = now + ARGV[3]
local expires = math.min(now + ARGV[2], ends)
server.call('HSET', KEYS[1], 'ends', ends, unpack(ARGV, 4))
server.call('PEXPIREAT', KEYS[1], expires)
server.call('ZREMRANGEBYSCORE', KEYS[2], '-inf', now)
server.call('ZADD', KEYS[2], expires, ARGV[1])
server.call('PEXPIRE', KEYS[2], ARGV[3])
"""
# KEYS: the session, the user's sessions. ARGV: digest, idle time in milliseconds
LOAD = f"""{NOW}
local ends = server.call('HGET', KEYS[1], 'ends')
if not ends or not server.call('ZSCORE', KEYS[2], ARGV[1]) then
    return {{}} -- ended, or no longer in the list
end
local expires = math.min(now + ARGV[2], tonumber(ends))
local session = server.call('HGETALL', KEYS[1])
server.call('PEXPIREAT', KEYS[1], expires)
server.call('ZADD', KEYS[2], expires, ARGV[1])
return session
"""
# KEYS: the session, its new key, the user's sessions. ARGV: old digest, new digest
ROTATE = """
local expires = server.call('ZSCORE', KEYS[3], ARGV[1])
if not expires or server.call('EXISTS', KEYS[1]) == 0 then
    return 0
end
server.call('RENAME', KEYS[1], KEYS[2])
server.call('ZREM', KEYS[3], ARGV[1])
server.call('ZADD', KEYS[3], expires, ARGV[2])
return 1
"""


def digest(secret: str) -> str:
    """What is stored in place of the secret: whoever reads it cannot log in with it."""
    return hashlib.sha256(secret.encode()).hexdigest()


class Sessions:
    """The sessions of all users. A token is ``user.secret``, and goes into a cookie."""

    def __init__(
        self, client: valkey.Valkey, idle: float = IDLE, life: float = LIFE
    ) -> None:
        self.client = client
        self.idle, self.life = round(idle * 1000), round(life * 1000)
        self._start, self._load, self._rotate = map(
            client.register_script, (START, LOAD, ROTATE)
        )

    def key(self, user: str, name: str) -> str:
        """The key of one session; the braces keep a user's keys on one server."""
        return f"{{user:{user}}}:session:{name}"

    def index(self, user: str) -> str:
        """The key of the list of a user's sessions: digest, and when it expires."""
        return f"{{user:{user}}}:sessions"

    def _new(self, user: str) -> tuple[str, str]:
        secret = secrets.token_urlsafe(32)
        return f"{user}.{secret}", digest(secret)

    def _split(self, token: str) -> tuple[str, str]:
        user, _, secret = token.rpartition(".")
        return user, digest(secret)

    def start(self, user: str, **facts: str) -> str:
        """Begin a session after a login; return its token."""
        token, name = self._new(user)
        fields = [word for pair in facts.items() for word in pair]
        keys = [self.key(user, name), self.index(user)]
        self._start(keys=keys, args=[name, self.idle, self.life, *fields])
        return token

    def load(self, token: str) -> dict[str, str] | None:
        """What is known of a session, and let it live on; ``None`` if it has ended."""
        user, name = self._split(token)
        keys = [self.key(user, name), self.index(user)]
        found = self._load(keys=keys, args=[name, self.idle])
        return dict(zip(found[::2], found[1::2], strict=True)) or None

    def rotate(self, token: str) -> str | None:
        """A new token for the same session; the old one is worth nothing any more."""
        user, old = self._split(token)
        fresh, new = self._new(user)
        keys = [self.key(user, old), self.key(user, new), self.index(user)]
        return fresh if self._rotate(keys=keys, args=[old, new]) else None

    def end(self, token: str) -> bool:
        """Log out; say whether there was such a session."""
        user, name = self._split(token)
        pipeline = self.client.pipeline()  # MULTI and EXEC
        pipeline.delete(self.key(user, name))
        pipeline.zrem(self.index(user), name)
        return bool(pipeline.execute()[0])

    def end_all(self, user: str) -> int:
        """Log out everywhere; return how many sessions that ended."""
        pipeline = self.client.pipeline()  # MULTI and EXEC
        pipeline.zrange(self.index(user), 0, -1)
        pipeline.delete(self.index(user))  # from here on, all of them are refused
        names = pipeline.execute()[0]
        keys = [self.key(user, name) for name in names]
        return self.client.delete(*keys) if keys else 0

    def count(self, user: str) -> int:
        """How many sessions a user has now."""
        seconds, microseconds = self.client.time()
        now = seconds * 1000 + microseconds // 1000
        return self.client.zcount(self.index(user), f"({now}", "+inf")


def demonstrate(client: valkey.Valkey) -> None:
    """One user on two devices."""
    sessions = Sessions(client)
    phone = sessions.start("7", device="phone")
    laptop = sessions.start("7", device="laptop")
    print("open:", sessions.count("7"))
    fresh = sessions.rotate(phone) or "-"
    print("with the old token:", sessions.load(phone))
    print("with the new token:", (sessions.load(fresh) or {}).get("device"))
    print("ended everywhere:", sessions.end_all("7"))
    print("laptop:", sessions.load(laptop), "open:", sessions.count("7"))


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
