"""The policies, each with what its paper promises, small; bench/policies has the figures."""

from __future__ import annotations

import collections
import heapq
import math
import random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.core.test_balance import picker

BY_LOAD = ("least_connections", "least_request", "peak_ewma")
BY_KEY = ("ring_hash", "maglev", "rendezvous")
ALL = ("round_robin", "random", "prequal", *BY_LOAD, *BY_KEY)
KEYS = [b"key %d" % i for i in range(20_000)]


@pytest.mark.parametrize("balance", ALL)
def test_nobody_is_picked_who_may_not_be(balance: str) -> None:
    chooser = picker([1, 0, 1, 1], balance, limits=[0, 0, 1, 0])
    chooser.tried([3])
    chooser.key(b"x")
    picked = collections.Counter(chooser.pick() for _ in range(200))
    assert picked[1] == picked[3] == 0 and picked[2] <= 1 and picked[0] >= 199
    assert picker([], balance).pick() == -1
    assert picker([0, 0], balance).pick() == -1
    full = picker([1, 1], balance, limits=[1, 1])
    assert sorted(full.pick() for _ in range(3)) == [-2, 0, 1]


@pytest.mark.parametrize("balance", ALL)
def test_a_failing_server_is_left_out_and_tried_again(balance: str) -> None:
    chooser = picker([1, 1, 1], balance)
    chooser.fail(1)
    for i in range(200):
        chooser.key(b"%d" % i)
        server = chooser.pick()
        assert server != 1
        chooser.give(server)
    chooser.advance_ms(1000)
    picked = []
    for i in range(200):
        chooser.key(b"%d" % i)
        picked.append(chooser.pick())
        chooser.give(picked[-1])
    assert picked.count(1) == 1         # by one, which finds out


@pytest.mark.parametrize("balance", ALL)
def test_when_all_are_failing_somebody_is_tried(balance: str) -> None:
    chooser = picker([1, 1], balance)
    chooser.fail(0)
    chooser.fail(1)
    assert chooser.pick() in (0, 1)


@pytest.mark.parametrize("balance", ["random", "least_request", *BY_KEY])
def test_weights_are_shares(balance: str) -> None:
    weights = [1, 2, 3, 4]
    chooser = picker(weights, balance)
    picked = collections.Counter(chooser.pick_keys(KEYS))
    for server, weight in enumerate(weights):
        assert picked[server] / len(KEYS) == pytest.approx(weight / 10, rel=0.25)


@pytest.mark.parametrize("balance", ["least_connections", "least_request"])
def test_connections_follow_the_weights(balance: str) -> None:
    weights = [1, 2, 3, 4]
    chooser = picker(weights, balance)
    for _ in range(1000):
        chooser.pick()
    for server, weight in enumerate(weights):
        assert chooser.in_flight(server) == pytest.approx(100 * weight, rel=0.1)


def test_least_connections_is_exact_and_turns_among_equals() -> None:
    chooser = picker([1] * 20, "least_connections")
    assert sorted(chooser.pick() for _ in range(20)) == list(range(20))
    for server in (3, 7):
        chooser.give(server)
    assert {chooser.pick(), chooser.pick()} == {3, 7}
    firsts = {picker([1] * 20, "least_connections", seed=seed).pick() for seed in range(1, 60)}
    assert len(firsts) > 10


def test_two_choices_keep_the_largest_load_near_the_mean() -> None:
    """Balls into bins: log log n / log 2 + O(1) above the mean, next to about log n / log log n."""
    n = 1000

    def most(balance: str) -> int:
        chooser = picker([1] * n, balance)
        for _ in range(n):
            chooser.pick()
        return max(chooser.in_flight(i) for i in range(n))

    assert most("least_request") <= 4
    assert most("random") >= 5
    assert most("least_connections") <= 2


def test_peak_ewma_goes_where_the_wait_is_shorter() -> None:
    chooser = picker([1] * 2, "peak_ewma")
    chooser.observe(0, 1000)
    chooser.observe(1, 100_000)
    picked = collections.Counter(chooser.pick() for _ in range(100))
    assert picked[0] >= 95 and picked[1] >= 1       # 100 in flight on 0 cost what one on 1 does


def test_a_peak_counts_at_once_and_fades_with_time() -> None:
    chooser = picker([1], "peak_ewma")
    chooser.observe(0, 1000)
    chooser.observe(0, 50_000)
    assert chooser.latency(0) == pytest.approx(50_000)
    chooser.advance_ms(10_000)
    assert chooser.latency(0) == pytest.approx(50_000 / math.e, rel=0.01)
    chooser.observe(0, 1000)
    assert chooser.latency(0) == pytest.approx(50_000 / math.e + 1000 * (1 - 1 / math.e), rel=0.01)
    chooser.observe(0, 1000)            # in the same moment it says nothing new
    assert chooser.latency(0) > 15_000


