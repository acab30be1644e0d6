"""Rates by key: the core beside twenty lines of Python, and beside itself on two threads."""

from __future__ import annotations

import random
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from itertools import islice

import limits
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fastlb._core.tables.live import Live
from fastlb._core.tables.rates import RateLimit
from tests.core.probe import charge_many
from tests.flow.conftest import measures_memory

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


def arrivals(n: int, seed: int) -> Iterator[tuple[bytes, int, int]]:
    """Who comes, for how many units, how many hours after the one before."""
    chance = random.Random(seed)
    for _ in range(n):
        pause = chance.randrange(3) if chance.random() < 0.01 else 0
        yield b"%d" % min(int(chance.expovariate(0.02)), 999), chance.randrange(3), pause


def test_a_million_arrivals_at_two_engines_are_let_through_as_by_the_model() -> None:
    frozen, model = Frozen(2), Model(HOUR_NS, 20 * HOUR_NS + HOUR_NS // 2)
    rest = arrivals(1_000_000, 1)
    turns = [threading.Semaphore(1), threading.Semaphore(0)]
    answers = Counter[tuple[bool, bool]]()

    def engine(which: int) -> None:
        more = True
        while more:
            turns[which].acquire()
            piece = list(islice(rest, 1000))
            for key, cost, hours in piece:
                if hours:
                    frozen.advance(hours * HOUR_NS)
                    model.now_ns += hours * HOUR_NS
                charge, _ = frozen.limit.charge(key, cost * HOUR_NS, model.burst_ns)
                answers[charge == CHARGED, model.charge(key, cost)] += 1
            more = bool(piece)
            turns[1 - which].release()

    threads = [threading.Thread(target=engine, args=(which,)) for which in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert answers.total() == 1_000_000
    assert answers[True, False] == answers[False, True] == 0
    assert min(answers[True, True], answers[False, False]) > 100_000


def test_another_library_refuses_nothing_of_what_was_let_through(
    monkeypatch: pytest.MonkeyPatch
) -> None:
    """20 at once and one an hour are at most 30 in any 10 hours.
    The package counts one by one what came in the last 10 hours."""
    frozen, now_s = Frozen(), 0
    monkeypatch.setattr(limits.storage.memory.time, "time", lambda: float(now_s))
    storage = limits.storage.MemoryStorage()
    window = limits.strategies.MovingWindowRateLimiter(storage)
    most, fewer = (limits.RateLimitItemPerHour(n, 10) for n in (30, 22))
    refused = 0
    for key, _, hours in arrivals(20_000, 2):
        frozen.advance(hours * HOUR_NS)
        now_s += hours * 3600
        if frozen.limit.charge(key, HOUR_NS, 20 * HOUR_NS + HOUR_NS // 2)[0] == CHARGED:
            assert window.hit(most, key.decode())
            refused += not window.hit(fewer, key.decode())
    assert refused > 0                  # (so it isn't let through for being far below)


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


@measures_memory
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


def together(n_threads: int, work: Callable[[], list[int]]) -> list[int]:
    """What threads have charged for each key, all in all."""
    ready = threading.Barrier(n_threads)
    found: list[list[int]] = []

    def run() -> None:
        ready.wait(300)
        found.append(work())

    threads = [threading.Thread(target=run) for _ in range(n_threads)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == n_threads
    return [sum(counts) for counts in zip(*found, strict=True)]


@pytest.mark.parametrize("n_keys", [1, 3, 500, 20_000])
def test_threads_charge_exactly_what_is_there(n_keys: int) -> None:
    """Keys are begun by several threads at once, while the table grows."""
    burst_ns = 20 * HOUR_NS + HOUR_NS // 2

    def attempt() -> list[int]:
        limit, keys = Frozen(3).limit, [b"key %d" % i for i in range(n_keys)]
        return together(3, lambda: charge_many(limit, keys, 15, HOUR_NS, burst_ns))

    for _ in range(5 if n_keys < 20_000 else 1):
        assert set(attempt()) == {20}


@pytest.mark.parametrize("n_keys", [1, 500])
def test_what_is_charged_beyond_the_burst_is_not_lost(n_keys: int) -> None:
    frozen = Frozen(3)
    keys = [b"key %d" % i for i in range(n_keys)]
    assert set(together(3, lambda: charge_many(frozen.limit, keys, 50, HOUR_NS, 0, True))) == {150}
    for key in keys:
        used = frozen.limit.used_ns(key) / HOUR_NS
        assert 149.9 < used <= 150


def test_limit_changes_while_it_is_charged() -> None:
    """Twice as long, and back: what was used before stays as many units."""
    frozen = Frozen(2)
    keys = [b"key %d" % i for i in range(200)]
    frozen.limit.use(float(HOUR_NS))
    charge_many(frozen.limit, keys, 10, HOUR_NS, 1000 * HOUR_NS)
    over = threading.Event()

    def change() -> list[int]:
        while not over.is_set():
            frozen.limit.use(2.0 * HOUR_NS)
            frozen.limit.use(float(HOUR_NS))
        return [0] * len(keys)

    def charge() -> list[int]:
        try:
            return charge_many(frozen.limit, keys, 300, 0, 1000 * HOUR_NS)
        finally:
            over.set()

    turns = iter((change, charge))
    together(2, lambda: next(turns)())
    for key in keys:
        assert 9.9 < frozen.limit.used_ns(key) / HOUR_NS <= 10


@pytest.mark.parametrize("cost_ns", [2**61, 2**63, 2**64 - 1])
def test_no_amount_overflows(cost_ns: int) -> None:
    frozen = Frozen()
    burst_ns = 2**60
    assert frozen.limit.charge(b"a", cost_ns, burst_ns)[0] == REFUSED
    for _ in range(5):
        charge_many(frozen.limit, [b"a"], 3, 2**61, 0, True)
        assert frozen.limit.charge(b"a", 1, burst_ns)[0] == REFUSED
    assert 2**60 < frozen.limit.used_ns(b"a") <= 2**61
