"""Find the picture that is most like another, among vectors kept in hashes."""

from __future__ import annotations

import math
import sys
from collections.abc import Mapping, Sequence
from struct import pack, unpack

import valkey

# What a model would deliver, made small enough to read: sea, forest, city.
PICTURES: Mapping[str, Sequence[float]] = {
    "beach": (0.90, 0.10, 0.00),
    "harbour": (0.60, 0.00, 0.40),
    "park": (0.05, 0.60, 0.35),
    "jungle": (0.10, 0.90, 0.00),
    "skyline": (0.10, 0.05, 0.85),
}


def to_bytes(vector: Sequence[float]) -> bytes:
    """A vector as 32-bit floats, four bytes a number, little end first."""
    return pack(f"<{len(vector)}f", *vector)


def to_vector(data: bytes) -> tuple[float, ...]:
    """The vector that :func:`to_bytes` made these bytes of."""
    return unpack(f"<{len(data) // 4}f", data)


def similarity(first: Sequence[float], second: Sequence[float]) -> float:
    """The cosine of the angle between two vectors: 1.0 means the same direction."""
    product = sum(a * b for a, b in zip(first, second, strict=True))
    return product / (math.hypot(*first) * math.hypot(*second))


def store(client: valkey.Valkey, name: str, vector: Sequence[float]) -> None:
    """Keep a picture's vector, and remember that there is such a picture."""
    pipeline = client.pipeline()
    pipeline.hset(f"picture:{name}", mapping={"vector": to_bytes(vector)})
    pipeline.sadd("pictures", name)
    pipeline.execute()


Found = tuple[float, str]


def nearest(client: valkey.Valkey, wanted: Sequence[float], count: int) -> list[Found]:
    """Compare with every picture there is, and return the best."""
    names = sorted(name.decode() for name in client.smembers("pictures"))
    pipeline = client.pipeline(transaction=False)
    for name in names:
        pipeline.hget(f"picture:{name}", "vector")
    ranked = []
    for name, data in zip(names, pipeline.execute(), strict=True):
        if data is not None:  # it may have been deleted in the meantime
            ranked.append((similarity(wanted, to_vector(data)), name))
    return sorted(ranked, reverse=True)[:count]


def main() -> int:
    """Store the pictures and look for one; return the exit status."""
    with valkey.Valkey(host="127.0.0.1", port=6379) as client:  # bytes, not text
        try:
            for name, vector in PICTURES.items():
                store(client, name, vector)
            for score, name in nearest(client, (0.8, 0.0, 0.2), count=3):
                print(f"{score:.3f}  {name}")
        except valkey.ConnectionError as error:
            print(f"Cannot reach Valkey: {error}", file=sys.stderr)
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