def test_a_server_that_was_never_measured_gets_its_first() -> None:
    chooser = picker([1] * 4, "peak_ewma")
    for server in range(3):
        chooser.observe(server, 1000)
    picked = [chooser.pick() for _ in range(40)]
    assert picked.count(3) == 1         # and no second before that one has come back


@pytest.mark.parametrize("balance", BY_KEY)
def test_a_key_keeps_its_server(balance: str) -> None:
    chooser = picker([1] * 10, balance)
    assert chooser.pick_keys(KEYS) == chooser.pick_keys(KEYS)
    assert picker([1] * 10, balance).pick_keys(KEYS) == chooser.pick_keys(KEYS)


@pytest.mark.parametrize(("n", "balance", "moved_max"), [
    (10, "ring_hash", 0.0), (10, "rendezvous", 0.0), (10, "maglev", 0.02),
    (100, "ring_hash", 0.0), (100, "rendezvous", 0.0), (100, "maglev", 0.03),
])
def test_only_the_keys_of_a_server_that_fails_move(n: int, balance: str, moved_max: float) -> None:
    """By its failing, or out of the table: for maglev a few others move then (the paper's 4.4)."""
    chooser = picker([1] * n, balance)
    before = chooser.pick_keys(KEYS)
    chooser.fail(4)
    after = chooser.pick_keys(KEYS)
    moved = [(a, b) for a, b in zip(before, after, strict=True) if a != b]
    assert {a for a, _ in moved} == {4} and len({b for _, b in moved}) > n // 2
    out = picker([1 if i != 4 else 0 for i in range(n)], balance).pick_keys(KEYS)
    others = sum(a != b for a, b in zip(before, out, strict=True) if a != 4)
    assert others <= moved_max * len(KEYS)


def test_maglev_is_even() -> None:
    """The table itself: places differ by one between servers of equal weight."""
    chooser = picker([1] * 50, "maglev")
    counts = collections.Counter(chooser.pick_keys([b"%d" % i for i in range(100_000)]))
    mean = 2000
    deviation = math.sqrt(sum((c - mean) ** 2 for c in counts.values()) / 50)
    assert deviation < 3 * math.sqrt(mean)          # what sampling alone makes


def test_small_tables_work_too() -> None:
    assert set(picker([1, 1, 1], "maglev", table_size=101).pick_keys(KEYS)) == {0, 1, 2}


@settings(max_examples=40, deadline=None)
@given(
    st.sampled_from(BY_KEY), st.sampled_from([1.1, 1.25, 1.5, 2.0]),
    st.lists(st.integers(1, 5), min_size=2, max_size=12), st.integers(0, 1 << 30),
)
def test_no_server_has_more_than_its_bound(
    balance: str, bound: float, weights: list[int], seed: int
) -> None:
    chooser: Any = picker(weights, balance, bounded_load=bound)
    choose = random.Random(seed)
    held: list[int] = []
    for i in range(400):
        if held and choose.random() < 0.3:
            chooser.give(held.pop(choose.randrange(len(held))))
            continue
        chooser.key(b"%d" % min(choose.randrange(1, 1000) for _ in range(4)))   # some are popular
        server = chooser.pick()
        assert server >= 0, i
        held.append(server)
        share = bound * len(held) * weights[server] / sum(weights)
        assert chooser.in_flight(server) <= math.ceil(share - 1e-9)


def test_a_bound_gives_way_when_servers_are_out() -> None:
    chooser = picker([1, 1], "maglev", bounded_load=1.1)
    chooser.fail(0)
    assert [chooser.pick() for _ in range(50)] == [1] * 50


@pytest.mark.parametrize(("balance", "load", "mean"), [
    ("random", 0.9, 10.0), ("least_request", 0.9, 2.614),
])
def test_mean_time_in_a_farm(balance: str, load: float, mean: float) -> None:
    """M/M/1 queues under Poisson arrivals, n large (Mitzenmacher's thesis, table 3.1: 2.614 for two
    choices; 1 / (1 - load) for one)."""
    n, arrivals = 300, 150_000
    chooser = picker([1] * n, balance, seed=7)
    choose = random.Random(7)
    queues: list[collections.deque[float]] = [collections.deque() for _ in range(n)]
    leaving: list[tuple[float, int]] = []
    now, total, counted = 0.0, 0.0, 0
    for i in range(arrivals):
        now += choose.expovariate(load * n)
        while leaving and leaving[0][0] <= now:
            at, server = heapq.heappop(leaving)
            begun = queues[server].popleft()
            chooser.give(server)
            if i > arrivals // 3:
                total += at - begun
                counted += 1
            if queues[server]:
                heapq.heappush(leaving, (at + choose.expovariate(1), server))
        server = chooser.pick()
        queues[server].append(now)
        if len(queues[server]) == 1:
            heapq.heappush(leaving, (now + choose.expovariate(1), server))
    assert total / counted == pytest.approx(mean, rel=0.12)
