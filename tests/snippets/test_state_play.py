"""Feeds, seasons, games and recommendations: right also when clients die, and against a count by hand."""

from __future__ import annotations

import random
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from itertools import combinations
from types import ModuleType

import pytest
import valkey

END = 4_102_444_800  # the year 2100


@pytest.fixture(scope="module")
def feed(snippet: Callable[[str], ModuleType]) -> ModuleType:
    """The program under test."""
    return snippet("state/feed.py")


@pytest.fixture(scope="module")
def season(snippet: Callable[[str], ModuleType]) -> ModuleType:
    """The program under test."""
    return snippet("state/season.py")


@pytest.fixture(scope="module")
def game(snippet: Callable[[str], ModuleType]) -> ModuleType:
    """The program under test."""
    return snippet("state/game.py")


@pytest.fixture(scope="module")
def also(snippet: Callable[[str], ModuleType]) -> ModuleType:
    """The program under test."""
    return snippet("state/also_bought.py")


# Feeds


def pages(feed: ModuleType, client: valkey.Valkey, reader: str) -> list[int]:
    """All numbers in a feed, read page by page."""
    page = feed.read(client, reader)
    numbers = [post.number for post in page.posts]
    while page.cursor is not None:
        page = feed.read(client, reader, before=page.cursor)
        numbers += [post.number for post in page.posts]
    return numbers


def test_paging_shows_each_post_once_while_others_write(feed: ModuleType, client: valkey.Valkey) -> None:
    feed.follow(client, "ada", "cleo")
    first = [feed.post(client, "cleo", "text") for _ in range(10)]
    page = feed.read(client, "ada")
    seen = [post.number for post in page.posts]
    while page.cursor is not None:
        feed.post(client, "cleo", "meanwhile")
        page = feed.read(client, "ada", before=page.cursor)
        seen += [post.number for post in page.posts]
    assert seen == first[::-1]


def test_a_page_of_deleted_posts_is_not_the_end(feed: ModuleType, client: valkey.Valkey) -> None:
    feed.follow(client, "ada", "cleo")
    numbers = [feed.post(client, "cleo", "text") for _ in range(7)]
    client.delete(*[f"post:{number}" for number in numbers[1:6]])
    assert pages(feed, client, "ada") == [numbers[6], numbers[0]]
    assert feed.read(client, "nobody") == ([], None)


