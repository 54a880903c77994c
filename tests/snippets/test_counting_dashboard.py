"""The dashboard: riders exactly, visitors about, also when others write and connections break."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from threading import Event, Thread
from types import ModuleType

import pytest
import valkey
from valkey.backoff import NoBackoff
from valkey.retry import Retry

TOLERANCE = 0.0244  # three standard errors


@pytest.fixture(scope="module")
def board(snippet: Callable[[str], ModuleType]) -> ModuleType:
    """The program under test."""
    return snippet("counting/dashboard.py")


@pytest.fixture
def stubborn(port: int) -> Iterator[valkey.Valkey]:
    """A client that repeats, as the one of the program does, without its pauses."""
    with valkey.Valkey(
        host="127.0.0.1",
        port=port,
        decode_responses=True,
        socket_timeout=0.15,
        retry=Retry(NoBackoff(), 50),
        retry_on_error=[valkey.ConnectionError, valkey.TimeoutError],
    ) as each:
        yield each


def truth(board: ModuleType, seeds: range) -> tuple[set[int], set[str]]:
    every = [visit for seed in seeds for visit in board.invent(seed)]
    return {v.rider for v in every if v.rider is not None}, {v.cookie for v in every}


def test_a_week_is_right(board: ModuleType, client: valkey.Valkey) -> None:
    for seed, day in enumerate(board.WEEK):
        board.record(client, day, board.invent(seed))
    riders, cookies = truth(board, range(7))
    assert board.combined(client, "OR", board.WEEK) == len(riders)
    assert board.visitors(client, board.WEEK) == pytest.approx(len(cookies), rel=TOLERANCE)
    both = truth(board, range(1))[0] & truth(board, range(1, 2))[0]
    assert board.combined(client, "AND", ["mon", "tue"]) == len(both)


def test_twice_is_once(board: ModuleType, client: valkey.Valkey) -> None:
    board.record(client, "mon", board.invent(1))
    before = board.combined(client, "OR", ["mon"]), board.visitors(client, ["mon"])
    board.record(client, "mon", board.invent(1))
    assert (board.combined(client, "OR", ["mon"]), board.visitors(client, ["mon"])) == before


def test_eight_recorders_lose_nobody_and_readers_never_see_nonsense(board: ModuleType, client: valkey.Valkey) -> None:
    stop = Event()
    seen: list[tuple[int, int, int]] = []

    def watch() -> None:
        while not stop.is_set():
            seen.append(
                (
                    board.combined(client, "AND", ["mon", "tue"]),
                    board.combined(client, "OR", ["mon", "tue"]),
                    board.visitors(client, ["mon", "tue"]),
                )
            )

    watchers = [Thread(target=watch) for _ in range(3)]
    for watcher in watchers:
        watcher.start()
    with ThreadPoolExecutor(8) as pool:
        recorded = [
            pool.submit(board.record, client, ("mon", "tue")[seed % 2], board.invent(seed)[start : start + 500])
            for seed in range(4)
            for start in range(0, 4_000, 500)
        ]
    stop.set()
    for watcher in watchers:
        watcher.join()

    for each in recorded:
        each.result()  # raises here what was raised in the thread
    riders, cookies = truth(board, range(4))
    assert board.combined(client, "OR", ["mon", "tue"]) == len(riders)
    assert board.visitors(client, ["mon", "tue"]) == pytest.approx(len(cookies), rel=TOLERANCE)
    assert len(seen) > 3
    assert all(0 <= both <= any_day <= len(riders) for both, any_day, _ in seen)
    assert sorted(client.scan_iter()) == sorted(
        f"{kind}{day}" for kind in (board.RIDERS, board.VISITORS) for day in ("mon", "tue")
    )


def test_a_recording_is_one_transaction_and_so_is_a_combination(board: ModuleType, client: valkey.Valkey) -> None:
    client.config_resetstat()
    board.record(client, "mon", board.invent(1)[:50])
    board.combined(client, "OR", ["mon"])
    calls = {name: each["calls"] for name, each in client.info("commandstats").items()}
    assert (calls["cmdstat_multi"], calls["cmdstat_exec"]) == (2, 2)


def test_connections_that_are_cut_all_the_time_change_nothing(
    board: ModuleType, client: valkey.Valkey, stubborn: valkey.Valkey
) -> None:
    made = board.invent(3)
    board.record(client, "whole", made)
    cut = 0
    for start in range(0, len(made), 200):
        cut += client.client_kill_filter(_id=stubborn.client_id())
        board.record(stubborn, "broken", made[start : start + 200])
    assert cut == len(made) // 200
    assert board.combined(client, "XOR", ["whole", "broken"]) == 0
    assert board.visitors(client, ["broken"]) == board.visitors(client, ["whole"])


def test_a_reply_that_is_lost_is_asked_for_again(
    board: ModuleType, client: valkey.Valkey, stubborn: valkey.Valkey
) -> None:
    made = board.invent(4)[:500]
    board.record(client, "whole", made)
    stubborn.ping()
    client.config_resetstat()
    client.client_pause(400)  # longer than the client waits for a reply: what it sent is executed later
    board.record(stubborn, "slow", made)
    client.client_unpause()
    assert board.combined(client, "XOR", ["whole", "slow"]) == 0
    assert board.visitors(client, ["slow"]) == board.visitors(client, ["whole"])


def test_without_repeating_nothing_is_half_recorded(board: ModuleType, client: valkey.Valkey, port: int) -> None:
    with valkey.Valkey(host="127.0.0.1", port=port, decode_responses=True) as fragile:
        for attempt in range(20):
            client.client_kill_filter(_id=fragile.client_id())
            with suppress(valkey.ConnectionError):
                board.record(fragile, f"day-{attempt}", [board.Visit("cookie", 1)])
            both = client.exists(f"{board.RIDERS}day-{attempt}", f"{board.VISITORS}day-{attempt}")
            assert both in (0, 2)


@pytest.mark.parametrize("number", [-1, 10_000_001, 4_000_000_000])
def test_numbers_that_cannot_be_right_are_refused_before_anything_is_sent(
    board: ModuleType, client: valkey.Valkey, number: int
) -> None:
    with pytest.raises(ValueError, match="not a rider's number"):
        board.record(client, "mon", [board.Visit("cookie", 7), board.Visit("cookie", number)])
    assert client.dbsize() == 0


def test_every_key_expires_also_those_of_a_day_without_riders(board: ModuleType, client: valkey.Valkey) -> None:
    board.record(client, "mon", [board.Visit("cookie", 7)])
    board.record(client, "tue", [board.Visit("cookie")])
    assert all(0 < client.ttl(key) <= board.KEEP for key in client.scan_iter())
    assert board.combined(client, "OR", ["tue"]) == 0
    assert board.visitors(client, ["tue"]) == 1


def test_a_day_without_anybody(board: ModuleType, client: valkey.Valkey) -> None:
    assert board.combined(client, "OR", ["mon", "tue"]) == 0
    assert board.combined(client, "AND", ["mon", "tue"]) == 0
    assert board.visitors(client, ["mon"]) == 0
    assert client.dbsize() == 0


def test_random_days_agree_with_sets(board: ModuleType, client: valkey.Valkey) -> None:
    dice = random.Random(11)  # the same days each time
    days = {f"d{n}": {dice.randrange(300) for _ in range(dice.randrange(150))} for n in range(12)}
    for day, people in days.items():
        board.record(client, day, [board.Visit(f"c{n}", n) for n in people])
    for _ in range(30):
        some = dice.sample(sorted(days), dice.randrange(1, 5))
        assert board.combined(client, "AND", some) == len(set.intersection(*(days[day] for day in some)))
        assert board.combined(client, "OR", some) == len(set.union(*(days[day] for day in some)))


def test_runs(
    board: ModuleType,
    client: valkey.Valkey,
    port: int,
    at_port: Callable[[int], None],
    capsys: pytest.CaptureFixture[str],
) -> None:
    at_port(port)
    assert board.main() == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == [*board.WEEK, "week", "2"]
    assert lines[0].endswith("100% of mon's riders")
    assert lines[-2].split() == ["week", "1933", "riders", "7740", "visitors"]


def test_without_a_server_it_says_so(
    board: ModuleType, nobody: int, at_port: Callable[[int], None], capsys: pytest.CaptureFixture[str]
) -> None:
    at_port(nobody)
    assert board.main() == 1
    assert "Cannot reach Valkey" in capsys.readouterr().err
