"""The program that sells tickets with a library of functions."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from types import ModuleType
from typing import Any

import pytest
import valkey


@pytest.fixture(scope="module")
def tickets(snippet: Callable[[str], ModuleType]) -> ModuleType:
    """The program under test."""
    return snippet("atomicity/tickets.py")


@pytest.fixture
def event(tickets: ModuleType, client: valkey.Valkey) -> Any:
    """An event with ten tickets, on a server without functions."""
    client.function_flush()
    event = tickets.Event(client, "play")
    event.open(10)
    return event


def let_time_pass(event: Any, client: valkey.Valkey, order: str) -> None:
    """As if the order's time had been over for a while: nobody sleeps."""
    assert client.zadd(event.keys[2], {order: 1}, xx=True, ch=True) == 1


def test_installs_the_library_when_it_is_missing(event: Any, client: valkey.Valkey) -> None:
    assert client.function_list() == []
    assert event.left() == 10
    assert len(client.function_list()) == 1


def test_a_reservation_is_confirmed_or_cancelled(event: Any) -> None:
    event.reserve("a", 4)
    event.reserve("b", 3)
    assert event.left() == 3
    assert event.confirm("a") == 4
    assert event.cancel("b") == 3
    assert event.left() == 6
    assert event.confirm("b") == 0
    assert event.cancel("a") == 0  # what is sold is sold
    assert event.left() == 6


def test_repeating_an_order_holds_nothing_more(event: Any) -> None:
    event.reserve("a", 4)
    event.reserve("a", 4)
    assert event.left() == 6


def test_a_paid_order_may_be_sent_and_paid_again(event: Any, client: valkey.Valkey) -> None:
    event.reserve("a", 4)
    assert event.confirm("a") == 4
    event.reserve("a", 4)  # a duplicate that was late
    assert event.confirm("a") == 4  # the reply of the first time was lost
    assert event.left() == 6
    assert client.exists(event.keys[2]) == 0  # nothing that could expire


def test_too_many_are_refused_and_nothing_is_changed(tickets: ModuleType, event: Any, client: valkey.Valkey) -> None:
    event.reserve("a", 8)
    with pytest.raises(tickets.SoldOutError):
        event.reserve("b", 3)
    assert event.left() == 2
    assert client.hkeys(event.keys[1]) == ["a"]


def test_who_does_not_pay_in_time_loses_them(event: Any, client: valkey.Valkey) -> None:
    event.reserve("a", 10)
    let_time_pass(event, client, "a")
    assert event.left() == 10  # although nobody has written yet
    assert client.get(event.keys[0]) == "0"
    event.reserve("b", 2)
    assert event.confirm("a") == 0
    assert event.left() == 8


def test_late_is_late_even_if_nobody_else_came(event: Any, client: valkey.Valkey) -> None:
    event.reserve("a", 10)
    let_time_pass(event, client, "a")
    assert event.confirm("a") == 0
    assert event.left() == 10


@pytest.mark.parametrize(
    "arguments", [(), ("a",), ("a", "2"), ("a", "two", "100"), ("a", "0", "100"), ("a", "1", "nan")]
)
def test_nonsense_is_refused_before_anything_is_written(
    event: Any, client: valkey.Valkey, arguments: tuple[str, ...]
) -> None:
    event.left()
    with pytest.raises(valkey.ResponseError, match="are needed"):
        client.fcall("tickets_reserve", 3, *event.keys, *arguments)
    assert event.left() == 10


def test_never_oversold_by_many_at_once(tickets: ModuleType, event: Any) -> None:
    def buy(number: int) -> int:
        try:
            event.reserve(f"order-{number}", 3)
        except tickets.SoldOutError:
            return 0
        return int(event.confirm(f"order-{number}"))

    with ThreadPoolExecutor(8) as pool:
        sold = list(pool.map(buy, range(40)))
    assert sorted(sold)[-4:] == [0, 3, 3, 3]
    assert event.left() == 1


def test_each_ticket_is_held_sold_or_free_whatever_happens(tickets: ModuleType, event: Any) -> None:
    def visit(number: int) -> int:
        order = f"order-{number}"
        try:
            event.reserve(order, 1 + number % 2)
        except tickets.SoldOutError:
            return 0
        if number % 3 == 0:
            return int(event.confirm(order))
        event.cancel(order)
        return 0

    with ThreadPoolExecutor(8) as pool:
        sold = sum(pool.map(visit, range(60)))
    assert sold + event.left() == 10


def test_a_buyer_whose_connection_is_killed_still_holds_them(event: Any, client: valkey.Valkey, port: int) -> None:
    event.reserve("a", 4)
    with valkey.Valkey(host="127.0.0.1", port=port) as other:
        other.client_kill_filter(_type="normal", skipme=True)
    assert event.left() == 6
    assert event.confirm("a") == 4


def test_the_library_moves_with_a_dump(event: Any, client: valkey.Valkey, port: int) -> None:
    event.reserve("a", 4)
    with valkey.Valkey(host="127.0.0.1", port=port) as raw:  # a dump is bytes
        dump = raw.function_dump()
        raw.function_flush()
        raw.function_restore(dump)
    assert client.fcall_ro("tickets_left", 3, *event.keys) == 6


def test_only_looking_is_allowed_read_only(event: Any, client: valkey.Valkey) -> None:
    event.left()
    with pytest.raises(valkey.ResponseError, match="write flag"):
        client.fcall_ro("tickets_cancel", 3, *event.keys, "a")


def test_runs(
    tickets: ModuleType,
    client: valkey.Valkey,
    port: int,
    at_port: Callable[[int], None],
    capsys: pytest.CaptureFixture[str],
) -> None:
    at_port(port)
    assert tickets.main() == 0
    assert capsys.readouterr().out == ("7 of 30 orders hold tickets, 1 left\n12 sold, 2 given back, 3 left\n")


def test_without_a_server_it_says_so(
    tickets: ModuleType, nobody: int, at_port: Callable[[int], None], capsys: pytest.CaptureFixture[str]
) -> None:
    at_port(nobody)
    assert tickets.main() == 1
    assert "Cannot reach Valkey" in capsys.readouterr().err
