"""What kind of command a line of a foreign page is: one that we do not send, one that may block, a placeholder.

The page is somebody else's. Nothing on it may reach another server, not even one on this machine: the
``127.0.0.1 6379`` of a page could be the reader's own.
"""

from __future__ import annotations

import re

NAMES = frozenset(
    """
    acl append asking auth bgrewriteaof bgsave bitcount bitfield bitfield_ro bitop bitpos blmove blmpop blpop brpop
    brpoplpush bzmpop bzpopmax bzpopmin client cluster clusterscan command commandlog config copy dbsize debug decr
    decrby del delifeq discard dump echo eval eval_ro evalsha evalsha_ro exec exists expire expireat expiretime failover
    fcall fcall_ro flushall flushdb function geoadd geodist geohash geopos georadius georadius_ro georadiusbymember
    georadiusbymember_ro geosearch geosearchstore get getbit getdel getex getrange getset hdel hello hexists hexpire
    hexpireat hexpiretime hget hgetall hgetdel hgetex hincrby hincrbyfloat hkeys hlen hmget hmset hpersist hpexpire
    hpexpireat hpexpiretime hpttl hrandfield hscan hset hsetex hsetnx hstrlen httl hvals incr incrby incrbyfloat info
    keys lastsave latency lcs lindex linsert llen lmove lmpop lolwut lpop lpos lpush lpushx lrange lrem lset ltrim
    memory mget migrate module monitor move mset msetex msetnx multi object persist pexpire pexpireat pexpiretime pfadd
    pfcount pfdebug pfmerge pfselftest ping psetex psubscribe psync pttl publish pubsub punsubscribe quit randomkey
    readonly readwrite rename renamenx replconf replicaof reset restore restore-asking role rpop rpoplpush rpush rpushx
    sadd save scan scard script sdiff sdiffstore select sentinel set setbit setex setnx setrange shutdown sinter
    sintercard sinterstore sismember slaveof slowlog smembers smismember smove sort sort_ro spop spublish srandmember
    srem sscan ssubscribe strlen subscribe substr sunion sunionstore sunsubscribe swapdb sync time touch ttl type unlink
    unsubscribe unwatch wait waitaof watch xack xadd xautoclaim xclaim xdel xgroup xinfo xlen xpending xrange xread
    xreadgroup xrevrange xsetid xtrim zadd zcard zcount zdiff zdiffstore zincrby zinter zintercard zinterstore zlexcount
    zmpop zmscore zpopmax zpopmin zrandmember zrange zrangebylex zrangebyscore zrangestore zrank zrem zremrangebylex
    zremrangebyrank zremrangebyscore zrevrange zrevrangebylex zrevrangebyscore zrevrank zscan zscore zunion zunionstore
    """.split()  # noqa: SIM905  a list literal would be 250 lines
)
"""The commands of Valkey 9.1, as its ``COMMAND LIST`` names them, and SENTINEL."""

UNORDERED = frozenset(
    {"SMEMBERS", "SUNION", "SDIFF", "SINTER", "KEYS", "SCAN", "SSCAN", "HSCAN", "HGETALL", "HKEYS", "HVALS"}
)
"""They promise no order."""

CLOCKS = frozenset({"TTL", "PTTL", "HTTL", "HPTTL"})
"""They reply with what is left of a time."""

MIGRATE = "MIGRATE"
"""Scripts may send this one: it is taken out of the server itself."""

STOPS = "stops the server"
BLOCKS = "blocks"
ELSEWHERE = "reaches another server"
MOVES = "changes how the server is reached"
CLOSES = "closes the terminal"
PLACEHOLDER = "needs arguments the page does not show"
UNTYPEABLE = "cannot be typed in a terminal"

MAX_BYTES = 4094  # see valkey_doctest.transcript

