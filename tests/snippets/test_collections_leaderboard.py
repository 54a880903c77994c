"""The leaderboard: ties, repeats, many readers at once, and what happens when something breaks."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from types import ModuleType
from typing import Any

import pytest
import valkey

READERS = [f"reader-{number}" for number in range(6)]
BOOKS = {f"book-{number}": 100 * (1 + number % 3) for number in range(20)}  # and their pages


@pytest.fixture(scope="module")
def leaderboard(snippet: Callable[[str], ModuleType]) -> ModuleType:
    """The program under test."""
    return snippet("collections/leaderboard.py")


@pytest.fixture
def board(leaderboard: ModuleType, client: valkey.Valkey) -> Any:
    """An empty board."""
    return leaderboard.Leaderboard(client, "test")


def test_with_equal_points_who_got_there_first_is_ahead(board: Any) -> None:
    for reader in ("zoe", "ada", "mia"):  # not in the order of the names
        board.finish(reader, "dune", 600)
    assert board.top() == [(1, "zoe", 600), (2, "ada", 600), (3, "mia", 600)]


def test_the_time_of_the_last_book_counts(board: Any) -> None:
    board.finish("ada", "momo", 100)
    board.finish("ben", "dune", 600)
    board.finish("ada", "emma", 500)
    assert [place.reader for place in board.top()] == ["ben", "ada"]


def test_more_points_are_ahead_of_earlier_ones(board: Any) -> None:
    board.finish("ada", "dune", 600)
    board.finish("ben", "war-and-peace", 1225)
    assert [place.reader for place in board.top()] == ["ben", "ada"]
    assert board.top(1) == [(1, "ben", 1225)]


def test_a_book_counts_once(board: Any) -> None:
    assert board.finish("ada", "dune", 600)
    assert not board.finish("ada", "dune", 600)
    assert board.place("ada") == (1, "ada", 600)


def test_neighbours(board: Any) -> None:
    for number, reader in enumerate(READERS):
        board.finish(reader, "book", 1000 - number)
    assert [place.rank for place in board.around("reader-3")] == [3, 4, 5]
    assert [place.reader for place in board.around("reader-0", distance=2)] == READERS[:3]
    assert [place.reader for place in board.around("reader-5", distance=2)] == READERS[3:]


def test_who_has_read_nothing_has_no_place(board: Any) -> None:
    assert board.place("nobody") is None
    assert board.around("nobody") == []
    assert board.top() == []


def test_names_may_contain_the_separator(board: Any) -> None:
    board.finish("ada:lovelace", "dune", 600)
    assert board.top() == [board.place("ada:lovelace")] == [(1, "ada:lovelace", 600)]


def test_no_points_no_book(board: Any) -> None:
    with pytest.raises(ValueError, match="at least one page"):
        board.finish("ada", "empty", 0)
    assert board.top() == []


def test_many_at_once_and_everything_sent_twice(leaderboard: ModuleType, board: Any, client: valkey.Valkey) -> None:
    work = [(reader, book, pages) for reader in READERS for book, pages in BOOKS.items()] * 2
    random.Random(7).shuffle(work)
    with ThreadPoolExecutor(8) as pool:
        counted = list(pool.map(lambda each: board.finish(*each), work))
    assert sum(counted) == len(work) // 2
    top = board.top(100)
    assert [place.points for place in top] == [sum(BOOKS.values())] * len(READERS)
    # The order is that in which the readers got there: their last turns.
    turns = {reader: entry.split(":")[0] for reader, entry in client.hgetall("{test}:entries").items()}
    assert [place.reader for place in top] == sorted(turns, key=turns.__getitem__, reverse=True)
    assert client.get("{test}:clock") == str(len(work) // 2)


def test_lost_connections_lose_no_book_and_count_none_twice(board: Any, client: valkey.Valkey, port: int) -> None:
    def read_all(reader: str) -> int:
        """Finish each book, again and again until the server has said that it is counted."""
        again = 0
        with valkey.Valkey(host="127.0.0.1", port=port, decode_responses=True) as own:
            mine = type(board)(own, "test")
            for book, pages in BOOKS.items():
                while True:
                    try:
                        mine.finish(reader, book, pages)
                        break
                    except valkey.ConnectionError:
                        again += 1
        return again

    with ThreadPoolExecutor(len(READERS)) as pool:
        readers = [pool.submit(read_all, reader) for reader in READERS]
        killed = 0
        while not all(each.done() for each in readers):
            killed += client.client_kill_filter(_type="normal", skipme=True)
            time.sleep(0.002)  # else nobody gets anywhere
        assert [each.exception() for each in readers] == [None] * len(READERS)
    assert killed > 0
    assert {place.points for place in board.top(100)} == {sum(BOOKS.values())}
    assert client.zcard(board.board) == client.hlen(board.entries) == len(READERS)


def test_a_server_that_has_forgotten_the_script_gets_it_again(board: Any, client: valkey.Valkey) -> None:
    board.finish("ada", "dune", 600)
    client.script_flush()  # a restart does the same
    board.finish("ada", "emma", 500)
    assert board.place("ada") == (1, "ada", 1100)


def test_a_place_is_found_while_the_reader_moves_up(
    board: Any, client: valkey.Valkey, monkeypatch: pytest.MonkeyPatch
) -> None:
    board.finish("ada", "dune", 600)
    original = valkey.Valkey.hget

    def look_and_move(self: valkey.Valkey, key: str, field: str) -> object:
        seen = original(self, key, field)
        monkeypatch.undo()
        board.finish("ada", "emma", 500)
        return seen

    monkeypatch.setattr(valkey.Valkey, "hget", look_and_move)
    assert board.place("ada") == (1, "ada", 1100)


def test_a_board_that_somebody_has_removed_is_no_reason_to_search_for_ever(board: Any, client: valkey.Valkey) -> None:
    board.finish("ada", "dune", 600)
    client.delete(board.board)
    assert board.place("ada") is None
    assert board.around("ada") == []


@pytest.mark.parametrize("key", ["board", "entries", "clock", "finished:ada"])
def test_a_key_of_another_type_leaves_nothing_half_done(board: Any, client: valkey.Valkey, key: str) -> None:
    client.geoadd(f"{{test}}:{key}", (16.37, 48.21, "Vienna")) if key != "board" else client.set("{test}:board", "x")
    with pytest.raises(valkey.ResponseError, match="WRONGTYPE"):
        board.finish("ada", "dune", 600)
    client.delete(f"{{test}}:{key}")
    assert board.place("ada") is None
    assert board.finish("ada", "dune", 600)
    assert board.top() == [(1, "ada", 600)]


def test_runs(
    leaderboard: ModuleType,
    client: valkey.Valkey,
    port: int,
    at_port: Callable[[int], None],
    capsys: pytest.CaptureFixture[str],
) -> None:
    at_port(port)
    for _ in range(2):  # it clears what it left behind
        assert leaderboard.main() == 0
        assert capsys.readouterr().out.splitlines() == [
            "counted twice: False",
            "1. ada   600",
            "2. zoe   600",
            "3. cleo  600",
            "around cleo: 2. zoe 3. cleo 4. ben",
        ]


def test_without_a_server_it_says_so(
    leaderboard: ModuleType, nobody: int, at_port: Callable[[int], None], capsys: pytest.CaptureFixture[str]
) -> None:
    at_port(nobody)
    assert leaderboard.main() == 1
    assert "Cannot reach Valkey" in capsys.readouterr().err
