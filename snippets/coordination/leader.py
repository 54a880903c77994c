"""One of several candidates leads, as long as it is alive: a lease and terms."""

from __future__ import annotations

import secrets
import signal
import sys
import time
from threading import Event

import valkey

OFFICE = "mail"
LEASE = 1_200  # milliseconds for which a leader may be silent
AWAY = (valkey.ConnectionError, valkey.TimeoutError)

CAMPAIGN = """
-- KEYS: who leads, the number of the term, the candidates.   ARGV: who, milliseconds
server.call('SADD', KEYS[3], ARGV[1])
local leader = server.call('GET', KEYS[1])
if leader and leader ~= ARGV[1] then
    return 0
elseif leader then
    server.call('PEXPIRE', KEYS[1], ARGV[2])
    return tonumber(server.call('GET', KEYS[2]))
end
server.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
return server.call('INCR', KEYS[2])
"""
RESIGN = """
server.call('SREM', KEYS[3], ARGV[1])
if server.call('GET', KEYS[1]) == ARGV[1] then
    return server.call('DEL', KEYS[1])
end
return 0
"""


class Candidate:
    """Somebody who leads, or would like to."""

    def __init__(self, client: valkey.Valkey, office: str, name: str) -> None:
        base = f"leader:{{{office}}}"
        self.keys = (base, f"{base}:term", f"{base}:candidates")
        self.name = name
        self.owner = f"{name}:{secrets.token_hex(4)}"  # a namesake is somebody else
        self.term = 0  # also the fencing token of all that a leader writes
        self._until = 0.0
        self._campaign = client.register_script(CAMPAIGN)
        self._resign = client.register_script(RESIGN)

    def campaign(self) -> bool:
        """Become the leader, or stay it; whether that worked."""
        asked = time.monotonic()  # before asking: the server's lease begins later
        self.term = self._campaign(self.keys, (self.owner, LEASE))
        self._until = asked + LEASE / 1_000 if self.term else 0.0
        return self.leads()

    def leads(self) -> bool:
        """Whether the lease surely lasts, by our own clock."""
        return time.monotonic() < self._until

    def resign(self) -> None:
        """Give up the lease, so that nobody has to wait for its end."""
        self._until = 0.0
        self._resign(self.keys, (self.owner,))


def serve(candidate: Candidate, ended: Event) -> None:
    """Campaign until told to end; say when we come to lead, and when no longer."""
    term = 0
    while not ended.wait(LEASE / 3_000):
        try:
            candidate.campaign()
        except AWAY as error:
            print(f"{candidate.name}: {error}", file=sys.stderr)
        if not candidate.leads() and term:
            term = 0
            print(f"{candidate.name} no longer leads", flush=True)
        elif candidate.leads() and term != candidate.term:
            term = candidate.term
            print(f"{candidate.name} leads, term {term}", flush=True)
    candidate.resign()


def be(client: valkey.Valkey, name: str) -> None:
    """Be a candidate until SIGTERM, the signal that asks a process to end."""
    ended = Event()
    signal.signal(signal.SIGTERM, lambda *_: ended.set())
    serve(Candidate(client, OFFICE, name), ended)


def status(client: valkey.Valkey) -> str:
    """Who leads, by the word of the server."""
    owner, term = client.mget(Candidate(client, OFFICE, "").keys[:2])
    name = owner.partition(":")[0] if owner else "nobody"
    return f"{name} leads, term {term or 0}"


def main() -> int:
    """Be the candidate named on the command line, or say who leads."""
    client = valkey.Valkey(
        host="127.0.0.1",
        port=6379,
        decode_responses=True,
        socket_timeout=LEASE / 3_000,  # rather another try than waiting for too long
    )
    with client:
        try:
            if len(sys.argv) > 1:
                client.ping()  # without a server at the start, give up
                be(client, sys.argv[1])
            else:
                print(status(client))
        except AWAY as error:
            print(f"Cannot reach Valkey: {error}", file=sys.stderr)
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
