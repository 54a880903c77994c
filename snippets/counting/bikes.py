"""Find the nearest station with a free bicycle, and take the bicycle, once."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import valkey

PLACES = "stations:places"  # a geospatial index
FREE = "stations:free"  # a bitfield: one unsigned 8-bit number a station
FIRST = 5  # how many stations to try, the nearest first


class Station(NamedTuple):
    """A docking station; its number says where its field is."""

    number: int
    longitude: float
    latitude: float


STATIONS: Mapping[str, Station] = {
    "stephansplatz": Station(0, 16.3738, 48.2082),
    "praterstern": Station(1, 16.3963, 48.2166),
    "westbahnhof": Station(2, 16.3337, 48.1858),
}


def put_up(client: valkey.Valkey, stations: Mapping[str, Station], free: int) -> None:
    """Put stations on the map, each with so many bicycles, in one transaction."""
    pipeline = client.pipeline(transaction=True)
    for name, place in stations.items():
        pipeline.geoadd(PLACES, (place.longitude, place.latitude, name))
        field = pipeline.bitfield(FREE, default_overflow="FAIL")
        field.set("u8", f"#{place.number}", free).execute()
    pipeline.execute()


def take(client: valkey.Valkey, number: int) -> int | None:
    """Take a bicycle from a station: how many are left, or None if there was none.

    One command looks and takes, so two clients never get the same bicycle. It is
    not safe to repeat: whoever gets no answer does not know whether it was done.
    """
    field = client.bitfield(FREE, default_overflow="FAIL")
    left: list[int | None] = field.incrby("u8", f"#{number}", -1).execute()
    return left[0]


def take_nearest(
    client: valkey.Valkey,
    stations: Mapping[str, Station],
    longitude: float,
    latitude: float,
    within: float,
) -> str | None:
    """Take a bicycle at the nearest station that has one, within so many metres."""
    for name in client.geosearch(
        PLACES,
        longitude=longitude,
        latitude=latitude,
        radius=within,
        unit="m",
        sort="ASC",
        count=FIRST,
    ):
        if name in stations and take(client, stations[name].number) is not None:
            return str(name)
    return None


def main() -> int:
    """Let twelve people near the cathedral look for a bicycle at the same time."""
    client = valkey.Valkey(host="127.0.0.1", port=6379, decode_responses=True)
    with client:
        try:
            put_up(client, STATIONS, free=5)
            with ThreadPoolExecutor(12) as pool:
                asked = [
                    pool.submit(take_nearest, client, STATIONS, 16.37, 48.21, 3_000)
                    for _ in range(12)
                ]
            got = [each.result() or "nothing" for each in asked]
        except valkey.ConnectionError as error:
            print(f"Cannot reach Valkey: {error}", file=sys.stderr)
            return 1
    for place in (*STATIONS, "nothing"):
        print(f"{place:14} {got.count(place)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
