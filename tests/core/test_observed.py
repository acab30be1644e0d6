"""Series of counts, and the ring of records."""

from __future__ import annotations

import random
import threading

from tests.core import observed


def test_each_kind_of_end_has_its_count() -> None:
    chance = random.Random(5)
    ends = [
        (chance.randrange(4), chance.randrange(9), chance.randrange(9), chance.choice((200, 404)))
        for _ in range(5000)
    ]
    counts, others = observed.series(ends)
    assert others == 0
    assert counts == {end: ends.count(end) for end in set(ends)}


def test_when_there_are_too_many_kinds_the_rest_is_counted_together() -> None:
    """What has a series keeps it: 3,072 in all, with one of each listener, route and pool."""
    ends = [(1, 0, 0, 100 + code) for code in range(5000)]
    counts, others = observed.series(ends * 2)
    assert len(counts) == 3071
    assert set(counts.values()) == {2}
    assert others >= 2 * (5000 - 3071)


def test_records_come_out_as_they_went_in_however_they_wrap() -> None:
    chance = random.Random(6)
    ring = observed.Records(65536)
    expected: list[tuple[int, bool]] = []
    found: list[tuple[int, bool]] = []
    for number in range(1, 5000):
        if ring.put(number, chance.randrange(0, 3000)):
            expected.append((number, True))
        if chance.random() < 0.1:
            found += ring.take()
    found += ring.take()
    assert found == expected
    assert ring.dropped == 4999 - len(expected) > 0


def test_one_thread_writes_while_another_reads() -> None:
    ring = observed.Records(65536)
    taken: list[tuple[int, bool]] = []
    done = threading.Event()

    def read() -> None:
        while not done.is_set():
            taken.extend(ring.take())
        taken.extend(ring.take())

    reader = threading.Thread(target=read)
    reader.start()
    put = [number for number in range(20_000) if ring.put(number, number % 500)]
    done.set()
    reader.join()
    assert taken == [(number, True) for number in put]
    assert len(put) + ring.dropped == 20_000
