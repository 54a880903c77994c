"""The program that looks after the keyspace."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from types import ModuleType
from typing import Any

import pytest
import valkey

FAR = 4_000_000_000  # a time far away


@pytest.fixture(scope="module")
def janitor(snippet: Callable[[str], ModuleType]) -> ModuleType:
    """The program under test."""
    return snippet("keys/janitor.py")


def fill(client: valkey.Valkey, prefix: str, count: int) -> set[str]:
    """So many keys with this prefix."""
    names = {f"{prefix}{number}" for number in range(count)}
    client.mset(dict.fromkeys(names, "x" * 20))
    return names


def writing(client: valkey.Valkey, stop: threading.Event) -> int:
    """Make the keyspace grow and shrink until told to stop; say how often."""
    rounds = 0
    while not stop.is_set() or rounds < 2:
        names = [f"busy:{rounds}:{number}" for number in range(200)]
        client.mset(dict.fromkeys(names, "y"))
        client.unlink(*names[:150])
        rounds += 1
    return rounds


def test_counts_every_steady_key_once_while_others_write(janitor: ModuleType, client: valkey.Valkey) -> None:
    fill(client, "steady:", 3_000)
    stop = threading.Event()
    with ThreadPoolExecutor(1) as pool:
        writer = pool.submit(writing, client, stop)
        try:
            surveys = [janitor.survey(client) for _ in range(3)]
        finally:
            stop.set()
        assert writer.result(10) >= 2
    assert [shares["steady"].keys for shares in surveys] == [3_000] * 3


def test_the_survey_knows_bytes_and_expiry(janitor: ModuleType, client: valkey.Valkey) -> None:
    client.mset({"cart:1": "a", "cart:2": "b", "lonely": "c"})
    client.set("cart:3", "z" * 1_000, ex=1_000)
    shares = janitor.survey(client)
    assert set(shares) == {"cart", "lonely"}
    assert (shares["cart"].keys, shares["cart"].endless) == (3, 2)
    assert shares["cart"].bytes == sum(client.memory_usage(f"cart:{number}") for number in (1, 2, 3))
    lines = janitor.report(shares).splitlines()
    assert [line.split()[0] for line in lines] == ["prefix", "cart", "lonely"]


def test_a_key_that_goes_while_it_is_looked_at_is_left_out(
    janitor: ModuleType, client: valkey.Valkey, monkeypatch: pytest.MonkeyPatch
) -> None:
    client.mset({"here:1": "a", "gone:1": "b"})
    original = janitor.batches

    def with_a_deletion_in_between(each: valkey.Valkey, pattern: str) -> Any:
        for names in original(each, pattern):
            client.delete("gone:1")
            yield names

    monkeypatch.setattr(janitor, "batches", with_a_deletion_in_between)
    assert set(janitor.survey(client)) == {"here"}


def test_a_name_that_comes_twice_is_counted_once(
    janitor: ModuleType, client: valkey.Valkey, monkeypatch: pytest.MonkeyPatch
) -> None:
    """SCAN may do so when the table grows or shrinks: in one step, and in two."""
    client.mset({"cart:1": "a", "cart:2": "b"})
    monkeypatch.setattr(janitor, "batches", lambda *_: iter([["cart:1", "cart:1"], ["cart:2", "cart:1"]]))
    assert janitor.survey(client)["cart"].keys == 2


def test_removes_its_prefix_and_nothing_else_while_others_write(janitor: ModuleType, client: valkey.Valkey) -> None:
    fill(client, "old:", 3_000)
    kept = fill(client, "older:", 100)
    stop = threading.Event()
    with ThreadPoolExecutor(1) as pool:
        writer = pool.submit(writing, client, stop)
        try:
            removed = janitor.remove(client, "old:")
        finally:
            stop.set()
        rounds = writer.result(10)
    assert removed == 3_000
    assert client.exists(*kept) == 100
    assert client.dbsize() == 100 + 50 * rounds


def test_two_janitors_count_each_key_once(janitor: ModuleType, client: valkey.Valkey) -> None:
    fill(client, "old:", 3_000)
    with ThreadPoolExecutor(2) as pool:
        counts = list(pool.map(lambda _: janitor.remove(client, "old:"), range(2)))
    assert sum(counts) == 3_000
    assert client.dbsize() == 0


def test_limits_what_has_no_end_and_shortens_nothing(janitor: ModuleType, client: valkey.Valkey) -> None:
    """Between SCAN and EXPIRE a client gives a key an expiry of its own: that one stays."""
    fill(client, "session:", 1_000)
    renewed = [f"session:{number}" for number in range(0, 1_000, 2)]

    def renew() -> None:
        for name in renewed:
            client.set(name, "renewed", exat=FAR)

    with ThreadPoolExecutor(1) as pool:
        renewing = pool.submit(renew)
        janitor.limit(client, "session:", 60)
        renewing.result(10)
    assert {client.expiretime(name) for name in renewed} == {FAR}
    assert janitor.survey(client)["session"].endless == 0
    assert janitor.limit(client, "session:", 60) == 0


@pytest.mark.parametrize("prefix", ["a*", "a?", "[ab]", "a\\", "ä:"])
def test_a_prefix_is_taken_literally(janitor: ModuleType, client: valkey.Valkey, prefix: str) -> None:
    client.mset({f"{prefix}1": "", "ab1": "", "a1": "", "b1": ""})
    assert janitor.remove(client, prefix) == 1
    assert client.dbsize() == 3


def test_names_that_are_no_text_are_counted_and_removed(
    janitor: ModuleType,
    client: valkey.Valkey,
    port: int,
    at_port: Callable[[int], None],
    capsys: pytest.CaptureFixture[str],
) -> None:
    client.mset({b"\x00\xff:1": "", b"\x00\xff:2": "", "r\u00f6m:1": ""})
    at_port(port)
    assert janitor.main(["survey"]) == 0
    written = capsys.readouterr().out.encode("utf-8").decode()  # it can be printed
    assert "\\udcff" in written
    assert "r\u00f6m" in written
    assert janitor.main(["remove", "\x00\udcff:"]) == 0
    assert client.keys("*") == ["r\u00f6m:1"]


def test_an_empty_prefix_is_refused(
    janitor: ModuleType,
    client: valkey.Valkey,
    port: int,
    at_port: Callable[[int], None],
    capsys: pytest.CaptureFixture[str],
) -> None:
    client.set("precious", "1")
    at_port(port)
    assert janitor.main(["remove", ""]) == 1
    assert "every key" in capsys.readouterr().err
    assert client.exists("precious") == 1


def test_a_scan_goes_on_over_a_new_connection(janitor: ModuleType, client: valkey.Valkey, port: int) -> None:
    """The cursor is all there is to a scan: the server keeps nothing for the connection."""
    names = fill(client, "key:", 2_000)
    with valkey.Valkey(host="127.0.0.1", port=port, decode_responses=True) as other:
        found: set[str] = set()
        for batch in janitor.batches(other, "key:*"):
            found.update(batch)
            other.connection_pool.disconnect()
    assert found == names


def test_after_a_failure_half_way_a_second_run_finishes(janitor: ModuleType, client: valkey.Valkey, port: int) -> None:
    names = fill(client, "old:", 3_000)
    with valkey.Valkey(host="127.0.0.1", port=port, decode_responses=True, single_connection_client=True) as other:
        me = other.client_id()
        original, calls = other.unlink, iter(range(10))

        def cut(*batch: str) -> Any:
            if next(calls) == 2:
                client.client_kill_filter(_id=me)
            return original(*batch)

        other.unlink = cut
        with pytest.raises(valkey.ConnectionError):
            janitor.remove(other, "old:")
    left = client.exists(*names)
    assert 0 < left < 3_000
    assert janitor.remove(client, "old:") == left


def test_runs(
    janitor: ModuleType,
    client: valkey.Valkey,
    port: int,
    at_port: Callable[[int], None],
    capsys: pytest.CaptureFixture[str],
) -> None:
    fill(client, "cart:", 3)
    at_port(port)
    assert janitor.main(["survey"]) == janitor.main(["limit", "cart:", "60"]) == janitor.main(["remove", "cart:"]) == 0
    written = capsys.readouterr().out.splitlines()
    assert written[1].split()[:2] == ["cart", "3"]
    assert written[2:] == ["3 keys will expire", "3 keys removed"]


def test_without_a_server_it_says_so(
    janitor: ModuleType, nobody: int, at_port: Callable[[int], None], capsys: pytest.CaptureFixture[str]
) -> None:
    at_port(nobody)
    assert janitor.main(["survey"]) == 1
    assert "Stopped" in capsys.readouterr().err
