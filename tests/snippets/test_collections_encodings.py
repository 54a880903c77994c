"""The program that finds where encodings change."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from types import ModuleType

import pytest
import valkey

# What each kind's limit is called, and its value unless somebody changed it.
LIMITS = {
    "hash": ("hash-max-listpack-entries", 512),
    "set of numbers": ("set-max-intset-entries", 512),
    "set of words": ("set-max-listpack-entries", 128),
    "sorted set": ("zset-max-listpack-entries", 128),
}


@pytest.fixture(scope="module")
def encodings(snippet: Callable[[str], ModuleType]) -> ModuleType:
    """The program under test."""
    return snippet("collections/encodings.py")


@pytest.fixture
def limit(client: valkey.Valkey) -> Iterator[Callable[[str, int], None]]:
    """Set a limit for one test."""
    before: dict[str, str] = {}

    def change(name: str, value: int) -> None:
        before.update(client.config_get(name))
        client.config_set(name, value)

    yield change
    for name, value in before.items():
        client.config_set(name, value)


@pytest.mark.parametrize("kind", LIMITS)
def test_finds_the_limit_the_server_has(encodings: ModuleType, client: valkey.Valkey, kind: str) -> None:
    name, value = LIMITS[kind]
    assert client.config_get(name) == {name: str(value)}
    found = encodings.grow(client, encodings.KINDS[kind])
    assert found.size == value
    assert found.compact != found.roomy
    assert found.before < found.after


def test_a_list_changes_at_about_eight_kilobytes(encodings: ModuleType, client: valkey.Valkey) -> None:
    found = encodings.grow(client, encodings.KINDS["list"])
    assert (found.compact, found.roomy) == ("listpack", "quicklist")
    assert 7_000 < found.size * len("element 0001") <= 8 * 1024


def test_follows_a_limit_that_was_changed(
    encodings: ModuleType, client: valkey.Valkey, limit: Callable[[str, int], None]
) -> None:
    limit("hash-max-listpack-entries", 7)
    assert encodings.grow(client, encodings.KINDS["hash"]).size == 7


def test_gives_up_where_the_encoding_does_not_change(
    encodings: ModuleType, client: valkey.Valkey, limit: Callable[[str, int], None]
) -> None:
    limit("hash-max-listpack-entries", 1_000)
    with pytest.raises(encodings.NoSwitchError, match="listpack with 20 elements"):
        encodings.grow(client, encodings.KINDS["hash"], limit=20)
    assert client.dbsize() == 0


def test_somebody_who_deletes_the_probe_does_not_stop_it(
    encodings: ModuleType, client: valkey.Valkey, limit: Callable[[str, int], None]
) -> None:
    limit("hash-max-listpack-entries", 5)
    calls = 0

    def add(to: valkey.client.Pipeline, n: int) -> None:
        nonlocal calls
        calls += 1
        if n == 4:
            client.delete(encodings.KEY)
        to.hset(encodings.KEY, n, n)

    assert encodings.grow(client, add).roomy == "hashtable"
    assert calls == 9  # three were lost


def test_runs(
    encodings: ModuleType,
    client: valkey.Valkey,
    port: int,
    at_port: Callable[[int], None],
    capsys: pytest.CaptureFixture[str],
) -> None:
    at_port(port)
    assert encodings.main() == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line[:15].strip() for line in lines] == list(encodings.KINDS)
    assert "listpack up to 512, then hashtable" in lines[0]
    assert client.dbsize() == 0


def test_without_a_server_it_says_so(
    encodings: ModuleType, nobody: int, at_port: Callable[[int], None], capsys: pytest.CaptureFixture[str]
) -> None:
    at_port(nobody)
    assert encodings.main() == 1
    assert "Cannot reach Valkey" in capsys.readouterr().err


@pytest.fixture
def patient_server(client: valkey.Valkey, port: int, at_port: Callable[[int], None]) -> Iterator[None]:
    """A server for the program whose hashes stay compact longer than the program waits."""
    client.config_set("hash-max-listpack-entries", 100_000)
    at_port(port)
    yield
    client.config_set("hash-max-listpack-entries", 512)


@pytest.mark.usefixtures("patient_server")
def test_says_that_the_limits_are_higher(
    encodings: ModuleType, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(encodings.grow, "__defaults__", (30,))
    assert encodings.main() == 1
    assert "listpack with 30 elements" in capsys.readouterr().err
