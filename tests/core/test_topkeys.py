"""The keys that are counted most, in constant space."""

from __future__ import annotations

import random
from collections import Counter

from tests.core.probe_top import top_counted

KEYS = 64


def test_few_keys_are_counted_exactly() -> None:
    keys = [b"key %d" % (i * i % KEYS) for i in range(1000)]
    assert top_counted(keys) == {key: (n, 0) for key, n in Counter(keys).items()}


def test_frequent_keys_stay_among_invented_ones() -> None:
    seed = random.randrange(1 << 30)
    print("seed", seed)
    chance = random.Random(seed)
    keys = [b"invented %d" % i for i in range(20_000)]
    keys += [b"often %d" % i for i in range(10) for _ in range(600)]     # a 43rd of all each
    chance.shuffle(keys)
    real, found = Counter(keys), top_counted(keys)
    assert len(found) == KEYS
    for key, (count, over) in found.items():
        assert count - over <= real[key] <= count
    for i in range(10):
        assert b"often %d" % i in found
    assert sum(count for count, _ in found.values()) == len(keys)


def test_long_key_is_cut_and_an_empty_one_is_a_key() -> None:
    assert top_counted([b"x" * 100, b"", b"x" * 100]) == {b"x" * 46: (2, 0), b"": (1, 0)}
