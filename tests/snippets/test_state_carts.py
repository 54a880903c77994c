"""Carts and orders: never below zero, and no piece is lost or sold twice."""

from __future__ import annotations

import random
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from types import ModuleType

import pytest
import valkey


@pytest.fixture(scope="module")
def cart(snippet: Callable[[str], ModuleType]) -> ModuleType:
    """The program under test."""
    return snippet("state/cart.py")


@pytest.fixture(scope="module")
def order(snippet: Callable[[str], ModuleType]) -> ModuleType:
    """The program under test."""
    return snippet("state/order.py")


def everywhere(client: valkey.Valkey, article: str, sold: int) -> int:
    """Pieces of an article in stock and in orders that wait, and those sold."""
    pipeline = client.pipeline()
    pipeline.hget("stock", article)
    for key in client.scan_iter(match="order:*"):
        pipeline.hget(key, article)
    return sum(int(each or 0) for each in pipeline.execute()) + sold


def test_a_cart_is_never_below_zero_nor_too_full(cart: ModuleType, client: valkey.Valkey) -> None:
    carts = cart.Carts(client)
    seen: list[int] = []

    def tab(number: int) -> None:
        chance = random.Random(number)
        seen.extend(carts.change("ada", "chess", chance.choice([-5, -2, -1, 1, 2, 3])) for _ in range(40))

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(tab, range(8)))
    assert len(seen) == 320
    assert min(seen) == 0
    assert max(seen) <= cart.MOST


def test_nothing_is_lost_between_two_tabs(cart: ModuleType, client: valkey.Valkey) -> None:
    carts = cart.Carts(client)
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda article: carts.change("ada", article, 1), ["go", "chess", "dice"] * 9))
    assert carts.content("ada") == {"go": 9, "chess": 9, "dice": 9}
    carts.change("ada", "go", -9)
    assert carts.content("ada") == {"chess": 9, "dice": 9}
    assert 0 < client.ttl("cart:ada") <= cart.KEPT


def test_a_merge_counts_once_also_if_it_is_sent_by_many(cart: ModuleType, client: valkey.Valkey) -> None:
    carts = cart.Carts(client)
    carts.change("guest", "go", 2)
    carts.change("guest", "chess", 8)
    carts.change("ada", "chess", 3)
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda _: carts.merge("guest", "ada"), range(16)))
    assert carts.content("ada") == {"go": 2, "chess": 9}
    assert carts.content("guest") == {}
    carts.merge("nobody", "noone")
    assert not client.exists("cart:noone")
    with pytest.raises(ValueError, match="itself"):
        carts.merge("ada", "ada")


def test_an_addition_during_the_merge_is_in_one_cart_or_the_other(cart: ModuleType, client: valkey.Valkey) -> None:
    carts = cart.Carts(client)
    for turn in range(20):
        guest, user = f"guest-{turn}", f"user-{turn}"
        with ThreadPoolExecutor(4) as pool:
            added = [pool.submit(carts.change, guest, "go", 1) for _ in range(3)]
            merged = pool.submit(carts.merge, guest, user)
            for job in (*added, merged):
                job.result()
        assert carts.content(guest).get("go", 0) + carts.content(user).get("go", 0) == 3


def test_all_or_nothing(order: ModuleType, client: valkey.Valkey) -> None:
    orders = order.Orders(client)
    client.hset("stock", mapping={"chess": 5, "go": 1})
    client.hset("cart:ada", mapping={"chess": 2, "go": 2})
    with pytest.raises(order.OutOfStockError, match="go"):
        orders.checkout("ada", "1")
    assert client.hgetall("stock") == {"chess": "5", "go": "1"}
    assert client.hgetall("cart:ada") == {"chess": "2", "go": "2"}
    client.hincrby("cart:ada", "go", -1)
    client.expire("cart:ada", 60)
    for _ in range(2):
        orders.checkout("ada", "1")
    assert client.hgetall("stock") == {"chess": "3", "go": "0"}
    assert client.ttl("order:1") == -1
    assert not client.exists("cart:ada")


def test_an_empty_cart_and_an_unknown_article(order: ModuleType, client: valkey.Valkey) -> None:
    orders = order.Orders(client)
    with pytest.raises(valkey.ResponseError, match="EMPTY"):
        orders.checkout("ada", "1")
    client.hset("cart:ada", "unicorn", 1)
    with pytest.raises(order.OutOfStockError, match="unicorn"):
        orders.checkout("ada", "1")


def test_paid_or_given_back_but_not_both(order: ModuleType, client: valkey.Valkey) -> None:
    orders = order.Orders(client)
    for number in range(20):
        client.hset("stock", "go", 1)
        client.hset("cart:ada", "go", 1)
        orders.checkout("ada", str(number))
        with ThreadPoolExecutor(4) as pool:
            ways = (orders.pay, orders.release, orders.release, orders.pay)
            answers = list(pool.map(lambda way, number=number: way(str(number)), ways))
        paid = answers[0]
        assert answers[3] == paid == orders.pay(str(number))  # asked again: the same answer
        assert paid + answers[1] + answers[2] == 1
        assert client.hget("stock", "go") == ("0" if paid else "1")


def test_an_order_that_was_never_made_is_not_paid(order: ModuleType, client: valkey.Valkey) -> None:
    assert not order.Orders(client).pay("1")
    assert client.dbsize() == 0


def test_only_what_is_late_is_given_back(order: ModuleType, client: valkey.Valkey) -> None:
    orders = order.Orders(client)
    client.hset("stock", "go", 2)
    for number, seconds in (("late", -2), ("early", 900)):
        client.hset("cart:ada", "go", 1)
        orders.checkout("ada", number, seconds)
    assert [orders.release_late(), orders.release_late()] == [1, 0]
    assert client.hgetall("stock") == {"go": "1"}
    assert client.exists("order:early") == 1


def until_answered(action: Callable[[], object]) -> None:
    """Ask again after a lost reply: safe, for each of these may be repeated."""
    while True:
        try:
            action()
        except valkey.ConnectionError:
            continue
        return


def test_no_piece_is_lost_or_sold_twice_while_clients_are_killed(
    order: ModuleType, client: valkey.Valkey, port: int
) -> None:
    client.hset("stock", mapping={"go": 15})
    for number in range(30):
        client.hset(f"cart:{number}", "go", 1 + number % 2)

    def buy(number: int) -> None:
        with valkey.Valkey(host="127.0.0.1", port=port, decode_responses=True) as mine:
            orders = order.Orders(mine)
            try:
                until_answered(lambda: orders.checkout(str(number), str(number)))
            except order.OutOfStockError:
                return
            if number % 3:
                until_answered(lambda: orders.release(str(number)))

    with ThreadPoolExecutor(8) as pool:
        jobs = [pool.submit(buy, number) for number in range(30)]
        while not all(job.done() for job in jobs):
            client.client_kill_filter(_type="normal", skipme=True)
            assert everywhere(client, "go", 0) <= 17  # two looks: one order may be counted in both
        for job in jobs:
            job.result()
    assert everywhere(client, "go", 0) == 15
    held = sorted(key.removeprefix("order:") for key in client.scan_iter(match="order:*") if key != "orders:due")
    assert sorted(client.zrange("orders:due", 0, -1)) == held


@pytest.mark.parametrize(("name", "count"), [("cart", 3), ("order", 5)])
def test_runs_and_says_when_there_is_no_server(
    name: str, count: int, snippet: Callable[[str], ModuleType], lines: Callable[[ModuleType], list[str]]
) -> None:
    assert len(lines(snippet(f"state/{name}.py"))) == count
