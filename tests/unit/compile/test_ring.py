"""The ring of ketama, next to one that is written down as simply as can be."""

from __future__ import annotations

import random
import zlib

import pytest

from fastlb.compile.pools import POINTS_PER_WEIGHT, ring


def simple(names: list[str], weights: list[int]) -> list[tuple[int, int]]:
    points = []
    for index, (name, weight) in enumerate(zip(names, weights, strict=True)):
        host, _, port = name.rpartition(":")
        previous = b"\0\0\0\0"
        for _ in range(POINTS_PER_WEIGHT * weight):
            value = zlib.crc32(host.encode() + b"\0" + port.encode() + previous)
            points.append((value, index))
            previous = value.to_bytes(4, "little")
    points.sort(key=lambda point: point[0])
    return [point for i, point in enumerate(points) if i == 0 or points[i - 1][0] != point[0]]


@pytest.mark.parametrize("n", [0, 1, 2, 3, 200])
def test_it_is_the_same(n: int) -> None:
    chance = random.Random(n)
    names = [f"10.0.{i // 250}.{i % 250}:{7000 + i}" for i in range(n)]
    weights = [chance.randrange(4) for _ in names]
    hashes, owners = ring(names, weights)
    assert list(zip(hashes, owners, strict=True)) == simple(names, weights)


def test_of_points_that_collide_the_first_stays() -> None:
    names = ["a:1", "a:1"]          # (all of them do)
    hashes, owners = ring(names, [1, 1])
    assert len(hashes) == len(set(hashes)) and set(owners) == {0}
