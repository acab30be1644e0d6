"""Timers, chunks, pipes and gates."""

from __future__ import annotations

import threading

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule

from tests.core import probe

LENGTHS = [100, 250, 1000]


def test_timers_expire_in_order_and_not_before() -> None:
    timers = probe.Timers(LENGTHS)
    timers.now(0)
    timers.start(0, 1)
    timers.start(1, 2)
    timers.now(50)
    timers.start(2, 1)
    assert timers.next_ms() == 100
    timers.now(99)
    assert timers.expired() == []
    timers.touch(0)
    timers.now(150)
    assert timers.expired() == [2]
    timers.now(249)
    assert timers.expired() == [0]
    timers.cancel(1)
    assert timers.next_ms() == 0
    timers.now(10_000)
    assert timers.expired() == []


def test_a_timeout_that_is_off_never_expires() -> None:
    timers = probe.Timers(LENGTHS)
    timers.start(0, 0)
    timers.touch(0)
    timers.now(1 << 30)
    assert timers.expired() == []
    assert timers.next_ms() == 0


class TimerModel(RuleBasedStateMachine):
    """Timers against a dictionary of deadlines."""

    @initialize()
    def begin(self) -> None:
        self.timers = probe.Timers(LENGTHS)
        self.now = 0
        self.due: dict[int, tuple[int, int]] = {}

    @rule(x=st.integers(0, 9), slot=st.integers(1, 3))
    def start(self, x: int, slot: int) -> None:
        self.timers.start(x, slot)
        self.due[x] = (self.now + LENGTHS[slot - 1], slot)

    @rule(x=st.integers(0, 9))
    def touch(self, x: int) -> None:
        self.timers.touch(x)
        if x in self.due:
            slot = self.due[x][1]
            self.due[x] = (self.now + LENGTHS[slot - 1], slot)

    @rule(x=st.integers(0, 9))
    def cancel(self, x: int) -> None:
        self.timers.cancel(x)
        self.due.pop(x, None)

    @rule(ms=st.integers(0, 400))
    def wait(self, ms: int) -> None:
        self.now += ms
        self.timers.now(self.now)
        expected = {x for x, (at, _) in self.due.items() if at <= self.now}
        assert set(self.timers.expired()) == expected
        for x in expected:
            del self.due[x]
        assert self.timers.next_ms() == min((at for at, _ in self.due.values()), default=0)


TestTimerModel = TimerModel.TestCase
TestTimerModel.settings = settings(max_examples=60, stateful_step_count=60, deadline=None)


def test_chunk_classes_are_powers_of_two_from_4_kib_to_1_mib() -> None:
    assert probe.chunk_classes([1, 4096, 4097, 16384, 1 << 20, 1 << 30]) == [
        (0, 4096), (0, 4096), (1, 8192), (2, 16384), (8, 1 << 20), (8, 1 << 20),
    ]


def test_free_chunks_are_used_again_and_kept_up_to_2_mib() -> None:
    assert probe.spin_chunks(2, 1000) == 1
    assert probe.hold_chunks(2, 1000) == (2 << 20) // 16384
    assert probe.hold_chunks(8, 100) == 2


def test_pipes_are_bounded_and_all_given_back() -> None:
    assert probe.hold_pipes(1000) == (64, 0)


def test_a_gate_is_exact_and_wakes_who_waits() -> None:
    gate = probe.GateProbe()
    assert gate.take(2)
    assert gate.take(2)
    assert not gate.take(2)
    assert gate.count == 2
    assert gate.wait(2)
    assert gate.give()              # someone waits
    assert not gate.give()          # told once
    assert not gate.wait(2)         # there is room: don't wait


def test_a_gate_without_a_limit_only_counts() -> None:
    gate = probe.GateProbe()
    assert all(gate.take(0) for _ in range(100))
    assert gate.count == 100


def test_a_gate_holds_its_limit_between_threads() -> None:
    gate = probe.GateProbe()
    most: list[int] = []
    threads = [
        threading.Thread(target=lambda: most.append(gate.hammer(2, 200_000))) for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert gate.count == 0
    # A refused taker is counted for an instant: never more than one for each other thread.
    assert max(most) <= 2 + len(threads) - 1
