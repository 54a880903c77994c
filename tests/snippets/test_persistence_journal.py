"""The journal: what is missing after a kill, under each way of keeping data."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from threading import Event
from types import ModuleType
from typing import Any

import pytest
import valkey

from valkey_doctest.servers import Provider

SNAPSHOTS = ("--save", "3600 1", "--appendonly", "no")


@pytest.fixture(scope="module")
def journal(snippet: Callable[[str], ModuleType]) -> ModuleType:
    """The program under test."""
    return snippet("persistence/journal.py")


@pytest.fixture
def launch(provider: Provider) -> Iterator[Callable[..., Any]]:
    """Start a server of the test's own, with these arguments."""
    servers: list[Any] = []

    def start(*arguments: str) -> Any:
        servers.append(provider.start("journal", arguments))
        return servers[-1]

    yield start
    for server in servers:
        server.remove()


@contextmanager
def killed(journal: ModuleType, server: Any, *, entries: int) -> Iterator[Any]:
    """A writer whose server was killed after so many entries; the server is back."""
    with journal.connect(server.port) as client:
        writer = journal.Writer(client)
        writer.start()
        writer.reach(entries)
        server.kill()
        writer.join()
    server.start()
    yield writer


@pytest.mark.parametrize("policy", ["always", "no"])
def test_a_kill_loses_nothing_that_was_acknowledged(
    journal: ModuleType, launch: Callable[..., Any], policy: str
) -> None:
    server = launch("--appendonly", "yes", "--appendfsync", policy)
    for _ in range(3):
        with killed(journal, server, entries=50) as writer, journal.connect(server.port) as client:
            found = journal.audit(client, writer.acknowledged)
            assert found.in_order
            assert found.lost == 0
            assert found.stored - found.acknowledged in (0, 1)  # one is in doubt
            client.delete(journal.KEY)


def test_under_everysec_what_is_left_is_the_beginning(journal: ModuleType, launch: Callable[..., Any]) -> None:
    server = launch("--appendonly", "yes", "--appendfsync", "everysec")
    with killed(journal, server, entries=200) as writer, journal.connect(server.port) as client:
        found = journal.audit(client, writer.acknowledged)
        assert found.in_order
        assert found.stored <= writer.sent


def test_under_everysec_what_waitaof_has_confirmed_is_there(journal: ModuleType, launch: Callable[..., Any]) -> None:
    server = launch("--appendonly", "yes", "--appendfsync", "everysec")
    with journal.connect(server.port) as client:
        client.rpush(journal.KEY, *range(1, 1_001))
        on_disk, _ = client.pipeline(transaction=False).set("mark", 1).execute_command("WAITAOF", 1, 0, 0).execute()[1]
    server.kill()
    server.start()
    assert on_disk == 1
    with journal.connect(server.port) as client:
        assert journal.audit(client, 1_000) == (1_000, 1_000, True)


def test_snapshots_alone_lose_what_came_after(journal: ModuleType, launch: Callable[..., Any]) -> None:
    server = launch(*SNAPSHOTS)
    with journal.connect(server.port) as client:
        client.rpush(journal.KEY, 1, 2, 3)
        client.save()
        client.rpush(journal.KEY, 4, 5)
    server.kill()
    server.start()
    with journal.connect(server.port) as client:
        found = journal.audit(client, 5)
    assert (found.stored, found.lost, found.in_order) == (3, 2, True)


def test_a_rewrite_during_the_writing_loses_nothing(journal: ModuleType, launch: Callable[..., Any]) -> None:
    server = launch("--appendonly", "yes", "--appendfsync", "no")
    with journal.connect(server.port) as client, journal.connect(server.port) as other:
        writer = journal.Writer(client)
        writer.start()
        for wanted in (50, 100, 150):
            writer.reach(wanted)
            with suppress(valkey.ResponseError):  # the one before may not be done yet
                other.bgrewriteaof()
        server.kill()
        writer.join()
    server.start()
    with journal.connect(server.port) as client:
        found = journal.audit(client, writer.acknowledged)
    assert (found.lost, found.in_order) == (0, True)


def test_a_gap_is_seen(journal: ModuleType, client: Any) -> None:
    client.rpush(journal.KEY, 1, 3, 4)
    found = journal.audit(client, 4)
    assert (found.lost, found.in_order) == (1, False)


def test_an_entry_in_doubt_is_no_loss(journal: ModuleType, client: Any) -> None:
    client.rpush(journal.KEY, 1, 2, 3)
    assert journal.audit(client, 2).lost == 0


def test_whoever_waits_for_a_dead_writer_is_told(journal: ModuleType, nobody: int) -> None:
    writer = journal.Writer(journal.connect(nobody))
    writer.start()
    with pytest.raises(valkey.ConnectionError, match="stopped at entry 0"):
        writer.reach(1)


def test_a_lost_reply_is_not_repeated(journal: ModuleType) -> None:
    calls: list[int] = []
    called = Event()

    class Broken:
        def rpush(self, key: str, number: int) -> None:
            assert key == journal.KEY
            calls.append(number)
            called.set()
            raise valkey.ConnectionError("the reply is lost")

    writer = journal.Writer(Broken())
    writer.start()
    writer.join(10)
    assert called.is_set()
    assert calls == [1]
    assert (writer.sent, writer.acknowledged) == (1, 0)


def test_runs(
    journal: ModuleType, port: int, at_port: Callable[[int], None], capsys: pytest.CaptureFixture[str]
) -> None:
    at_port(port)
    assert journal.main() == 0
    assert capsys.readouterr().out == "without a crash, lost: 0, in order: True\n"


def test_without_a_server_it_says_so(
    journal: ModuleType, nobody: int, at_port: Callable[[int], None], capsys: pytest.CaptureFixture[str]
) -> None:
    at_port(nobody)
    assert journal.main() == 1
    assert "Cannot reach Valkey" in capsys.readouterr().err
