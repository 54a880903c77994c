"""The program that measures HyperLogLog against a set, and the picture of what it measured."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import ModuleType

import pytest
import valkey

PICTURE = Path(__file__).parents[2] / "docs/assets/pictures/counting-hll-error.svg"


@pytest.fixture(scope="module")
def hll(snippet: Callable[[str], ModuleType]) -> ModuleType:
    """The program under test."""
    return snippet("counting/hll_error.py")


@pytest.fixture(scope="module")
def drawing(snippet: Callable[[str], ModuleType]) -> ModuleType:
    """The program that draws the picture."""
    return snippet("counting/draw_hll_error.py")


def test_compares_with_the_truth(hll: ModuleType, client: valkey.Valkey) -> None:
    points = hll.measure(client, sizes=(50, 1_500, 5_000))
    assert [point.true for point in points] == [50, 1_500, 5_000]
    assert all(abs(point.error) < 3 * hll.STANDARD_ERROR for point in points)
    assert points[-1].hll_bytes < 20_000 < points[-1].set_bytes


def test_leaves_nothing_behind(hll: ModuleType, client: valkey.Valkey) -> None:
    client.set("other", "stays")
    hll.measure(client, sizes=(10,))
    assert client.keys() == ["other"]


def test_starts_from_nothing_also_after_a_run_that_was_killed(hll: ModuleType, client: valkey.Valkey) -> None:
    client.pfadd(hll.ESTIMATE, "left over")
    client.sadd(hll.TRUTH, "left over")
    (point,) = hll.measure(client, sizes=(10,))
    assert (point.true, point.estimate) == (10, 10)


def test_cleans_up_when_it_fails(hll: ModuleType, client: valkey.Valkey, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*arguments: object, **options: object) -> int:
        raise valkey.ConnectionError("gone")

    monkeypatch.setattr(client, "memory_usage", fail)
    with pytest.raises(valkey.ConnectionError):
        hll.measure(client, sizes=(10,))
    assert client.dbsize() == 0


def test_the_order_and_the_number_of_clients_do_not_matter(hll: ModuleType, client: valkey.Valkey) -> None:
    batches = list(hll.names(0, 8_000, "rider:"))
    for batch in batches:
        client.pfadd("alone", *batch)
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda batch: client.pfadd("together", *batch), [*reversed(batches), *batches]))
    assert client.pfcount("together") == client.pfcount("alone")


def test_an_error_outside_the_promise_is_reported(hll: ModuleType) -> None:
    assert hll.report([hll.Point(1_000, 1_020, 1, 1)]).endswith("yes")
    assert hll.report([hll.Point(1_000, 1_030, 1, 1)]).endswith("no")
    assert "-3.00%" in hll.report([hll.Point(1_000, 970, 1, 1)])


def test_what_is_kept_is_what_a_server_answers(hll: ModuleType, drawing: ModuleType, client: valkey.Valkey) -> None:
    kept = {(e.true, e.run): e.estimate for e in drawing.read()}
    assert len(kept) == 180
    for run in (0, 7, 19):
        points = hll.measure(client, sizes=(100, 300, 1_000, 3_000, 10_000), prefix=f"run-{run}:")
        assert [(p.true, p.estimate) for p in points] == [(p.true, kept[p.true, run]) for p in points]


def test_what_the_page_says_of_the_180(drawing: ModuleType) -> None:
    errors = [(e.estimate - e.true) / e.true for e in drawing.read()]
    assert sum(abs(error) <= drawing.STANDARD_ERROR for error in errors) == 149
    far = [error for error in errors if abs(error) > 3 * drawing.STANDARD_ERROR]
    assert far == [pytest.approx(0.0265, abs=0.00005)]
    small = [(e.estimate - e.true) / e.true for e in drawing.read() if e.true <= 10_000]
    assert (sum(error**2 for error in small) / len(small)) ** 0.5 == pytest.approx(0.0058, abs=0.00005)


def test_the_picture_is_drawn_from_what_is_kept(drawing: ModuleType) -> None:
    assert PICTURE.read_text(encoding="utf-8") == drawing.draw(drawing.read())
    assert PICTURE.read_text(encoding="utf-8").count("<circle") == 180


def test_runs(hll: ModuleType, port: int, at_port: Callable[[int], None], capsys: pytest.CaptureFixture[str]) -> None:
    at_port(port)
    assert hll.main() == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines[1:-1]] == ["100", "1000", "10000", "100000"]
    assert lines[-1].endswith("yes")


def test_without_a_server_it_says_so(
    hll: ModuleType, nobody: int, at_port: Callable[[int], None], capsys: pytest.CaptureFixture[str]
) -> None:
    at_port(nobody)
    assert hll.main() == 1
    assert "Cannot reach Valkey" in capsys.readouterr().err
