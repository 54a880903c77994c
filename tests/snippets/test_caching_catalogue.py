"""The catalogue: SQLite behind a cache."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from types import ModuleType
from typing import Any

import pytest
import valkey

TEA = {"name": "tea", "price": 4}


@pytest.fixture(scope="module")
def catalogue(snippet: Callable[[str], ModuleType]) -> ModuleType:
    """The program under test."""
    return snippet("caching/catalogue.py")


@pytest.fixture
def shop(catalogue: ModuleType, client: valkey.Valkey) -> Any:
    """A catalogue with an empty cache."""
    return catalogue.Catalogue(client, catalogue.Database())


def between(shop: Any, monkeypatch: pytest.MonkeyPatch, happens: Callable[[], object]) -> None:
    """Let something happen once, after the database has answered and before the copy is stored."""
    ask = shop.database.product
    pending = [happens]

    def slow(number: int) -> Any:
        row = ask(number)
        if pending:
            pending.pop()()
        return row

    monkeypatch.setattr(shop.database, "product", slow)


def test_asks_once(shop: Any) -> None:
    assert [shop.product(7) for _ in range(5)] == [TEA] * 5
    assert shop.database.queries == 1


def test_what_is_not_there_is_kept_for_a_short_time(shop: Any, client: valkey.Valkey, catalogue: ModuleType) -> None:
    assert [shop.product(99) for _ in range(5)] == [None] * 5
    assert shop.database.queries == 1
    assert client.get("product:99") == "null"
    left: Any = client.pttl("product:99")
    assert 0 < left <= catalogue.LIFE_OF_NOTHING * 1100


def test_copies_differ_in_their_end(shop: Any, client: valkey.Valkey, catalogue: ModuleType) -> None:
    ends = set()
    for _ in range(20):
        client.delete("product:7")
        shop.product(7)
        left: Any = client.pttl("product:7")
        ends.add(left // 1000)
    assert len(ends) > 3
    assert min(ends) >= catalogue.LIFE * 0.9 - 5
    assert max(ends) <= catalogue.LIFE * 1.1


def test_a_change_is_seen_at_once(shop: Any) -> None:
    shop.product(7)
    shop.change_price(7, 5)
    assert shop.product(7) == {"name": "tea", "price": 5}


def test_a_change_between_query_and_filling_leaves_no_old_copy(
    shop: Any, client: valkey.Valkey, monkeypatch: pytest.MonkeyPatch
) -> None:
    between(shop, monkeypatch, lambda: shop.change_price(7, 5))
    assert shop.product(7) == TEA  # it was so when it was asked
    assert client.exists("product:7") == 0
    assert shop.product(7) == {"name": "tea", "price": 5}


def test_a_late_reader_does_not_take_the_lease_of_the_next(
    shop: Any, client: valkey.Valkey, monkeypatch: pytest.MonkeyPatch
) -> None:
    def change_and_read() -> None:
        shop.change_price(7, 5)
        client.set("product:7", "lease:of-another", px=5_000)

    between(shop, monkeypatch, change_and_read)
    assert shop.product(7) == TEA
    assert client.get("product:7") == "lease:of-another"


def test_many_at_once_ask_once(shop: Any) -> None:
    with ThreadPoolExecutor(16) as pool:
        assert list(pool.map(shop.product, [7] * 64)) == [TEA] * 64
    assert shop.database.queries == 1


def test_readers_and_writers_together_end_with_the_truth(shop: Any, catalogue: ModuleType) -> None:
    with ThreadPoolExecutor(8) as pool:
        jobs = [pool.submit(shop.product, 7) for _ in range(100)]
        jobs += [pool.submit(shop.change_price, 7, price) for price in range(20)]
        jobs += [pool.submit(shop.product, 7) for _ in range(100)]
        for job in jobs:
            job.result()
    assert shop.product(7) == catalogue.Database.product(shop.database, 7)


def test_a_failing_database_leaves_no_lease(shop: Any, client: valkey.Valkey, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(number: int) -> None:
        raise OSError(f"no row {number}: the disk is gone")

    with monkeypatch.context() as patch:
        patch.setattr(shop.database, "product", fail)
        with pytest.raises(OSError, match="the disk"):
            shop.product(7)
    assert client.exists("product:7") == 0
    assert shop.product(7) == TEA


def test_a_reader_that_died_is_waited_for_only_so_long(shop: Any, client: valkey.Valkey) -> None:
    client.set("product:7", "lease:of-the-dead", px=60)
    assert shop.product(7) == TEA
    assert shop.database.queries == 1


def test_a_lease_without_end_does_not_block(
    shop: Any, client: valkey.Valkey, catalogue: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(catalogue, "LEASE", 0.05)
    client.set("product:7", "lease:for-ever")
    assert shop.product(7) == TEA


def test_without_the_cache_the_database_answers(catalogue: ModuleType, nobody: int) -> None:
    with valkey.Valkey(host="127.0.0.1", port=nobody, decode_responses=True) as away:
        shop = catalogue.Catalogue(away, catalogue.Database())
        shop.change_price(7, 5)
        assert shop.product(7) == {"name": "tea", "price": 5}


def test_a_cache_that_is_full_or_broken_does_no_harm(
    shop: Any, client: valkey.Valkey, caplog: pytest.LogCaptureFixture
) -> None:
    client.config_set("maxmemory", 1)
    try:
        assert shop.product(7) == TEA
    finally:
        client.config_set("maxmemory", 0)
    assert "no cache" in caplog.text
    client.rpush("product:7", "no text")
    assert shop.product(7) == TEA
    shop.change_price(7, 5)
    assert shop.product(7) == {"name": "tea", "price": 5}
    assert client.get("product:7")


def test_a_cache_that_goes_before_the_filling_does_no_harm(shop: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def away(**_: object) -> None:
        raise valkey.ConnectionError("gone")

    monkeypatch.setattr(shop, "_fill", away)
    assert shop.product(7) == TEA
    assert shop.database.queries == 1


def test_runs(
    catalogue: ModuleType,
    client: valkey.Valkey,
    port: int,
    at_port: Callable[[int], None],
    capsys: pytest.CaptureFixture[str],
) -> None:
    client.flushall()
    at_port(port)
    assert catalogue.main() == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.rsplit(": ", 1)[1] for line in lines] == ["1 query"] * 4


def test_without_a_server_it_says_so(
    catalogue: ModuleType, nobody: int, at_port: Callable[[int], None], capsys: pytest.CaptureFixture[str]
) -> None:
    at_port(nobody)
    assert catalogue.main() == 1
    assert "Cannot reach Valkey" in capsys.readouterr().err
