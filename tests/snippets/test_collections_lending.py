"""Lending copies: no copy is lost or in two places, whoever competes and whatever breaks."""

from __future__ import annotations

import random
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from itertools import chain
from threading import Barrier, Event
from types import ModuleType

import pytest
import valkey

COPIES = {f"dune-{number}" for number in range(1, 6)}
READERS = [f"reader-{number}" for number in range(8)]


@pytest.fixture(scope="module")
def lending(snippet: Callable[[str], ModuleType]) -> ModuleType:
    """The program under test."""
    return snippet("collections/lending.py")


def in_one_place_each(places: dict[str, set[str]]) -> bool:
    """Whether every copy is in exactly one set."""
    return sorted(chain.from_iterable(places.values())) == sorted(COPIES)


def test_borrow_and_give_back(lending: ModuleType, client: valkey.Valkey) -> None:
    assert lending.buy(client, "dune", COPIES) == len(COPIES)
    assert lending.buy(client, "dune", COPIES) == 0
    copy = lending.borrow(client, "dune", "ada")
    assert copy in COPIES
    assert lending.whereabouts(client, "dune", ["ada"]) == {
        "book:dune:shelf": COPIES - {copy},
        "reader:ada:loans": {copy},
    }
    assert not lending.give_back(client, "dune", "ben", copy)
    assert lending.give_back(client, "dune", "ada", copy)
    assert not lending.give_back(client, "dune", "ada", copy)
    assert set(client.smembers("book:dune:shelf")) == COPIES


def test_nothing_to_borrow(lending: ModuleType, client: valkey.Valkey) -> None:
    assert lending.borrow(client, "emma", "ada") is None


def test_as_many_as_there_are_when_all_ask_at_once(lending: ModuleType, client: valkey.Valkey) -> None:
    start = Barrier(len(READERS))

    def ask(reader: str) -> str | None:
        start.wait(10)
        copy: str | None = lending.borrow(client, "dune", reader)
        return copy

    for _ in range(20):
        client.flushall()
        lending.buy(client, "dune", COPIES)
        with ThreadPoolExecutor(len(READERS)) as pool:
            got = list(pool.map(ask, READERS))
        assert sorted(copy for copy in got if copy) == sorted(COPIES)


def test_goes_on_when_somebody_else_was_faster(
    lending: ModuleType, client: valkey.Valkey, monkeypatch: pytest.MonkeyPatch
) -> None:
    lending.buy(client, "dune", ["dune-1", "dune-2"])
    original = valkey.Valkey.srandmember

    def look_and_lose(self: valkey.Valkey, key: str) -> object:
        seen = original(self, key)
        monkeypatch.undo()
        client.smove("book:dune:shelf", "reader:ben:loans", seen)
        return seen

    monkeypatch.setattr(valkey.Valkey, "srandmember", look_and_lose)
    copy = lending.borrow(client, "dune", "ada")
    assert lending.whereabouts(client, "dune", ["ada", "ben"]) == {
        "book:dune:shelf": set(),
        "reader:ada:loans": {copy},
        "reader:ben:loans": {"dune-1", "dune-2"} - {copy},
    }


def test_the_whereabouts_are_those_of_one_moment(lending: ModuleType, client: valkey.Valkey) -> None:
    """All sets are read in one transaction: separate reads could miss a copy that moves."""
    client.config_resetstat()
    lending.whereabouts(client, "dune", READERS)
    assert client.info("commandstats")["cmdstat_exec"]["calls"] == 1


def test_no_copy_is_lost_while_connections_break(lending: ModuleType, client: valkey.Valkey, port: int) -> None:
    lending.buy(client, "dune", COPIES)
    stop = Event()

    def live(reader: str) -> int:
        """Borrow and give back until told to stop; return how often the connection broke."""
        chance = random.Random(reader)
        broken = 0
        with valkey.Valkey(host="127.0.0.1", port=port, decode_responses=True) as own:
            while not stop.is_set():
                try:
                    if chance.random() < 0.6:
                        lending.borrow(own, "dune", reader)
                    for copy in own.smembers(lending.loans(reader)):
                        if chance.random() < 0.5:
                            lending.give_back(own, "dune", reader, copy)
                except valkey.ConnectionError:
                    broken += 1
        return broken

    with ThreadPoolExecutor(len(READERS)) as pool:
        lives = [pool.submit(live, reader) for reader in READERS]
        try:
            for _ in range(60):
                client.client_kill_filter(_type="normal", skipme=True)
                assert in_one_place_each(lending.whereabouts(client, "dune", READERS))
        finally:
            stop.set()
        assert sum(each.result() for each in lives) > 0
    assert in_one_place_each(lending.whereabouts(client, "dune", READERS))


def test_runs(
    lending: ModuleType,
    client: valkey.Valkey,
    port: int,
    at_port: Callable[[int], None],
    capsys: pytest.CaptureFixture[str],
) -> None:
    at_port(port)
    for _ in range(2):  # it clears what it left behind
        assert lending.main() == 0
        assert capsys.readouterr().out.splitlines() == [
            "8 readers asked, 3 got a copy: ['dune-1', 'dune-2', 'dune-3']",
            "left on the shelf: 0",
            "given back: True",
            "given back once more: False",
            "copies in all sets together: 3",
        ]


def test_without_a_server_it_says_so(
    lending: ModuleType, nobody: int, at_port: Callable[[int], None], capsys: pytest.CaptureFixture[str]
) -> None:
    at_port(nobody)
    assert lending.main() == 1
    assert "Cannot reach Valkey" in capsys.readouterr().err
