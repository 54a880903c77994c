"""The worker of a consumer group: under concurrency, with failing handlers, after crashes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Thread
from types import ModuleType
from typing import Any

import pytest
import valkey

FOLDER = Path(__file__).parents[2] / "snippets" / "streams"
LONG = 3_600_000  # an hour, in ms: nothing here waits for so long


@pytest.fixture(scope="module")
def orders(snippet: Callable[[str], ModuleType]) -> ModuleType:
    """The program under test."""
    return snippet("streams/order_worker.py")


@pytest.fixture
def signals() -> Iterator[None]:
    """Give the signals back that the program takes."""
    kept = {each: signal.getsignal(each) for each in (signal.SIGINT, signal.SIGTERM)}
    yield
    for each, handler in kept.items():
        signal.signal(each, handler)


@pytest.fixture
def here(port: int, at_port: Callable[[int], None]) -> None:
    """Lead the program to the server of this test."""
    at_port(port)


def place(client: Any, numbers: range) -> None:
    """Orders with these numbers, of 10.00 each."""
    for number in numbers:
        client.xadd("orders", {"order": number, "cents": 1000})


def pending(client: Any) -> int:
    """How many entries the group has given out without an acknowledgement."""
    count: int = client.xpending("orders", "booking")["pending"]
    return count


def test_the_group_begins_at_the_beginning_and_may_be_there(orders: ModuleType, client: Any) -> None:
    place(client, range(3))
    orders.prepare(client)
    orders.prepare(client)
    assert orders.Worker(client, "ada").round(LONG, 1) == 3


def test_another_failure_of_the_preparation_is_not_swallowed(orders: ModuleType, client: Any) -> None:
    client.set("orders", "not a stream")
    with pytest.raises(valkey.ResponseError, match="WRONGTYPE"):
        orders.prepare(client)


def test_several_workers_share_and_each_order_is_handled_once(orders: ModuleType, client: Any) -> None:
    place(client, range(200))

    def count(each: Any, fields: dict[str, str]) -> None:
        each.hincrby("times", fields["order"], 1)

    workers = [orders.Worker(client, f"worker-{number}", count) for number in range(4)]
    with ThreadPoolExecutor(4) as pool:
        for finished in [pool.submit(orders.run, client, worker, drain=True) for worker in workers]:
            finished.result()
    assert client.hvals("times") == ["1"] * 200
    assert sum(worker.handled for worker in workers) == 200
    assert pending(client) == 0


def test_a_restarted_worker_finishes_what_it_had(orders: ModuleType, client: Any) -> None:
    place(client, range(25))
    orders.prepare(client)
    client.xreadgroup("booking", "ada", {"orders": ">"}, count=25)
    client.xreadgroup("booking", "ben", {"orders": ">"}, count=25)
    orders.Worker(client, "ben").resume()
    assert pending(client) == 25
    orders.Worker(client, "ada").resume()
    assert pending(client) == 0
    assert client.hlen("bookings") == 25


def test_nothing_is_taken_from_a_worker_that_may_be_alive(orders: ModuleType, client: Any) -> None:
    place(client, range(5))
    orders.prepare(client)
    client.xreadgroup("booking", "ada", {"orders": ">"})
    ben = orders.Worker(client, "ben")
    assert ben.round(LONG, 1) == 0
    assert [ben.round(0, 1) for _ in range(6)] == [1] * 5 + [0]
    assert pending(client) == 0


def test_what_is_abandoned_is_taken_over_one_by_one_and_before_what_is_new(orders: ModuleType, client: Any) -> None:
    place(client, range(35))
    orders.prepare(client)
    client.xreadgroup("booking", "ada", {"orders": ">"})
    place(client, range(35, 50))
    ben = orders.Worker(client, "ben")
    assert [ben.round(0, 1) for _ in range(38)] == [1] * 35 + [10, 5, 0]
    assert client.hlen("bookings") == 50


def test_waits_only_when_all_that_is_pending_has_been_looked_at(
    orders: ModuleType, client: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    place(client, range(25))
    orders.prepare(client)
    client.xreadgroup("booking", "ada", {"orders": ">"})  # ada is busy with them
    ben = orders.Worker(client, "ben")
    waits: list[int | None] = []

    def read(_: str, wait: int | None) -> list[Any]:
        waits.append(wait)
        return []

    monkeypatch.setattr(ben, "read", read)
    for _ in range(4):
        ben.round(LONG, 7)
    assert waits == [None, None, 7, None]  # a round looks at ten; then from the beginning


@pytest.mark.parametrize("way", ["resume", "round"])
def test_what_was_deleted_is_reported_and_does_not_stay_pending(
    orders: ModuleType, client: Any, way: str, caplog: pytest.LogCaptureFixture
) -> None:
    place(client, range(3))
    orders.prepare(client)
    [(_, given)] = client.xreadgroup("booking", "ada", {"orders": ">"})
    client.xtrim("orders", maxlen=1, approximate=False)
    ada = orders.Worker(client, "ada")
    if way == "resume":
        ada.resume()
    else:
        for _ in given:
            ada.round(0, 1)
    assert pending(client) == 0
    assert client.hlen("bookings") == 1
    assert "deleted before" in caplog.text
    assert [entry in caplog.text for entry, _ in given] == [True, True, False]


def test_poison_is_put_aside_after_three_deliveries_and_the_rest_goes_on(orders: ModuleType, client: Any) -> None:
    place(client, range(2))
    bad = client.xadd("orders", {"order": "bad", "cents": "12,50"})
    place(client, range(2, 4))
    orders.prepare(client)
    ada = orders.Worker(client, "ada")
    for _ in range(orders.ATTEMPTS):
        ada.round(0, 1)
        assert client.hlen("bookings") == 4
        assert pending(client) == 1
        assert client.xlen("orders:dead") == 0
    ada.round(0, 1)
    assert pending(client) == 0
    [(_, dead)] = client.xrange("orders:dead")
    assert dead == {"order": "bad", "cents": "12,50", "id": bad, "worker": "ada"}


def test_what_kills_workers_is_put_aside_without_being_tried_again(orders: ModuleType, client: Any) -> None:
    place(client, range(1))
    orders.prepare(client)
    client.xreadgroup("booking", "ada", {"orders": ">"})
    for name in ("ben", "cleo"):  # each takes it over, and dies of it
        client.xautoclaim("orders", "booking", name, 0)
    dan = orders.Worker(client, "dan", lambda *_: pytest.fail("was tried"))
    dan.round(0, 1)
    assert pending(client) == 0
    assert client.xlen("orders:dead") == 1


class Killed(BaseException):
    """Nothing catches it: it ends a worker as a crash of its process would."""


@pytest.mark.parametrize("names", ["the same", "others"])
def test_what_kills_workers_takes_no_other_order_with_it(orders: ModuleType, client: Any, names: str) -> None:
    place(client, range(10))
    orders.prepare(client)

    def die_of_five(each: Any, fields: dict[str, str]) -> None:
        if fields["order"] == "5":
            raise Killed
        orders.book(each, fields)

    deaths = 0
    while deaths <= orders.ATTEMPTS:
        worker = orders.Worker(client, "ada" if names == "the same" else f"worker-{deaths}", die_of_five)
        try:
            worker.resume()
            while worker.round(0, 1):
                pass
        except Killed:
            deaths += 1
        else:
            break
    assert deaths == orders.ATTEMPTS
    assert [fields["order"] for _, fields in client.xrange("orders:dead")] == ["5"]
    assert sorted(client.hkeys("bookings")) == sorted(set("0123456789") - {"5"})
    assert pending(client) == 0


def test_a_lost_connection_is_not_the_orders_fault(orders: ModuleType, client: Any) -> None:
    place(client, range(3))
    orders.prepare(client)

    def lose(each: Any, fields: dict[str, str]) -> None:
        raise valkey.ConnectionError

    with pytest.raises(valkey.ConnectionError):
        orders.Worker(client, "ada", lose).round(LONG, 1)
    assert pending(client) == 3


DOOMED = """
import sys, time, valkey, order_worker

