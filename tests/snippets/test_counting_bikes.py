"""The program that finds the nearest free bicycle and takes it."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from types import ModuleType

import pytest
import valkey

HERE = (16.37, 48.21)


@pytest.fixture(scope="module")
def bikes(snippet: Callable[[str], ModuleType]) -> ModuleType:
    """The program under test."""
    return snippet("counting/bikes.py")


def free(bikes: ModuleType, client: valkey.Valkey) -> list[int]:
    fields = [part for station in bikes.STATIONS.values() for part in ("GET", "u8", f"#{station.number}")]
    counts: list[int] = client.execute_command("BITFIELD_RO", bikes.FREE, *fields)
    return counts


def test_takes_from_the_nearest_then_from_the_next(bikes: ModuleType, client: valkey.Valkey) -> None:
    bikes.put_up(client, bikes.STATIONS, free=1)
    got = [bikes.take_nearest(client, bikes.STATIONS, *HERE, 3_000) for _ in range(3)]
    assert got == ["stephansplatz", "praterstern", None]  # the third is too far away
    assert free(bikes, client) == [0, 0, 1]


def test_forty_people_and_ten_bicycles(bikes: ModuleType, client: valkey.Valkey) -> None:
    people = 40
    bikes.put_up(client, bikes.STATIONS, free=5)
    together = Barrier(people)

    def look(_: int) -> str | None:
        together.wait(10)
        got: str | None = bikes.take_nearest(client, bikes.STATIONS, *HERE, 3_000)
        return got

    with ThreadPoolExecutor(people) as pool:
        got = list(pool.map(look, range(people)))
    assert (got.count("stephansplatz"), got.count("praterstern"), got.count(None)) == (5, 5, 30)
    assert free(bikes, client) == [0, 0, 5]


def test_a_full_field_never_spills_into_its_neighbour(bikes: ModuleType, client: valkey.Valkey) -> None:
    bikes.put_up(client, bikes.STATIONS, free=255)
    client.execute_command("BITFIELD", bikes.FREE, "SET", "u8", "#1", 0)
    assert bikes.take(client, 1) is None
    assert free(bikes, client) == [255, 0, 255]


def test_a_station_that_is_gone_is_passed_over(bikes: ModuleType, client: valkey.Valkey) -> None:
    bikes.put_up(client, bikes.STATIONS, free=1)
    known = {name: place for name, place in bikes.STATIONS.items() if name != "stephansplatz"}
    assert bikes.take_nearest(client, known, *HERE, 3_000) == "praterstern"


def test_no_stations_no_bicycle(bikes: ModuleType, client: valkey.Valkey) -> None:
    assert bikes.take_nearest(client, bikes.STATIONS, *HERE, 3_000) is None
    assert client.dbsize() == 0  # looking made nothing


def test_what_the_server_refuses_does_not_undo_the_rest(bikes: ModuleType, client: valkey.Valkey) -> None:
    north_pole = {**bikes.STATIONS, "pole": bikes.Station(3, 0.0, 90.0)}
    with pytest.raises(valkey.ResponseError, match="invalid longitude,latitude"):
        bikes.put_up(client, north_pole, free=1)
    # A transaction is not rolled back, see Modules 1 and 7.
    assert client.zcard(bikes.PLACES) == 3


def test_a_broken_connection_is_not_repeated_behind_our_back(bikes: ModuleType, client: valkey.Valkey) -> None:
    bikes.put_up(client, bikes.STATIONS, free=5)
    with valkey.Valkey(**client.get_connection_kwargs()) as other:
        other.ping()
        victim = client.client_id()
        other.client_kill_filter(_id=victim)
        try:
            bikes.take(client, 0)
        except valkey.ConnectionError:
            assert free(bikes, other)[0] == 5
        else:  # the library noticed before it sent anything, and connected anew
            assert free(bikes, other)[0] == 4


def test_runs(
    bikes: ModuleType,
    client: valkey.Valkey,
    port: int,
    at_port: Callable[[int], None],
    capsys: pytest.CaptureFixture[str],
) -> None:
    at_port(port)
    assert bikes.main() == 0
    assert [line.split() for line in capsys.readouterr().out.splitlines()] == [
        ["stephansplatz", "5"],
        ["praterstern", "5"],
        ["westbahnhof", "0"],
        ["nothing", "2"],
    ]


def test_without_a_server_it_says_so(
    bikes: ModuleType, nobody: int, at_port: Callable[[int], None], capsys: pytest.CaptureFixture[str]
) -> None:
    at_port(nobody)
    assert bikes.main() == 1
    assert "Cannot reach Valkey" in capsys.readouterr().err
