"""The reader of logs: on real logs, on damaged ones, and when it takes a command back."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import valkey

from valkey_doctest.servers import Provider


@pytest.fixture(scope="module")
def log(snippet: Callable[[str], ModuleType]) -> ModuleType:
    """The program under test."""
    return snippet("persistence/aof_log.py")


@pytest.fixture
def server(provider: Provider) -> Iterator[Any]:
    """A server that keeps a log and is ours to kill."""
    each = provider.start("aof-log", ("--appendonly", "yes", "--appendfsync", "always"))
    yield each
    each.remove()


def increment(server: Any) -> Path:
    """The file that the server appends to."""
    [path] = (Path(server.folder) / "appendonlydir").glob("*.incr.aof")
    return path


def connect(server: Any) -> valkey.Valkey:
    return valkey.Valkey(host="127.0.0.1", port=server.port, decode_responses=True)


def encode(*words: str) -> bytes:
    """A command as the server writes it."""
    return b"*%d\r\n" % len(words) + b"".join(b"$%d\r\n%s\r\n" % (len(w.encode()), w.encode()) for w in words)


def test_lists_what_several_clients_wrote(log: ModuleType, server: Any) -> None:
    def write(name: int) -> None:
        with connect(server) as client:
            for number in range(25):
                client.set(f"{name}:{number}", "ü\r\n$3\r\n")  # looks like the format itself

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(write, range(4)))
    found = list(log.entries(increment(server).read_bytes()))
    assert found[0] == (0, ("SELECT", "0"))
    assert {entry.words for entry in found[1:]} == {
        ("SET", f"{name}:{number}", "ü\r\n$3\r\n") for name in range(4) for number in range(25)
    }
    assert len(found) == 101


def test_offsets_are_those_of_the_bytes(log: ModuleType) -> None:
    parts = [encode("SET", "a", "ä"), encode("DEL", "a"), encode("PING")]
    assert [entry.offset for entry in log.entries(b"".join(parts))] == [0, len(parts[0]), len(parts[0] + parts[1])]


def test_remarks_are_passed_over(log: ModuleType) -> None:
    text = b"#TS:1795544388\r\n" + encode("SET", "a", "1") + b"#TS:1795544389\r\n"
    assert [entry.words for entry in log.entries(text)] == [("SET", "a", "1")]


def test_every_place_where_a_log_may_be_cut_is_noticed(log: ModuleType) -> None:
    first, second = encode("SET", "a", "1"), encode("INCRBY", "total", "430")
    whole = first + second
    for length in range(len(first) + 1, len(whole)):
        found = log.entries(whole[:length])
        assert next(found).words == ("SET", "a", "1")
        with pytest.raises(log.DamagedLogError) as caught:
            next(found)
        assert len(first) <= caught.value.offset <= length


@pytest.mark.parametrize("text", [b"x", b"*x\r\n", b"*1\r\n:1\r\n", b"*0\r\n", b"*1\r\n$2\r\nabc\r\n", b"*-1\r\n"])
def test_what_is_no_command_is_refused(log: ModuleType, text: bytes) -> None:
    with pytest.raises(log.DamagedLogError):
        list(log.entries(text))


def test_a_flushall_is_taken_back(log: ModuleType, server: Any) -> None:
    with connect(server) as client:
        client.mset({f"key:{number}": number for number in range(100)})
        client.flushall()
    server.kill()
    assert log.take_back(increment(server), "flushall").words == ("FLUSHALL",)
    server.start()
    with connect(server) as client:
        assert client.dbsize() == 100


def test_another_command_is_not_taken_back(log: ModuleType, tmp_path: Path) -> None:
    path = tmp_path / "a.aof"
    path.write_bytes(encode("FLUSHALL") + encode("SET", "a", "1"))
    with pytest.raises(LookupError, match="the last command is SET"):
        log.take_back(path, "FLUSHALL")
    path.write_bytes(b"")
    with pytest.raises(LookupError, match="missing"):
        log.take_back(path, "FLUSHALL")


def test_a_damaged_log_is_left_as_it_is(log: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "a.aof"
    damaged = encode("SET", "a", "1") + encode("FLUSHALL")[:-1]
    path.write_bytes(damaged)
    assert log.main([str(path), "FLUSHALL"]) == 1
    assert path.read_bytes() == damaged
    assert "cut off at byte 27" in capsys.readouterr().err


def test_runs(log: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "a.aof"
    path.write_bytes(encode("SET", "a", "1") + encode("FLUSHALL"))
    assert log.main([str(path)]) == 0
    assert log.main([str(path), "FLUSHALL"]) == 0
    assert log.main([str(path)]) == 0
    assert capsys.readouterr().out.splitlines() == [
        "    0  SET a 1",
        "   27  FLUSHALL",
        "taken back: FLUSHALL",
        "    0  SET a 1",
    ]


def test_says_what_it_cannot_do(log: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert log.main([]) == 2
    assert "usage" in capsys.readouterr().err
    assert log.main([str(tmp_path / "nothing.aof")]) == 1
    assert "No such file" in capsys.readouterr().err