def test_a_feed_keeps_the_newest(feed: ModuleType, client: valkey.Valkey, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(feed, "KEEP", 3)
    feed.follow(client, "ada", "cleo")
    for _ in range(5):
        feed.post(client, "cleo", "text")
    assert pages(feed, client, "ada") == [5, 4, 3]


def test_a_writer_killed_half_way_is_finished_by_another(
    feed: ModuleType, client: valkey.Valkey, monkeypatch: pytest.MonkeyPatch
) -> None:
    readers = [f"reader-{number}" for number in range(300)]
    for reader in readers:
        feed.follow(client, reader, "cleo")

    class KilledError(Exception):
        """The end of this client."""

    original, calls = client.sscan, []

    def dies_at_the_second_batch(*args: object, **options: object) -> object:
        calls.append(1)
        if len(calls) == 2:
            raise KilledError
        return original(*args, **options)

    with monkeypatch.context() as patched:
        patched.setattr(client, "sscan", dies_at_the_second_batch)
        with pytest.raises(KilledError):
            feed.post(client, "cleo", "text")
    reached = sum(client.exists(f"feed:{reader}") for reader in readers)
    assert 0 < reached < len(readers)
    assert [feed.resume(client), feed.resume(client)] == [1, 0]
    assert all(client.zrange(f"feed:{reader}", 0, -1) == ["1"] for reader in readers)


def test_many_authors_at_once(feed: ModuleType, client: valkey.Valkey) -> None:
    for author in "abcd":
        feed.follow(client, "ada", author)
    with ThreadPoolExecutor(8) as pool:
        numbers = list(pool.map(lambda author: feed.post(client, author, "text"), "abcd" * 5))
    assert pages(feed, client, "ada") == sorted(numbers, reverse=True)
    assert client.scard("posts:pending") == 0


# Seasons


def test_equal_points_in_the_order_in_which_they_came(season: ModuleType, client: valkey.Valkey) -> None:
    board = season.Season(client, "test", client.time()[0] + 3600)
    for number, player in enumerate(("zoe", "ada", "mia")):
        board.win(player, 10, f"match-{number}")
        moment = client.time()
        while client.time()[1] // 1000 == moment[1] // 1000:
            pass
    board.win("eve", 11, "match-9")
    assert [(place.rank, place.player, place.points) for place in board.top()] == [
        (1, "eve", 11),
        (2, "zoe", 10),
        (3, "ada", 10),
        (4, "mia", 10),
    ]
    assert [board.shared_rank(player) for player in ("eve", "zoe", "mia", "nobody")] == [1, 2, 2, None]


def test_points_are_those_of_a_count_by_hand(season: ModuleType, client: valkey.Valkey) -> None:
    board = season.Season(client, "test", client.time()[0] + 3600)
    chance = random.Random(1)
    matches = [(f"m{number}", chance.choice("abcde"), chance.randint(1, 30)) for number in range(100)]
    with ThreadPoolExecutor(8) as pool:  # each is sent twice, as after a lost reply
        answers = list(pool.map(lambda match: board.win(match[1], match[2], match[0]), matches * 2))
    assert sum(answers) == 100
    by_hand = {player: sum(points for _, who, points in matches if who == player) for player in "abcde"}
    assert {place.player: place.points for place in board.top()} == by_hand
    ranked = sorted(by_hand.values(), reverse=True)
    assert [place.points for place in board.top()] == ranked
    assert all(board.shared_rank(player) == ranked.index(points) + 1 for player, points in by_hand.items())


def test_no_score_that_is_not_exact(season: ModuleType, client: valkey.Valkey) -> None:
    board = season.Season(client, "test", client.time()[0] + 3600)
    assert season.MOST * season.UNIT + season.UNIT - 1 < 2**53
    assert board.win("ada", season.MOST, "1")
    assert board.top()[0].points == season.MOST
    with pytest.raises(valkey.ResponseError, match="RANGE"):
        board.win("ada", 1, "2")
    with pytest.raises(valkey.ResponseError, match="RANGE"):
        season.Season(client, "too long", END).win("ada", 1, "1")
    with pytest.raises(ValueError, match="at least one"):
        board.win("ada", 0, "3")
    assert board.top() == [(1, "ada", season.MOST)]
    assert board.win("ben", 1, "2")  # the refused match was not noted as counted


def test_nobody_wins_after_the_end_and_closing_twice_is_closing_once(season: ModuleType, client: valkey.Valkey) -> None:
    open_board = season.Season(client, "test", client.time()[0] + 3600)
    for number, player in enumerate("abcd"):
        open_board.win(player, number + 1, player)
    ended = season.Season(client, "test", client.time()[0] - 10)
    with pytest.raises(valkey.ResponseError, match="OVER"):
        ended.win("a", 10, "late")
    with pytest.raises(ValueError, match="not ended"):
        open_board.close()
    ended.close()
    assert 0 < client.ttl(ended.board) < 366 * 24 * 3600
    client.delete(ended.board)  # a year later
    ended.close()
    assert client.zrange(ended.winners, 0, -1, desc=True) == ["d", "c", "b"]
    assert client.ttl(ended.winners) == -1


# Games


def test_each_tick_once_and_no_move_lost(game: ModuleType, client: valkey.Valkey) -> None:
    for _ in range(3):
        made, state = game.play(client, "race")
        assert made == game.TICKS + 1 == int(state["tick"])
        assert [int(state[f"at:player-{number}"]) for number in range(game.PLAYERS)] == [game.MOVES] * game.PLAYERS
        assert client.llen("{race}:moves") == 0


def test_a_worker_that_was_overtaken_or_killed_changes_nothing(
    game: ModuleType, client: valkey.Valkey, port: int
) -> None:
    game.move(client, "race", "ada")
    dying = valkey.Connection(host="127.0.0.1", port=port, decode_responses=True)
    dying.connect()
    for command in (("WATCH", "{race}:state"), ("MULTI",), ("HSET", "{race}:state", "tick", "1")):
        dying.send_command(*command)
        assert dying.read_response() in {"OK", "QUEUED"}
    client.client_kill_filter(_type="normal", skipme=True)
    with pytest.raises(valkey.ConnectionError):
        dying.read_response()
    assert not client.exists("{race}:state")
    assert [game.tick(client, "race", 1), game.tick(client, "race", 1)] == [True, False]
    assert client.hgetall("{race}:state") == {"tick": "1", "at:ada": "1"}


# Recommendations


def test_the_overlap_is_that_of_a_count_by_hand(also: ModuleType, client: valkey.Valkey) -> None:
    purchases = also.Purchases(client)
    chance = random.Random(7)
    games = [f"game-{number}" for number in range(8)]
    buyers: dict[str, set[str]] = {each: set() for each in games}
    for number in range(30):
        for each in chance.sample(games, chance.randint(1, 5)):
            purchases.buy(f"customer-{number}", each)
            buyers[each].add(f"customer-{number}")
    for one in games:
        counts = {other: len(buyers[one] & buyers[other]) for other in games if other != one}
        assert dict(purchases.also_bought(one, 100)) == {other: count for other, count in counts.items() if count}
        found = {each.game: each.similarity for each in purchases.similar(one, 100)}
        by_hand = {o: len(buyers[one] & buyers[o]) / len(buyers[one] | buyers[o]) for o in games if o != one}
        assert found == pytest.approx({other: value for other, value in by_hand.items() if value})
        assert list(found.values()) == sorted(found.values(), reverse=True)
    for one, other in combinations(games, 2):
        there = {each.game: each.similarity for each in purchases.similar(one, 100)}.get(other, 0.0)
        back = {each.game: each.similarity for each in purchases.similar(other, 100)}.get(one, 0.0)
        assert there == back


def test_nothing_is_suggested_that_is_owned_or_unknown(also: ModuleType, client: valkey.Valkey) -> None:
    purchases = also.Purchases(client)
    for customer, sold in also.SALES.items():
        for each in sold.split():
            purchases.buy(customer, each)
    for customer, sold in also.SALES.items():
        assert not {each.game for each in purchases.suggest(customer)} & set(sold.split())
    assert purchases.suggest("nobody") == []
    assert purchases.also_bought("nothing") == []
    assert purchases.similar("nothing") == []
    assert also.jaccard(0, 0, 0) == 0


@pytest.mark.parametrize(("name", "count"), [("feed", 3), ("season", 4), ("game", 4), ("also_bought", 5)])
def test_runs_and_says_when_there_is_no_server(
    name: str, count: int, snippet: Callable[[str], ModuleType], lines: Callable[[ModuleType], list[str]]
) -> None:
    assert len(lines(snippet(f"state/{name}.py"))) == count
