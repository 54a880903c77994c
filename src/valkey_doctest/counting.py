"""What servers say was run on them: by a page's Python, shell commands and scripts too, which name no command.

Servers count calls by command. They are asked before and after a step, with commands that MONITOR does not show, on
a connection that is gone before the page goes on.
"""

from __future__ import annotations

import re
import socket
from collections.abc import Mapping
from dataclasses import dataclass, field

from valkey_doctest.servers import ADDRESS, Server

SCRIPTS = frozenset({"EVAL", "EVALSHA", "EVALSHA_RO", "EVAL_RO", "FCALL", "FCALL_RO"})
"""Commands that run others."""

SECONDS = 2.0
"""How long a server may take to say it; one that takes longer is not counted."""

# The first shows each command's calls, as INFO commandstats does. The second tells a replica from a primary.
_QUESTION = b"LATENCY HISTOGRAM\r\nCONFIG GET replicaof\r\n"
_ASKED = ("LATENCY HISTOGRAM", "CONFIG GET")

# valkey-cli asks for the documentation when it starts; the others are what replicas send.
_NEVER = frozenset({"COMMAND DOCS", "PSYNC", "REPLCONF", "SYNC"})

# What we send until a server answers, and what Valkey 9.1 asks itself for its Lua.
_AT_START = frozenset({"CONFIG GET", "PING"})

# What we send until a server has found its place among others, and what these send.
_AMONG_SERVERS = frozenset({"CLIENT SETINFO", "CLUSTER INFO", "INFO", "PING"})
_OF_SENTINELS = frozenset(
    {
        "CLIENT KILL",
        "CLIENT SETNAME",
        "CONFIG GET",
        "CONFIG REWRITE",
        "EXEC",
        "FAILOVER",
        "MULTI",
        "PUBLISH",
        "REPLICAOF",
        "ROLE",
        "SLAVEOF",
        "SUBSCRIBE",
    }
)

_CALLS = re.compile(r"\$\d+\r\n([^\r\n]+)\r\n\*4\r\n\$5\r\ncalls\r\n:(\d+)\r\n")
_REPLICA_OF = re.compile(r"\$9\r\nreplicaof\r\n\$(\d+)\r\n")

Calls = Mapping[str, int]
"""How often each command was called, by its name in capitals, since the server started or its counts were reset."""


def calls(port: int) -> Calls | None:
    """What a server has counted: empty if it does not run, ``None`` if it does not say, or is a replica.

    A replica counts what its primary sends as well, which nobody typed, and says no more than the primary did.
    """
    said = b""
    try:
        with socket.create_connection((ADDRESS, port), timeout=SECONDS) as connection:
            connection.sendall(_QUESTION)
            connection.shutdown(socket.SHUT_WR)  # the server closes its side then, so no CLIENT LIST shows us
            while came := connection.recv(1 << 16):
                said += came
    except ConnectionRefusedError:
        return {}
    except OSError:
        return None
    text = said.decode("utf-8", errors="replace")
    found = {name.upper().replace("|", " "): int(count) for name, count in _CALLS.findall(text)}
    replica_of = _REPLICA_OF.search(text)
    if not text.startswith(f"*{2 * len(found)}\r\n") or (replica_of and int(replica_of[1])):
        return None
    return found


@dataclass
class Counting:
    """What the servers of a page run, one step after the other."""

    deployment: str
    _before: dict[str, Calls | None] = field(default_factory=dict)
    _ran: set[str] = field(default_factory=set)
    _paused: set[str] = field(default_factory=set)

    def begin(self, servers: Mapping[str, Server]) -> None:
        """A step begins."""
        self._ran.clear()
        self._before = {name: self._look(name, servers) for name in servers}

    def end(self, servers: Mapping[str, Server]) -> tuple[str, ...]:
        """What was run since: names in capitals, such as ``CONFIG GET``."""
        for name in servers:
            self._take(name, servers)
        return tuple(sorted(self._ran))

    def act(self, name: str, verb: str, servers: Mapping[str, Server]) -> None:
        """Docker's ``verb`` is about to be done to a server: after ``stop`` its counts would be lost."""
        if name not in servers or verb not in ("stop", "kill", "restart", "rm", "pause", "unpause"):
            return
        if verb == "unpause":
            self._paused.discard(name)
            self._before[name] = None
            return
        self._take(name, servers)
        if verb == "pause":
            self._paused.add(name)
        else:
            self._paused.discard(name)
            self._before[name] = {}

    def _look(self, name: str, servers: Mapping[str, Server]) -> Calls | None:
        return None if name in self._paused else calls(servers[name].port)

    def _take(self, name: str, servers: Mapping[str, Server]) -> None:
        """Add what was run on one server."""
        before = self._before.get(name, {})
        after = self._look(name, servers)
        if before is None or after is None:
            return
        expected = {**before}
        if before:  # counted after our last look: the look itself
            expected |= {command: before.get(command, 0) + 1 for command in _ASKED}
        not_theirs = _NEVER
        if any(after.get(command, 0) < count for command, count in expected.items()):
            expected = {}  # it was started again, or its counts were reset
        if not expected and "CONFIG RESETSTAT" not in after:
            not_theirs |= _AT_START
        if self.deployment not in ("standalone", "compose"):
            not_theirs |= _AMONG_SERVERS
        if self.deployment == "sentinel":
            not_theirs |= _OF_SENTINELS
        self._ran |= {command for command, count in after.items() if count > expected.get(command, 0)} - not_theirs
