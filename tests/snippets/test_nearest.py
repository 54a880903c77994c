"""The exact search for the nearest vectors."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from types import ModuleType

import pytest
import valkey


@pytest.fixture(scope="module")
def nearest(snippet: Callable[[str], ModuleType]) -> ModuleType:
    """The program under test."""
    return snippet("introduction/nearest.py")


@pytest.fixture
def raw(port: int) -> Iterator[valkey.Valkey]:
    """A client that reads bytes, of a server without keys."""
    with valkey.Valkey(host="127.0.0.1", port=port) as each:
        each.flushall()
        yield each


def test_a_vector_survives_as_bytes(nearest: ModuleType) -> None:
    vector = (0.5, -2.0, 0.0, 1e6)
    assert len(nearest.to_bytes(vector)) == 16
    assert nearest.to_vector(nearest.to_bytes(vector)) == vector


@pytest.mark.parametrize(
    ("first", "second", "cosine"),
    [((1, 0), (5, 0), 1.0), ((1, 0), (0, 3), 0.0), ((1, 0), (-2, 0), -1.0), ((3, 4), (4, 3), 0.96)],
)
def test_similarity_is_the_cosine(
    nearest: ModuleType, first: tuple[float, ...], second: tuple[float, ...], cosine: float
) -> None:
    assert nearest.similarity(first, second) == pytest.approx(cosine)


def test_vectors_of_different_length_cannot_be_compared(nearest: ModuleType) -> None:
    with pytest.raises(ValueError, match="longer"):
        nearest.similarity((1.0, 0.0), (1.0, 0.0, 0.0))


def test_the_best_come_first(nearest: ModuleType, raw: valkey.Valkey) -> None:
    for name, vector in nearest.PICTURES.items():
        nearest.store(raw, name, vector)
    found = nearest.nearest(raw, nearest.PICTURES["jungle"], count=2)
    assert [name for _, name in found] == ["jungle", "park"]
    assert found[0][0] == pytest.approx(1.0)


def test_a_vector_that_has_gone_is_left_out(nearest: ModuleType, raw: valkey.Valkey) -> None:
    nearest.store(raw, "here", (1.0, 0.0))
    nearest.store(raw, "gone", (1.0, 0.0))
    raw.delete("picture:gone")
    assert nearest.nearest(raw, (1.0, 0.0), count=5) == [(pytest.approx(1.0), "here")]


def test_nothing_stored_nothing_found(nearest: ModuleType, raw: valkey.Valkey) -> None:
    assert nearest.nearest(raw, (1.0, 0.0), count=5) == []


def test_runs(
    nearest: ModuleType,
    raw: valkey.Valkey,
    port: int,
    at_port: Callable[[int], None],
    capsys: pytest.CaptureFixture[str],
) -> None:
    at_port(port)
    assert nearest.main() == 0
    assert [line.split()[1] for line in capsys.readouterr().out.splitlines()] == ["beach", "harbour", "skyline"]
    assert raw.scard("pictures") == len(nearest.PICTURES)


def test_without_a_server_it_says_so(
    nearest: ModuleType, nobody: int, at_port: Callable[[int], None], capsys: pytest.CaptureFixture[str]
) -> None:
    at_port(nobody)
    assert nearest.main() == 1
    assert "Cannot reach Valkey" in capsys.readouterr().err