_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_QUOTED = re.compile(r'"(?:\\.|[^"\\])*"|\'(?:\\.|[^\'\\])*\'')
_PLACEHOLDER = re.compile(
    r"<[A-Za-z][\w .:|/-]*>"  # <key>
    r"|(?<!\S)\[[A-Z]{2,}[^\]]*\]"  # [COUNT count]
    r"|(?<!\S)(?:\.{3,}|…)(?!\S)"  # left out
    r"|(?<!\S)\$\{?[a-z_]\w*\}?(?!\S)"  # $value, but not JSONPath's $.a
)
_WORD = re.compile(r"[A-Za-z][\w.-]*$")
_MOVED_BY = re.compile(r"(?<!\S)(?:port|bind|tls-\S+|unixsocket\S*|protected-mode|dir|requirepass|maxclients)(?!\S)")
_RANDOM = frozenset({"SPOP", "SRANDMEMBER", "HRANDFIELD", "ZRANDMEMBER", "RANDOMKEY"})
_SUBSCRIBES = frozenset({"SUBSCRIBE", "PSUBSCRIBE", "SSUBSCRIBE", "MONITOR", "SYNC", "PSYNC"})
_POPS = frozenset({"BLPOP", "BRPOP", "BLMOVE", "BRPOPLPUSH", "BLMPOP", "BZPOPMIN", "BZPOPMAX", "BZMPOP"})
_WAITS = frozenset({"WAIT", "WAITAOF"})
_SCRIPTS = frozenset({"EVAL", "EVAL_RO", "FUNCTION", "SCRIPT"})
_HARMLESS = frozenset({"OBJECT", "JMAP", "HELP", "LISTPACK", "DIGEST", "DIGEST-VALUE", "SET-ACTIVE-EXPIRE"})
_OTHERS = frozenset({MIGRATE, "CONNECT", "SENTINEL"})
_CLUSTERS = frozenset({"MEET", "REPLICATE", "MIGRATESLOTS"})
_HOSTS = frozenset({"REPLICAOF", "SLAVEOF"})


def words(command: str) -> list[str]:
    """A command's words in capitals, quotes and all, without a number before it (valkey-cli repeats it so often)."""
    found = command.upper().split()
    return found[1:] if len(found) > 1 and found[0].lstrip("-").isdigit() else found


def is_name(word: str) -> bool:
    """Whether a word is the name of a command, also of one that a module would bring."""
    return word.lower() in NAMES or bool(re.match(r"[A-Z]+\.[A-Z]+", word))


def is_random(command: str) -> bool:
    """Whether a command replies with a random element: if it is the documented one, that was luck."""
    return bool(_RANDOM.intersection(words(command)[:1]))


def takes_at_random(command: str) -> bool:
    """Whether nobody knows what a command leaves behind."""
    return words(command)[:1] == ["SPOP"]


def refused(command: str) -> str | None:
    """Why a command is not sent at all, or ``None``."""
    if len(command.encode()) > MAX_BYTES or _CONTROL.search(command):
        return UNTYPEABLE
    if _PLACEHOLDER.search(_QUOTED.sub('""', command)):
        return PLACEHOLDER
    return _unsafe(words(command))


def _unsafe(said: list[str]) -> str | None:
    name, *rest = [word.strip("\"'") for word in said] or [""]
    first = rest[0] if rest else ""
    why = None
    if name == "DEBUG" and first == "SLEEP":
        why = BLOCKS
    elif name == "SHUTDOWN" or (name == "DEBUG" and first not in _HARMLESS):
        why = STOPS
    elif (
        name in _OTHERS
        or (name == "CLUSTER" and first in _CLUSTERS)
        or (name in _HOSTS and rest[:2] != ["NO", "ONE"])
        or (name in _SCRIPTS and any(MIGRATE in word for word in rest))
    ):
        why = ELSEWHERE
    elif name == "CONFIG" and first == "SET" and _MOVED_BY.search(" ".join(rest[1:]).lower()):
        why = MOVES
    elif name in ("QUIT", "EXIT") or name.startswith(":"):
        why = CLOSES
    return why


def blocking_seconds(command: str) -> float | None:
    """For a command that may wait for others: how long the page lets it wait (0: for ever); else ``None``."""
    said = words(command)
    name = said[0] if said else ""
    if name in _SUBSCRIBES:
        return 0
    if name in ("XREAD", "XREADGROUP") and "BLOCK" in said[:-1]:
        return _number(said[said.index("BLOCK") + 1]) / 1000
    if name in ("BLMPOP", "BZMPOP") and len(said) > 1:
        return _number(said[1])
    if name in _WAITS and len(said) > 1:
        return _number(said[-1]) / 1000
    return _number(said[-1]) if name in _POPS else None


def _number(word: str) -> float:
    return float(word) if re.fullmatch(r"\d+(?:\.\d+)?", word) else 0


def without_comment(command: str) -> str:
    """A command without the comment that some pages put behind it.

    ```python
    from valkey_doctest.foreign.words import without_comment

    assert without_comment('SET a "b # c"  # the value') == 'SET a "b # c"'
    assert without_comment("BITFIELD a SET i8 #0 100") == "BITFIELD a SET i8 #0 100"
    ```
    """
    hidden = _QUOTED.sub(lambda found: "q" * len(found[0]), command)
    comment = re.search(r"\s+(?:#|//|--)\s+\S", hidden)
    return command[: comment.start()] if comment else command


def is_open(command: str) -> bool:
    """Whether a command goes on in the next line: a quote is still open, or a backslash ends it."""
    rest = _QUOTED.sub("", command)
    return command.endswith("\\") or bool(re.search(r"(?<!\S)[\"']", rest))
