"""The program in which sixteen clients miss at once."""

from __future__ import annotations

from collections.abc import Callable
from threading import Event
from types import ModuleType

import pytest
import valkey


@pytest.fixture(scope="module")
def stampede(snippet: Callable[[str], ModuleType]) -> ModuleType:
    """The program under test."""
    return snippet("caching/stampede.py")


def test_counts_the_same_each_time(stampede: ModuleType, client: valkey.Valkey) -> None:
    for _ in range(3):
        counts = [int(line.split(":")[1].split()[0]) for line in stampede.compare(client)]
        assert counts == [stampede.CLIENTS, stampede.PROCESSES, 1, 1]


def test_all_get_the_right_answer(stampede: ModuleType, client: valkey.Valkey) -> None:
    reader = stampede.Reader(client, stampede.Database())
    answers: list[str] = []

    def way() -> tuple[str, bool]:
        value, old = reader.locked()
        answers.append(value)
        return value, old

    assert stampede.rush(reader, [way] * stampede.CLIENTS) == (1, 0)
    assert answers == ["tea"] * stampede.CLIENTS
    assert client.exists(stampede.LOCK) == 0


def test_an_old_copy_is_used_while_one_renews(stampede: ModuleType, client: valkey.Valkey) -> None:
    reader = stampede.Reader(client, stampede.Database())
    client.set(stampede.KEY, "old")
    assert stampede.rush(reader, [reader.old_copy] * stampede.CLIENTS) == (1, stampede.CLIENTS - 1)
    assert client.get(stampede.KEY) == "tea"
    copy, mark = client.ttl(stampede.KEY), client.ttl(stampede.FRESH)
    assert copy > 10 * mark > 0  # when the mark has gone, there is still an old copy


def test_the_very_first_copy_is_asked_for_once(stampede: ModuleType, client: valkey.Valkey) -> None:
    reader = stampede.Reader(client, stampede.Database())
    assert stampede.rush(reader, [reader.old_copy] * stampede.CLIENTS) == (1, 0)


def test_a_lock_whose_owner_has_died_expires(stampede: ModuleType, client: valkey.Valkey) -> None:
    reader = stampede.Reader(client, stampede.Database())
    reader.missed = stampede.Barrier(1)
    client.set(stampede.LOCK, "the dead", px=60)
    assert reader.locked() == ("tea", False)
    assert reader.database.queries == 1


def test_nobody_waits_for_ever(stampede: ModuleType, client: valkey.Valkey, monkeypatch: pytest.MonkeyPatch) -> None:
    reader = stampede.Reader(client, stampede.Database())
    reader.missed = stampede.Barrier(1)
    monkeypatch.setattr(stampede, "DEADLINE", 0.05)
    client.set(stampede.LOCK, "somebody who does not end")
    assert reader.locked() == ("tea", False)
    assert client.get(stampede.LOCK) == "somebody who does not end"


def test_a_failure_releases_the_lock(
    stampede: ModuleType, client: valkey.Valkey, monkeypatch: pytest.MonkeyPatch
) -> None:
    reader = stampede.Reader(client, stampede.Database())
    reader.missed = stampede.Barrier(1)

    def fail() -> str:
        raise OSError("the disk is gone")

    monkeypatch.setattr(reader.database, "best_seller", fail)
    with pytest.raises(OSError, match="the disk"):
        reader.locked()
    assert client.exists(stampede.LOCK, stampede.KEY) == 0


def test_a_flight_hands_its_failure_to_everybody(stampede: ModuleType) -> None:
    flight, started = stampede.Flight(), Event()

    def fail() -> str:
        started.set()
        raise OSError("the disk is gone")

    for _ in range(2):
        with pytest.raises(OSError, match="the disk"):
            flight.result(fail)
    assert started.is_set()


def test_leaves_nothing_behind(stampede: ModuleType, client: valkey.Valkey) -> None:
    stampede.compare(client)
    assert client.dbsize() == 0


def test_runs(
    stampede: ModuleType, port: int, at_port: Callable[[int], None], capsys: pytest.CaptureFixture[str]
) -> None:
    at_port(port)
    assert stampede.main() == 0
    assert len(capsys.readouterr().out.splitlines()) == 4


def test_without_a_server_it_says_so(
    stampede: ModuleType, nobody: int, at_port: Callable[[int], None], capsys: pytest.CaptureFixture[str]
) -> None:
    at_port(nobody)
    assert stampede.main() == 1
    assert "Cannot reach Valkey" in capsys.readouterr().err
