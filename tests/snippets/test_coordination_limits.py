"""The semaphore and the rate limiters, asked by many at once."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from types import ModuleType
from typing import Any

import pytest
import valkey

PATIENCE = 20.0  # seconds, never used up unless something is broken
LONG = 60_000  # milliseconds: longer than a test
FUNCTIONS = ("limit_fixed", "limit_sliding", "limit_weighted", "limit_bucket")


@pytest.fixture(scope="module")
def semaphore(snippet: Callable[[str], ModuleType]) -> ModuleType:
    """The program with the semaphore."""
    return snippet("coordination/semaphore.py")


@pytest.fixture(scope="module")
def limits(snippet: Callable[[str], ModuleType]) -> ModuleType:
    """The program with the limiters."""
    return snippet("coordination/limits.py")


@pytest.fixture(autouse=True)
def no_functions_left(client: Any) -> Iterator[None]:
    """Functions are no keys: take them away as well."""
    client.function_flush()
    yield
    client.function_flush()


def test_never_more_than_the_places_at_once_and_everybody_gets_one(semaphore: ModuleType, client: Any) -> None:
    places = semaphore.Semaphore(client, "bank", places=3, life=LONG)
    with ThreadPoolExecutor(16) as pool:
        calls = [pool.submit(semaphore.call_bank, client, places) for _ in range(48)]
        busy = [call.result(PATIENCE) for call in calls]
    assert len(busy) == 48
    assert 1 <= max(busy) <= 3
    assert not client.exists(*places.keys[:2])


def test_places_go_to_those_who_came_first(semaphore: ModuleType, client: Any) -> None:
    places = semaphore.Semaphore(client, "bank", places=2, life=LONG)
    assert [places.ask(who) for who in ("one", "two", "three", "four")] == [True, True, False, False]
    places.leave("one")
    assert not places.ask("four")  # asks sooner, came later
    assert places.ask("three")


def test_the_dead_lose_their_places_and_their_turn(semaphore: ModuleType, client: Any) -> None:
    places = semaphore.Semaphore(client, "bank", places=1, life=LONG)
    assert places.ask("dead holder")
    assert not places.ask("dead waiter")
    assert not places.ask("alive")
    client.zadd(places.keys[1], {"dead holder": 1, "dead waiter": 1})  # their time is over
    assert places.ask("alive")
    assert client.zrange(places.keys[0], 0, -1) == ["alive"]


def test_who_comes_back_too_late_queues_up_again(semaphore: ModuleType, client: Any) -> None:
    places = semaphore.Semaphore(client, "bank", places=1, life=LONG)
    places.ask("late")
    places.ask("next")
    client.zadd(places.keys[1], {"late": 1})
    assert not places.ask("late")
    assert places.ask("next")


def test_a_long_block_keeps_its_place(semaphore: ModuleType, client: Any) -> None:
    places = semaphore.Semaphore(client, "bank", places=1, life=300)
    with places.place() as who:
        before = client.zscore(places.keys[1], who)
        end = time.monotonic() + PATIENCE
        while client.zscore(places.keys[1], who) == before:
            assert time.monotonic() < end
            time.sleep(0.005)
    assert not client.exists(places.keys[1])


def test_who_has_no_patience_leaves_the_queue(semaphore: ModuleType, client: Any) -> None:
    places = semaphore.Semaphore(client, "bank", places=1, life=LONG)
    places.ask("holder")
    with pytest.raises(semaphore.NoPlaceError), places.place(patience=0):
        pass
    assert client.zrange(places.keys[0], 0, -1) == ["holder"]


@pytest.mark.parametrize("function", FUNCTIONS)
def test_many_threads_get_no_more_than_the_limit(limits: ModuleType, client: Any, function: str) -> None:
    limiter = limits.Limiter(client, function, 50, 24 * 3_600_000)  # a day, by the server's clock
    together = threading.Barrier(8, timeout=PATIENCE)

    def ask(_: int) -> list[int]:
        together.wait()
        return [limiter.wait("ada") for _ in range(20)]

    with ThreadPoolExecutor(8) as pool:
        answers = [wait for waits in pool.map(ask, range(8)) for wait in waits]
    # At midnight UTC a fixed window begins anew: then there may be twice as many.
    passed = answers.count(0)
    assert passed in (50, 100) if function == "limit_fixed" else passed == 50
    assert all(wait >= 0 for wait in answers)
    assert int(client.pttl(limiter.key("ada"))) > 0  # forgotten some day


@pytest.mark.parametrize("function", FUNCTIONS)
def test_callers_do_not_share(limits: ModuleType, client: Any, function: str) -> None:
    limiter = limits.Limiter(client, function, 1, LONG)
    assert limiter.wait("ada", 100_000) == 0
    assert limiter.wait("ada", 100_000) > 0
    assert limiter.wait("ben", 100_000) == 0


@pytest.mark.parametrize("function", FUNCTIONS)
@pytest.mark.parametrize("seed", range(3))
def test_whoever_waits_as_told_passes_and_not_sooner(limits: ModuleType, client: Any, function: str, seed: int) -> None:
    chance = random.Random(seed)
    limiter = limits.Limiter(client, function, 3, 1_000)
    now = 1_000_000 + chance.randrange(1_000)
    for _ in range(60):
        wait = limiter.wait("ada", now)
        if wait:
            assert limiter.wait("ada", now + wait - 1) > 0
            now += wait
            if function == "limit_weighted" and now % 1_000 == 0:
                continue  # a new window has begun, and what the old one weighs was not known
            assert limiter.wait("ada", now) == 0
        now += chance.randrange(400)


@pytest.mark.parametrize(("function", "most"), list(zip(FUNCTIONS, (20, 10, 19, 19), strict=True)))
@pytest.mark.parametrize("seed", range(3))
def test_no_window_lets_through_more_than_promised(
    limits: ModuleType, client: Any, function: str, most: int, seed: int
) -> None:
    chance = random.Random(seed)
    limiter = limits.Limiter(client, function, 10, 1_000)
    moments = sorted(chance.choice((0, 1_000, 2_000)) + int(chance.triangular(0, 1_000, 990)) for _ in range(300))
    passed = [moment for moment in moments if limiter.wait("ada", moment) == 0]
    assert 10 <= limits.busiest(passed, 1_000) <= most


def test_a_clock_that_goes_back_gives_no_tokens(limits: ModuleType, client: Any) -> None:
    limiter = limits.Limiter(client, "limit_bucket", 2, 1_000)
    assert [limiter.wait("ada", at) for at in (10_000, 10_000, 9_000)] == [0, 0, 500]


def test_busiest(limits: ModuleType) -> None:
    assert limits.busiest([], 10) == 0
    assert limits.busiest([0, 9, 10, 11, 30], 10) == 3
    assert limits.busiest([0, 10], 10) == 1


def test_the_replay_is_the_same_each_time_and_leaves_nothing(limits: ModuleType, client: Any) -> None:
    outcomes = [limits.replay(client, "limit_fixed") for _ in range(2)]
    assert outcomes[0][:3] == outcomes[1][:3]
    assert outcomes[0].worst == 199
    assert client.dbsize() == 0


def test_another_error_is_not_swallowed(limits: ModuleType, client: Any) -> None:
    limiter = limits.Limiter(client, "limit_fixed", 1, LONG)
    client.set(limiter.key("ada"), "not a hash")
    with pytest.raises(valkey.ResponseError, match="WRONGTYPE"):
        limiter.wait("ada")


@pytest.mark.parametrize("name", ["semaphore", "limits"])
def test_they_run(
    name: str,
    request: pytest.FixtureRequest,
    port: int,
    at_port: Callable[[int], None],
    capsys: pytest.CaptureFixture[str],
) -> None:
    at_port(port)
    assert request.getfixturevalue(name).main() == 0
    assert len(capsys.readouterr().out.splitlines()) == {"semaphore": 1, "limits": 5}[name]


@pytest.mark.parametrize("name", ["semaphore", "limits"])
def test_without_a_server_they_say_so(
    name: str,
    request: pytest.FixtureRequest,
    nobody: int,
    at_port: Callable[[int], None],
    capsys: pytest.CaptureFixture[str],
) -> None:
    at_port(nobody)
    assert request.getfixturevalue(name).main() == 1
    assert "Cannot reach Valkey" in capsys.readouterr().err
