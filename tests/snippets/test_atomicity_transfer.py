"""The program that moves money with WATCH and with a script."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from threading import BrokenBarrierError
from types import ModuleType
from typing import Any

import pytest
import valkey

WAYS = ("watched", "scripted")


@pytest.fixture(scope="module")
def transfer(snippet: Callable[[str], ModuleType]) -> ModuleType:
    """The program under test."""
    return snippet("atomicity/transfer.py")


def fill(transfer: ModuleType, client: valkey.Valkey, ada: int) -> None:
    client.mset({transfer.ADA: ada, transfer.BEN: 0})


def balances(transfer: ModuleType, client: valkey.Valkey) -> list[Any]:
    found: list[Any] = client.mget(transfer.ADA, transfer.BEN)
    return found


@pytest.mark.parametrize("way", WAYS)
def test_pays_what_is_there_and_refuses_more(transfer: ModuleType, client: valkey.Valkey, way: str) -> None:
    move = getattr(transfer, way)
    fill(transfer, client, 5)
    assert move(client, 3) == (1, 0, 0)
    assert balances(transfer, client) == ["2", "3"]
    assert move(client, 3) == (0, 1, 0)
    assert balances(transfer, client) == ["2", "3"]
    assert move(client, 2) == (1, 0, 0)
    assert balances(transfer, client) == ["0", "5"]


@pytest.mark.parametrize("way", WAYS)
def test_who_has_no_account_has_no_money(transfer: ModuleType, client: valkey.Valkey, way: str) -> None:
    assert getattr(transfer, way)(client, 1) == (0, 1, 0)
    assert client.dbsize() == 0


def test_somebody_between_reading_and_writing_makes_it_try_again(transfer: ModuleType, client: valkey.Valkey) -> None:
    fill(transfer, client, 10)
    taken = iter([4, 3, 0])

    def interfere() -> None:
        if (amount := next(taken, None)) is not None:
            client.decrby(transfer.ADA, amount)

    # Twice for what was taken, once more for `DECRBY 0`: a write is a change, also to the same value.
    assert transfer.watched(client, 2, interfere) == (1, 0, 3)
    assert balances(transfer, client) == ["1", "2"]


def test_if_the_money_is_gone_on_the_second_look_it_is_refused(transfer: ModuleType, client: valkey.Valkey) -> None:
    fill(transfer, client, 10)

    def take_most() -> None:
        if client.get(transfer.ADA) == "10":
            client.decrby(transfer.ADA, 9)

    assert transfer.watched(client, 2, take_most) == (0, 1, 1)
    assert balances(transfer, client) == ["1", "0"]


def test_a_client_killed_before_it_writes_is_told_and_leaves_nothing(
    transfer: ModuleType, client: valkey.Valkey
) -> None:
    fill(transfer, client, 10)
    kills = iter([1])

    def throw_everybody_out_once() -> None:
        for _ in kills:
            client.client_kill_filter(_type="normal", skipme=True)

    with pytest.raises(valkey.ConnectionError):
        transfer.watched(client, 2, throw_everybody_out_once)
    assert balances(transfer, client) == ["10", "0"]


@pytest.mark.parametrize("lost", [valkey.ConnectionError, valkey.TimeoutError])
def test_when_the_reply_of_exec_is_lost_it_does_not_pay_again(
    transfer: ModuleType, client: valkey.Valkey, port: int, lost: type[Exception]
) -> None:
    """The library calls it a WatchError and advises to try again, which would pay twice."""
    fill(transfer, client, 10)
    losses = iter([lost("the reply was lost")])

    class Unlucky(valkey.Connection):
        def read_response(self, *arguments: Any, **options: Any) -> Any:
            reply = super().read_response(*arguments, **options)
            if isinstance(reply, list) and (error := next(losses, None)):  # only EXEC replies with a list here
                raise error
            return reply

    pool = valkey.ConnectionPool(connection_class=Unlucky, host="127.0.0.1", port=port, decode_responses=True)
    with valkey.Valkey(connection_pool=pool) as unlucky, pytest.raises(lost):
        transfer.watched(unlucky, 2)
    assert balances(transfer, client) == ["8", "2"]


def test_a_client_killed_between_multi_and_exec_leaves_nothing(
    transfer: ModuleType, client: valkey.Valkey, port: int
) -> None:
    fill(transfer, client, 10)
    connection = valkey.Connection(host="127.0.0.1", port=port, decode_responses=True)
    connection.connect()
    for command in (("MULTI",), ("DECRBY", transfer.ADA, 2), ("INCRBY", transfer.BEN, 2)):
        connection.send_command(*command)
        assert connection.read_response() in ("OK", "QUEUED")
    client.client_kill_filter(_type="normal", skipme=True)
    with pytest.raises(valkey.ConnectionError):
        connection.read_response()
    assert balances(transfer, client) == ["10", "0"]


@pytest.mark.parametrize("way", WAYS)
def test_nothing_is_lost_or_paid_twice_under_contention(transfer: ModuleType, client: valkey.Valkey, way: str) -> None:
    fill(transfer, client, 50)
    move = getattr(transfer, way)
    with ThreadPoolExecutor(8) as pool:
        done = list(pool.map(lambda amount: (amount, move(client, amount)), [1, 2, 3] * 16))
    paid = sum(amount for amount, each in done if each.paid)
    assert 48 <= paid <= 50  # what is left is less than the largest amount that was refused
    assert balances(transfer, client) == [str(50 - paid), str(paid)]


def test_the_script_survives_an_emptied_cache(transfer: ModuleType, client: valkey.Valkey) -> None:
    fill(transfer, client, 5)
    assert transfer.scripted(client, 1).paid == 1
    client.script_flush()
    assert transfer.scripted(client, 1).paid == 1


def test_competing_leaves_nothing_behind_and_raises_what_was_raised(
    transfer: ModuleType, client: valkey.Valkey, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(transfer, "DEADLINE", 0.05)
    lonely = transfer.Barrier(transfer.CLIENTS + 1)
    with pytest.raises(BrokenBarrierError):
        transfer.compete(client, lambda: transfer.first_together(client, lonely), lambda: transfer.scripted(client, 1))
    assert client.dbsize() == 0


def test_runs(
    transfer: ModuleType, port: int, at_port: Callable[[int], None], capsys: pytest.CaptureFixture[str]
) -> None:
    at_port(port)
    assert transfer.main() == 0
    watch, script = capsys.readouterr().out.splitlines()
    assert watch.startswith("WATCH   300 paid, 100 refused, Ada 0, Ben 300, tried again ")
    assert int(watch.split()[-2]) >= transfer.CLIENTS - 1
    assert script == "script  300 paid, 100 refused, Ada 0, Ben 300, tried again 0 times"


def test_without_a_server_it_says_so(
    transfer: ModuleType, nobody: int, at_port: Callable[[int], None], capsys: pytest.CaptureFixture[str]
) -> None:
    at_port(nobody)
    assert transfer.main() == 1
    assert "Cannot reach Valkey" in capsys.readouterr().err
