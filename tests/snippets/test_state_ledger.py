"""The ledger: its sum is zero at every moment, and a transfer counts once."""

from __future__ import annotations

import random
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from types import ModuleType

import pytest
import valkey


@pytest.fixture(scope="module")
def ledger(snippet: Callable[[str], ModuleType]) -> ModuleType:
    """The program under test."""
    return snippet("state/ledger.py")


def test_moves_what_is_there_and_refuses_more(ledger: ModuleType, client: valkey.Valkey) -> None:
    bank = ledger.Ledger(client, "bank")
    assert bank.transfer("1", ledger.OUTSIDE, "ada", 500)
    assert bank.transfer("2", "ada", "ben", 500)
    with pytest.raises(ledger.NoFundsError, match="ada"):
        bank.transfer("3", "ada", "ben", 1)
    assert (bank.balance("ada"), bank.balance("ben"), bank.total()) == (0, 500, 0)
    assert client.xlen(bank.journal) == 2


def test_a_refused_transfer_may_be_tried_again_later(ledger: ModuleType, client: valkey.Valkey) -> None:
    bank = ledger.Ledger(client, "bank")
    with pytest.raises(ledger.NoFundsError):
        bank.transfer("rent", "ada", "ben", 5)
    bank.transfer("salary", ledger.OUTSIDE, "ada", 5)
    assert [bank.transfer("rent", "ada", "ben", 5) for _ in range(2)] == [True, False]


def test_twenty_times_the_same_deposit_counts_once(ledger: ModuleType, client: valkey.Valkey) -> None:
    bank = ledger.Ledger(client, "bank")
    with ThreadPoolExecutor(20) as pool:
        answers = list(pool.map(lambda _: bank.transfer("salary", ledger.OUTSIDE, "ada", 700), range(20)))
    assert sum(answers) == 1
    assert bank.balance("ada") == 700


@pytest.mark.parametrize("other", [("outside", "ben", 7), ("outside", "ada", 8)])
def test_an_id_that_was_used_for_something_else_is_refused(
    ledger: ModuleType, client: valkey.Valkey, other: tuple[str, str, int]
) -> None:
    bank = ledger.Ledger(client, "bank")
    bank.transfer("1", "outside", "ada", 7)
    with pytest.raises(valkey.ResponseError, match="REUSED"):
        bank.transfer("1", *other)
    assert bank.balance("ada") == 7


@pytest.mark.parametrize(("target", "cents"), [("ben", 0), ("ben", -5), ("ben", 10**15 + 1), ("ada", 5)])
def test_nonsense_does_not_reach_the_server(ledger: ModuleType, client: valkey.Valkey, target: str, cents: int) -> None:
    with pytest.raises(ValueError, match="cannot move"):
        ledger.Ledger(client, "bank").transfer("1", "ada", target, cents)
    assert client.dbsize() == 0


def test_an_overflow_leaves_nothing_half_done(ledger: ModuleType, client: valkey.Valkey) -> None:
    bank = ledger.Ledger(client, "bank")
    bank.transfer("1", ledger.OUTSIDE, "ada", 50)
    client.hset(bank.balances, mapping={"rich": 2**63 - 10})
    before = client.hgetall(bank.balances)
    with pytest.raises(valkey.ResponseError, match="overflow"):
        bank.transfer("2", "ada", "rich", 10)
    assert client.hgetall(bank.balances) == before
    assert client.xlen(bank.journal) == 1
    assert bank.transfer("2", "ada", "rich", 9)


def test_the_outside_does_not_leave_64_bits_half_way(ledger: ModuleType, client: valkey.Valkey) -> None:
    bank = ledger.Ledger(client, "bank")
    client.hset(bank.balances, mapping={"outside": -(2**63) + 5})
    with pytest.raises(ledger.NoFundsError, match="outside"):
        bank.transfer("1", ledger.OUTSIDE, "ada", 10)
    assert client.hgetall(bank.balances) == {"outside": str(-(2**63) + 5)}


def test_the_check_is_right_where_lua_is_no_longer_exact(ledger: ModuleType, client: valkey.Valkey) -> None:
    bank = ledger.Ledger(client, "bank")
    client.hset(bank.balances, mapping={"ada": 2**53 + 1, "outside": -(2**53) - 1})
    assert bank.transfer("1", "ada", "ben", ledger.MOST)
    assert bank.balance("ada") == 2**53 + 1 - ledger.MOST
    assert bank.total() == 0


def test_sums_hold_under_contention_and_while_clients_are_killed(
    ledger: ModuleType, client: valkey.Valkey, port: int
) -> None:
    watched = ledger.Ledger(client, "bank")
    watched.transfer("start", ledger.OUTSIDE, "ada", 10_000)
    killed = 0

    def trade(number: int) -> set[str]:
        chance = random.Random(number)
        done = set()
        with valkey.Valkey(host="127.0.0.1", port=port, decode_responses=True) as mine:
            bank = ledger.Ledger(mine, "bank")
            for turn in range(30):
                source, target = chance.sample(ledger.PEOPLE, 2)
                name, cents = f"{number}-{turn}", chance.randint(1, 4000)
                while True:
                    try:
                        bank.transfer(name, source, target, cents)
                    except ledger.NoFundsError:
                        break
                    except valkey.ConnectionError:
                        continue  # done or not: the same id makes it safe to ask again
                    done.add(name)
                    break
        return done

    with ThreadPoolExecutor(8) as pool:
        jobs = [pool.submit(trade, number) for number in range(8)]
        while not all(job.done() for job in jobs):
            killed += client.client_kill_filter(_type="normal", skipme=True)
            assert watched.total() == 0
            assert all(int(client.hget(watched.balances, name) or 0) >= 0 for name in ledger.PEOPLE)
        done = set().union(*(job.result() for job in jobs))
    assert killed > 0
    journal = [entry["id"] for _, entry in client.xrange(watched.journal)]
    assert len(journal) == len(set(journal))  # none twice
    assert set(journal) == done | {"start"}
    assert watched.total() == 0
    balances = {name: int(cents) for name, cents in client.hgetall(watched.balances).items()}
    assert watched.replay() == balances


def test_runs_and_says_when_there_is_no_server(ledger: ModuleType, lines: Callable[[ModuleType], list[str]]) -> None:
    first, sums, _, outside, *yes = lines(ledger)
    assert first == "salary once more: False"
    assert sums == "sums seen meanwhile: {0}"
    assert outside == "outside -10000, the four together 10000"
    assert all(line.endswith(": True") for line in yes)
