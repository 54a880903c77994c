"""A ledger in cents: what leaves one account arrives on another, and counts once."""

from __future__ import annotations

import random
import sys
from concurrent.futures import ThreadPoolExecutor

import valkey

PEOPLE = ["ada", "ben", "cleo", "dan"]
OUTSIDE = "outside"  # where deposits come from: the only account below zero
MOST = 10**15  # cents in one transfer; Lua is exact up to about 9 times as much
REMEMBERED = 7 * 24 * 3600  # seconds for which a repetition is recognised

# KEYS: balances, journal, the transfer's id
# ARGV: from, to, cents, id, the account that may be below zero, seconds
TRANSFER = """
local from, to, cents = ARGV[1], ARGV[2], ARGV[3]
local request = cjson.encode({from, to, cents})
local done = server.call('GET', KEYS[3])
if done == request then
    return 0
elseif done then
    return server.error_reply('REUSED another transfer had this id')
end
local there = tonumber(server.call('HGET', KEYS[1], from) or 0)
local least = from == ARGV[5] and -9e18 or 0 -- 64 bits end at about -9.2e18
if there - cents < least then
    return server.error_reply('NOFUNDS there is not enough on the account')
end
server.call('HINCRBY', KEYS[1], to, cents) -- could overflow, so it comes first
server.call('HINCRBY', KEYS[1], from, '-' .. cents)
server.call('XADD', KEYS[2], '*', 'id', ARGV[4], 'from', from, 'to', to, 'cents', cents)
server.call('SET', KEYS[3], request, 'EX', ARGV[6])
return 1
"""


class NoFundsError(Exception):
    """There is not enough on the account."""


class Ledger:
    """Accounts whose sum is always zero."""

    def __init__(self, client: valkey.Valkey, name: str) -> None:
        self.client = client
        self.name = f"{{{name}}}"
        self.balances, self.journal = f"{self.name}:balances", f"{self.name}:journal"
        self._transfer = client.register_script(TRANSFER)

    def transfer(self, number: str, source: str, target: str, cents: int) -> bool:
        """Move cents; with the same number a second time it does nothing.

        Raises:
            NoFundsError: there are fewer on the source.
        """
        if not 1 <= cents <= MOST or source == target:
            raise ValueError(f"cannot move {cents} from {source} to {target}")
        keys = [self.balances, self.journal, f"{self.name}:done:{number}"]
        arguments = [source, target, cents, number, OUTSIDE, REMEMBERED]
        try:
            return self._transfer(keys=keys, args=arguments) == 1
        except valkey.ResponseError as error:
            if str(error).startswith("NOFUNDS"):
                raise NoFundsError(source) from None
            raise

    def balance(self, account: str) -> int:
        """The cents on an account."""
        return int(self.client.hget(self.balances, account) or 0)

    def total(self) -> int:
        """The sum of all accounts, all read at one moment."""
        return sum(map(int, self.client.hvals(self.balances)))

    def replay(self) -> dict[str, int]:
        """The balances as they follow from the journal."""
        balances: dict[str, int] = {}
        for _, entry in self.client.xrange(self.journal):
            cents = int(entry["cents"])
            balances[entry["to"]] = balances.get(entry["to"], 0) + cents
            balances[entry["from"]] = balances.get(entry["from"], 0) - cents
        return balances


def trade(ledger: Ledger, client_number: int, rounds: int) -> int:
    """Move amounts between accounts by chance; how many were done."""
    chance = random.Random(client_number)  # noqa: S311 - a test, not a secret
    done = 0
    for turn in range(rounds):
        source, target = chance.sample(PEOPLE, 2)
        number = f"{client_number}-{turn}"
        try:
            done += ledger.transfer(number, source, target, chance.randint(1, 4000))
        except NoFundsError:
            continue
    return done


def demonstrate(client: valkey.Valkey) -> None:
    """Eight clients trade at once, while the sum is checked."""
    for key in client.scan_iter(match="{bank}:*"):
        client.delete(key)
    ledger = Ledger(client, "bank")
    ledger.transfer("salary", OUTSIDE, "ada", 10_000)
    print("salary once more:", ledger.transfer("salary", OUTSIDE, "ada", 10_000))
    with ThreadPoolExecutor(8) as pool:
        jobs = [pool.submit(trade, ledger, number, 50) for number in range(8)]
        sums = {ledger.total()}
        while not all(job.done() for job in jobs):
            sums.add(ledger.total())
        done = sum(job.result() for job in jobs)
    balances = {name: ledger.balance(name) for name in (OUTSIDE, *PEOPLE)}
    people = [balances[name] for name in PEOPLE]
    print("sums seen meanwhile:", sums)
    print("transfers:", done)
    print(f"outside {balances[OUTSIDE]}, the four together {sum(people)}")
    print("nobody below zero:", min(people) >= 0)
    print("journal and balances agree:", ledger.replay() == balances)


def main() -> int:
    """Trade on the training server; return the exit status."""
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
