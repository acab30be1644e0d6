"""prequal's rule, on what its pickers see."""

from __future__ import annotations

import collections
from typing import Any

from tests.core.test_balance import picker


def settle(chooser: Any, n: int = 300) -> None:
    """Let what is hot be found out, at about one request in flight at a time."""
    for _ in range(n):
        chooser.give(chooser.pick())


def test_of_cold_servers_the_quickest() -> None:
    chooser = picker([1] * 4, "prequal")
    for server, ms in enumerate((20, 5, 30, 10)):
        for _ in range(50):
            chooser.observe(server, ms * 1000)
    settle(chooser)
    counts: collections.Counter[int] = collections.Counter()
    for _ in range(400):
        server = chooser.pick()
        counts[server] += 1
        chooser.give(server)
    assert counts[1] > 200 and counts[0] + counts[2] < 40


def test_who_has_too_much_in_flight_is_hot_however_quick() -> None:
    chooser = picker([1] * 12, "prequal")
    for server in range(12):
        for _ in range(50):
            chooser.observe(server, 1000 if server == 0 else 20_000)
    settle(chooser)
    counts = collections.Counter(chooser.pick() for _ in range(240))
    assert set(counts) == set(range(12)) and 20 <= counts[0] < 60


def test_weights_are_shares_of_what_is_in_flight() -> None:
    chooser = picker([3, 1, 1, 1], "prequal")
    counts: collections.Counter[int] = collections.Counter()
    held: collections.deque[int] = collections.deque()
    for _ in range(3000):
        server = chooser.pick()
        counts[server] += 1
        held.append(server)
        if len(held) > 60:
            chooser.give(held.popleft())
    assert 0.38 < counts[0] / 3000 < 0.62


def test_failing_and_full_servers_are_passed_over() -> None:
    chooser = picker([1, 1, 1], "prequal", limits=[1, 1, 0])
    assert collections.Counter(chooser.pick() for _ in range(20))[2] == 18
    down = picker([1, 1, 1], "prequal")
    down.down(0, True)
    down.fail(1)
    assert {down.pick() for _ in range(20)} == {2}
    assert picker([], "prequal").pick() == -1 and picker([0], "prequal").pick() == -1


def test_what_a_server_says_of_itself_counts_while_it_is_fresh() -> None:
    chooser = picker([1, 1], "prequal")
    chooser.report(0, 1000, 50.0)               # (others' requests, which we don't see)
    chooser.clock()
    settle(chooser)
    counts = collections.Counter()              # type: ignore[var-annotated]
    for _ in range(100):
        server = chooser.pick()
        counts[server] += 1
        chooser.give(server)
    assert counts[1] > 90
    chooser.advance_ms(6000)
    settle(chooser, 3000)
    counts.clear()
    for _ in range(200):
        server = chooser.pick()
        counts[server] += 1
        chooser.give(server)
    assert min(counts[0], counts[1]) > 10
