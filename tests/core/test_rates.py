"""Rates by key: the core beside twenty lines of Python, and beside itself on two threads."""

from __future__ import annotations

import random
import threading

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fastlb._core.tables.live import Live
from fastlb._core.tables.rates import RateLimit

CHARGED, REFUSED, UNCOUNTED = 1, 2, 3
MB = 1 << 20


class Frozen:
    """A limit whose clock moves when it is told to. The system's clock goes on beside it, so that
    times are long against what a test takes."""

    def __init__(self, engines: int = 2) -> None:
        self.live = Live(engines)
        self.limit: RateLimit = self.live.rate_limit("a")

    def advance(self, ns: int) -> None:
        self.live.clock.advance(ns)


class Model:
    """GCRA as the standard has it, with one theoretical arrival time a key."""

    def __init__(self, unit_ns: int, burst_ns: int) -> None:
        self.unit_ns, self.burst_ns, self.now_ns = unit_ns, burst_ns, 0
        self.due_ns: dict[bytes, int] = {}

    def charge(self, key: bytes, cost: int) -> bool:
        begin_ns = max(self.due_ns.get(key, 0), self.now_ns)
        if begin_ns - self.now_ns + cost * self.unit_ns > self.burst_ns:
            return False
        self.due_ns[key] = begin_ns + cost * self.unit_ns
        return True


HOUR_NS = 3_600 * 10**9         # a unit; a test takes no thousandth of it


@settings(max_examples=100, deadline=None)
@given(st.integers(1, 8), st.lists(st.tuples(
    st.integers(0, 5), st.integers(0, 3), st.integers(0, 4)), max_size=80))
def test_same_requests_are_let_through_as_by_the_model(
    burst: int, arrivals: list[tuple[int, int, int]]
) -> None:
    frozen, model = Frozen(), Model(HOUR_NS, burst * HOUR_NS + HOUR_NS // 2)
    for who, cost, hours in arrivals:
        frozen.advance(hours * HOUR_NS)
        model.now_ns += hours * HOUR_NS
        key = b"%d" % who
        wanted = model.charge(key, cost)
        charge, _ = frozen.limit.charge(key, cost * HOUR_NS, model.burst_ns)
        assert (charge == CHARGED) == wanted


def test_a_key_has_its_burst_and_then_its_rate() -> None:
    frozen = Frozen()
    burst_ns = 3 * HOUR_NS
    assert [frozen.limit.charge(b"a", HOUR_NS, burst_ns)[0] for _ in range(4)] == \
        [CHARGED] * 3 + [REFUSED]
    assert frozen.limit.charge(b"b", HOUR_NS, burst_ns)[0] == CHARGED
    frozen.advance(HOUR_NS)
    assert [frozen.limit.charge(b"a", HOUR_NS, burst_ns)[0] for _ in range(2)] == \
        [CHARGED, REFUSED]
    frozen.advance(100 * HOUR_NS)
    assert frozen.limit.used_ns(b"a") == 0
    assert frozen.limit.keys == 0
    assert [frozen.limit.charge(b"a", HOUR_NS, burst_ns)[0] for _ in range(4)] == \
        [CHARGED] * 3 + [REFUSED]


def test_what_costs_more_than_the_burst_is_refused_always() -> None:
    frozen = Frozen()
    assert frozen.limit.charge(b"a", 4 * HOUR_NS, 3 * HOUR_NS)[0] == REFUSED
    assert frozen.limit.used_ns(b"a") == 0


def test_changed_limit_keeps_the_share_that_is_left() -> None:
    frozen = Frozen()
    frozen.limit.use(float(HOUR_NS))
    for _ in range(6):
        frozen.limit.charge(b"a", HOUR_NS, 10 * HOUR_NS)
    frozen.limit.use(HOUR_NS / 2)               # twice as many: six of them are used
    used = frozen.limit.used_ns(b"a") / (HOUR_NS / 2)
    assert 5.9 < used <= 6
    frozen.limit.use(HOUR_NS / 2)               # (the same again changes nothing)
    assert 5.9 < frozen.limit.used_ns(b"a") / (HOUR_NS / 2) <= 6


def resident() -> int:
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * 4096


def test_a_million_invented_keys_take_64_mib_and_evict_nobody() -> None:
    frozen = Frozen()
    burst_ns = 20 * HOUR_NS
    real = [b"user-%d" % i for i in range(1000)]
    for key in real:
        for _ in range(10):
            assert frozen.limit.charge(key, HOUR_NS, burst_ns)[0] == CHARGED
    before = resident()
    for i in range(1_000_000):
        frozen.limit.charge(b"%x" % (i * 0x9E3779B97F4A7C15 & 2**64 - 1), HOUR_NS, burst_ns)
    assert resident() - before < 64 * MB
    assert frozen.limit.evicted < 100           # (of the invented ones: see below)
    assert 900_000 < frozen.limit.keys < 1_100_000
    for key in real:
        assert [frozen.limit.charge(key, HOUR_NS, burst_ns)[0] for _ in range(11)] == \
            [CHARGED] * 10 + [REFUSED]


@pytest.mark.parametrize("n_keys", [1, 3, 2000])
def test_two_threads_charge_exactly_what_is_there(n_keys: int) -> None:
    """Each key is begun by both threads at once, again and again."""
    frozen = Frozen()
    burst_ns = 50 * HOUR_NS + HOUR_NS // 2
    charged = [dict.fromkeys(range(n_keys), 0) for _ in range(2)]
    ready = threading.Barrier(2)

    def run(mine: dict[int, int], seed: int) -> None:
        chosen = random.Random(seed)
        order = [i for i in range(n_keys) for _ in range(40)]
        chosen.shuffle(order)
        ready.wait(30)
        for i in order:
            if frozen.limit.charge(b"key %d" % i, HOUR_NS, burst_ns)[0] == CHARGED:
                mine[i] += 1

    threads = [threading.Thread(target=run, args=(charged[i], i)) for i in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    for i in range(n_keys):
        assert charged[0][i] + charged[1][i] == 50
