"""The board that is right again after a failure."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import takewhile
from types import ModuleType

import pytest
import valkey

PATIENCE = 10.0  # seconds, never used up unless something is broken


@pytest.fixture(scope="module")
def board(snippet: Callable[[str], ModuleType]) -> ModuleType:
    """The program under test."""
    return snippet("messaging/board.py")


@pytest.fixture
def persistent(board: ModuleType, client: valkey.Valkey, port: int, at_port: Callable[[int], None]) -> Iterator[object]:
    """The program's own client, of an empty server."""
    at_port(port)
    with board.persistent() as each:
        each.connection_pool.connection_kwargs["socket_timeout"] = PATIENCE
        yield each


def test_it_shows_what_was_there_and_what_changes(
    board: ModuleType, client: valkey.Valkey, persistent: valkey.Valkey
) -> None:
    client.hset("orders", "order 1", "paid")
    screen = board.Board(persistent)
    happened = screen.follow()
    assert next(happened) == "loaded"
    assert screen.shown == {"order 1": "paid"}
    assert board.change(client, "order 2", "new") == 1
    assert next(happened) == "order 2"
    assert screen.shown == {"order 1": "paid", "order 2": "new"}
    client.hdel("orders", "order 1")
    client.publish("orders:changed", "order 1")
    assert next(happened) == "order 1"
    assert screen.shown == {"order 2": "new"}
    happened.close()


def test_it_is_right_again_after_each_lost_connection(
    board: ModuleType, client: valkey.Valkey, persistent: valkey.Valkey
) -> None:
    screen = board.Board(persistent)
    happened = screen.follow()
    next(happened)
    for number in range(5):
        assert client.client_kill_filter(_type="pubsub") == 1
        assert board.change(client, "order", str(number)) == 0  # nobody hears it
        assert next(happened) == "loaded"
        assert screen.shown == {"order": str(number)}
    assert screen.loaded == 6
    happened.close()


def test_it_ends_up_right_while_writers_write_and_connections_break(
    board: ModuleType, client: valkey.Valkey, persistent: valkey.Valkey
) -> None:
    def write(writer: int) -> None:
        for number in range(100):
            board.change(client, f"order {number % 7}", f"{writer}:{number}")
            if number % 25 == 24:
                client.client_kill_filter(_type="pubsub")

    screen = board.Board(persistent)
    happened = screen.follow()
    next(happened)
    with ThreadPoolExecutor(3) as pool:
        for finished in [pool.submit(write, writer) for writer in range(3)]:
            finished.result()
    client.client_kill_filter(_type="pubsub")  # or, if all was heard, nothing would come any more
    board.change(client, "the end", "yes")
    while screen.shown.get("the end") != "yes":
        next(happened)
    assert screen.shown == client.hgetall("orders")
    happened.close()


def test_nobody_is_told_before_it_is_so(board: ModuleType, client: valkey.Valkey) -> None:
    with client.monitor() as monitor:
        board.change(client, "order", "paid")
        client.ping()
        commands = (each["command"].split()[0] for each in monitor.listen())
        seen = list(takewhile(lambda command: command != "PING", commands))
    assert "MULTI" in seen  # so that no reader can come between the two
    assert seen.index("HSET") < seen.index("PUBLISH")


def test_a_late_message_does_not_overwrite_something_newer(
    board: ModuleType, client: valkey.Valkey, persistent: valkey.Valkey
) -> None:
    screen = board.Board(persistent)
    happened = screen.follow()
    next(happened)
    board.change(client, "order", "paid")
    board.change(client, "order", "packed")
    assert next(happened) == "order"
    assert screen.shown == {"order": "packed"}  # though the message was about "paid"
    happened.close()


def test_runs(
    board: ModuleType,
    client: valkey.Valkey,
    port: int,
    at_port: Callable[[int], None],
    capsys: pytest.CaptureFixture[str],
) -> None:
    at_port(port)
    assert board.main() == 0
    assert capsys.readouterr().out.splitlines() == [
        "heard by 1",
        "order 17 is paid",
        "heard by 0",
        "loaded again: order 17 is packed",
    ]
    assert client.pubsub_channels() == []


def test_without_a_server_it_says_so(
    board: ModuleType,
    nobody: int,
    at_port: Callable[[int], None],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(board, "RETRIES", 2)
    at_port(nobody)
    assert board.main() == 1
    assert "Cannot reach Valkey" in capsys.readouterr().err