def slowly(client, fields):
    client.hincrby("times", fields["order"], 1)
    order_worker.book(client, fields)
    time.sleep(0.002)

with valkey.Valkey(port=int(sys.argv[1]), decode_responses=True) as client:
    order_worker.run(client, order_worker.Worker(client, sys.argv[2], slowly), drain=True)
"""


def test_killed_again_and_again_at_any_moment_every_order_is_booked_once(
    orders: ModuleType, client: Any, port: int
) -> None:
    place(client, range(100))
    kills = 3
    for kill in range(1, kills + 1):
        with subprocess.Popen([sys.executable, "-c", DOOMED, str(port), f"doomed-{kill}"], cwd=FOLDER) as process:
            while client.hlen("times") < 30 * kill and process.poll() is None:
                time.sleep(0.001)
            process.kill()

    def count(each: Any, fields: dict[str, str]) -> None:
        each.hincrby("times", fields["order"], 1)
        orders.book(each, fields)

    last = orders.Worker(client, "last", count)
    while last.round(0, 1) or pending(client):
        pass
    times = [int(each) for each in client.hvals("times")]
    assert len(times) == 100  # at least once
    assert sum(times) <= 100 + kills  # one order is repeated for each crash, at most
    assert client.hvals("bookings") == ["1000"] * 100  # the effect: exactly once


@pytest.mark.usefixtures("signals", "here")
def test_stops_when_told_to_and_leaves_nothing_pending(
    orders: ModuleType, client: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    place(client, range(25))
    monkeypatch.setattr(orders, "WAIT", 20)

    def stop() -> None:
        while client.hlen("bookings") < 25:
            time.sleep(0.001)
        os.kill(os.getpid(), signal.SIGTERM)

    stopper = Thread(target=stop)
    stopper.start()
    assert orders.main(["ada"]) == 0
    stopper.join()
    assert capsys.readouterr().out == "ada handled 25\n"
    assert pending(client) == 0


@pytest.mark.usefixtures("signals", "here")
def test_drains(orders: ModuleType, client: Any, capsys: pytest.CaptureFixture[str]) -> None:
    place(client, range(5))
    assert orders.main(["--drain", "ada"]) == 0
    assert capsys.readouterr().out == "ada handled 5\n"


@pytest.mark.usefixtures("signals")
def test_without_a_server_it_says_so(
    orders: ModuleType, nobody: int, at_port: Callable[[int], None], capsys: pytest.CaptureFixture[str]
) -> None:
    at_port(nobody)
    assert orders.main([]) == 1
    assert "Cannot reach Valkey" in capsys.readouterr().err
