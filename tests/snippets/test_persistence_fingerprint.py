"""The fingerprint of a data set: equal for equal data, also on another server, different for any difference."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from threading import Event, Thread
from types import ModuleType
from typing import Any

import pytest
import valkey

from valkey_doctest.servers import Provider

END = 4_102_444_800_000


@pytest.fixture(scope="module")
def program(snippet: Callable[[str], ModuleType]) -> ModuleType:
    """The program under test."""
    return snippet("persistence/fingerprint.py")


@pytest.fixture
def raw(port: int, client: Any) -> Iterator[valkey.Valkey]:
    """A client that returns bytes, of a server without keys."""
    with valkey.Valkey(host="127.0.0.1", port=port) as each:
        yield each


def fill(client: Any, *, backwards: bool = False) -> None:
    """A key of each kind; ``backwards`` stores the same in another order."""
    numbers = range(299, -1, -1) if backwards else range(300)
    turn = -1 if backwards else 1
    for number in numbers:
        client.set(f"string:{number}", number)
    client.hset("hash", mapping=dict([("a", 1), ("b", 2)][::turn]))
    client.sadd("set", *["x", "y", "z"][::turn])
    client.zadd("zset", dict([("a", 1.5), ("b", 2)][::turn]))
    client.rpush("list", 1, 2, 3)
    client.xadd("stream", {"field": "value"}, id="1-0")
    client.set("bytes", b"\xff\x00", pxat=END)


def test_the_order_of_storing_makes_no_difference(program: ModuleType, raw: Any) -> None:
    fill(raw)
    first = program.fingerprint(raw)
    raw.flushall()
    fill(raw, backwards=True)
    assert program.fingerprint(raw) == first
    assert (first.keys, first.expiring) == (306, 1)


CHANGES: list[tuple[str, ...]] = [
    ("SET", "string:1", "2"),
    ("DEL", "string:7"),
    ("SET", "new", ""),
    ("RENAME", "string:1", "string:x"),
    ("HSET", "hash", "a", "2"),
    ("HSET", "hash", "c", "1"),
    ("SADD", "set", "w"),
    ("ZADD", "zset", "1.6", "a"),
    ("LSET", "list", "0", "2"),
    ("RPUSH", "list", "1"),
    ("XADD", "stream", "2-0", "field", "value"),
    ("PERSIST", "bytes"),
    ("PEXPIREAT", "bytes", str(END + 1)),
    ("EXPIREAT", "list", str(END // 1000)),
]


def test_any_change_makes_a_difference(program: ModuleType, raw: Any) -> None:
    digests = set()
    for change in [("PING",), *CHANGES]:
        raw.flushall()
        fill(raw)
        raw.execute_command(*change)
        digests.add(program.fingerprint(raw).digest)
    assert len(digests) == len(CHANGES) + 1


def test_two_values_that_changed_places_are_a_difference(program: ModuleType, raw: Any) -> None:
    raw.mset({"a": 1, "b": 2})
    first = program.fingerprint(raw)
    raw.mset({"a": 2, "b": 1})
    assert program.fingerprint(raw).digest != first.digest


def test_what_ends_while_it_reads_is_left_out(program: ModuleType, raw: Any) -> None:
    fill(raw)
    expected = program.fingerprint(raw)
    stop = Event()

    def come_and_go() -> None:
        with valkey.Valkey(**raw.get_connection_kwargs()) as other:
            while not stop.is_set():
                other.set("ghost", "x")
                other.delete("ghost")

    other = Thread(target=come_and_go)
    other.start()
    try:
        for _ in range(20):
            found = program.fingerprint(raw)
            assert found.keys in (expected.keys, expected.keys + 1)
            assert (found.digest == expected.digest) == (found.keys == expected.keys)
    finally:
        stop.set()
        other.join()
    raw.delete("ghost")
    assert program.fingerprint(raw) == expected


def test_a_snapshot_read_by_another_server_and_a_log_give_the_same(program: ModuleType, provider: Provider) -> None:
    servers: list[Any] = [provider.start("origin"), provider.start("copy")]
    origin, copy = servers
    try:
        with valkey.Valkey(port=origin.port) as client:
            fill(client)
            expected = program.fingerprint(client)
            client.save()
        copy.kill()
        (Path(copy.folder) / "dump.rdb").write_bytes((Path(origin.folder) / "dump.rdb").read_bytes())
        copy.start()
        with valkey.Valkey(port=copy.port) as client:
            assert program.fingerprint(client) == expected
        (Path(origin.folder) / "dump.rdb").write_bytes(b"")  # a damaged file is not taken for an empty server
        origin.kill()
        with pytest.raises(Exception, match="exit status 1"):
            origin.start()
    finally:
        for server in servers:
            server.remove()


def test_an_empty_server_has_a_fingerprint(program: ModuleType, raw: Any) -> None:
    assert program.fingerprint(raw) == (0, 0, "0" * 16)


def test_runs(
    program: ModuleType, raw: Any, port: int, at_port: Callable[[int], None], capsys: pytest.CaptureFixture[str]
) -> None:
    raw.set("a", 1)
    at_port(port)
    assert program.main() == 0
    assert capsys.readouterr().out.startswith("keys 1, with an end 0, digest ")


def test_without_a_server_it_says_so(
    program: ModuleType, nobody: int, at_port: Callable[[int], None], capsys: pytest.CaptureFixture[str]
) -> None:
    at_port(nobody)
    assert program.main() == 1
    assert "Cannot reach Valkey" in capsys.readouterr().err
