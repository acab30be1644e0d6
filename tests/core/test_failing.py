"""Servers that fail, next to a model of what is done about them; and the budget of retries."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from tests.core.test_balance import picker

UP, FAILING, EJECTED = range(3)
PAUSE_MS = 1000
OUTLIERS = {"consecutive_failures": 3, "ejection_time": "10s", "max_ejection_time": "25s"}


def test_failures_in_a_row_eject_and_one_request_finds_out() -> None:
    chooser = picker([1, 1, 1], outliers=OUTLIERS)
    for _ in range(2):
        chooser.did_badly(0)
    chooser.did_well(0)             # the row is broken
    for _ in range(2):
        chooser.did_badly(0)
    assert chooser.state(0) == UP
    chooser.did_badly(0)
    assert chooser.state(0) == EJECTED
    assert all(chooser.pick() != 0 for _ in range(20))
    chooser.did_well(0)             # this was under way before
    assert chooser.state(0) == EJECTED
    chooser.advance_ms(10_000)
    assert [chooser.pick() for _ in range(20)].count(0) == 1
    chooser.did_well(0)
    assert chooser.state(0) == UP
    assert [chooser.pick() for _ in range(6)].count(0) == 2


def test_ejections_grow_while_they_follow_on_each_other() -> None:
    chooser = picker([1, 1, 1], outliers=OUTLIERS)

    def time_out() -> int:
        for _ in range(3):
            chooser.did_badly(0)
        assert chooser.state(0) == EJECTED
        for ms in range(0, 60_000, 1000):
            if any(chooser.pick() == 0 for _ in range(4)):
                return ms
            chooser.advance_ms(1000)
        raise AssertionError

    assert [time_out() for _ in range(4)] == [10_000, 20_000, 25_000, 25_000]
    chooser.did_well(0)
    chooser.advance_ms(25_000)
    assert time_out() == 10_000     # it was well for as long as it had been out


@pytest.mark.parametrize(("n", "share", "most"), [
    (1, "50%", 0), (2, "50%", 1), (3, "50%", 1), (10, "50%", 5), (10, "1%", 1), (10, "0%", 0),
    (4, "100%", 3),
])
def test_so_many_are_ejected_at_most(n: int, share: str, most: int) -> None:
    chooser = picker([1] * n, outliers={**OUTLIERS, "max_ejected": share})
    for server in range(n):
        for _ in range(5):
            chooser.did_badly(server)
    assert sum(chooser.state(i) == EJECTED for i in range(n)) == most


def test_the_last_that_is_up_stays() -> None:
    chooser = picker([1, 1, 1, 0], outliers={**OUTLIERS, "max_ejected": "100%"})
    chooser.down(0, True)
    chooser.down(1, True)
    for _ in range(5):
        chooser.did_badly(2)
    assert chooser.state(2) == UP


def test_who_is_down_gets_nothing_unless_too_few_are_left() -> None:
    chooser = picker([1, 1])
    chooser.down(0, True)
    assert {chooser.pick() for _ in range(10)} == {1}
    chooser.panic(True)
    assert {chooser.pick() for _ in range(10)} == {0, 1}
    chooser.panic(False)
    chooser.down(1, True)
    assert chooser.pick() == -1


@dataclass
class Modelled:
    state: int = UP
    row: int = 0
    retry_at: int = 0
    until: int = 0
    length: int = 0
    down: bool = False


class Failing(RuleBasedStateMachine):
    """Four servers, of which two may be ejected."""

    servers = st.integers(0, 3)

    @initialize()
    def begin(self) -> None:
        self.chooser: Any = picker([1] * 4, outliers=OUTLIERS)
        self.model = [Modelled() for _ in range(4)]
        self.now = 1000

    @rule(ms=st.sampled_from([1, 500, 1000, 5000, 10_000, 30_000]))
    def advance(self, ms: int) -> None:
        self.chooser.advance_ms(ms)
        self.now += ms

    @rule(server=servers)
    def refuse(self, server: int) -> None:
        self.chooser.fail(server)
        one = self.model[server]
        if one.state != EJECTED:
            one.state, one.retry_at = FAILING, self.now + PAUSE_MS
        self._failed(server)

    @rule(server=servers)
    def do_badly(self, server: int) -> None:
        self.chooser.did_badly(server)
        self._failed(server)

    @rule(server=servers)
    def do_well(self, server: int) -> None:
        self.chooser.did_well(server)
        one = self.model[server]
        one.row = 0
        if one.state != EJECTED or self.now >= one.until:
            one.state = UP

    @rule(server=servers, down=st.booleans())
    def check(self, server: int, down: bool) -> None:
        self.chooser.down(server, down)
        self.model[server].down = down

    @rule()
    def pick(self) -> None:
        server = self.chooser.pick()
        here = [one for one in self.model if not one.down]
        ready = [one for one in here if one.state == UP or self.now >= one.retry_at]
        if not here:
            assert server == -1
            return
        one = self.model[server]
        assert one in (ready or here)
        if one.state != UP and ready:
            one.retry_at = self.now + PAUSE_MS

    def _failed(self, server: int) -> None:
        one = self.model[server]
        one.row += 1
        if one.state == EJECTED:
            if self.now >= one.until:
                self._eject(one)
        elif one.row >= 3:
            others = [o for o in self.model if o is not one]
            ejected = sum(o.state == EJECTED for o in others)
            if ejected < 2 and any(o.state != EJECTED and not o.down for o in others):
                self._eject(one)

    def _eject(self, one: Modelled) -> None:
        soon = one.until and self.now < one.until + one.length
        one.length = min(10_000 + (one.length if soon else 0), 25_000)
        one.until = one.retry_at = self.now + one.length
        one.state, one.row = EJECTED, 0

    @invariant()
    def states_agree(self) -> None:
        if hasattr(self, "model"):
            assert [self.chooser.state(i) for i in range(4)] == [o.state for o in self.model]


Failing.TestCase.settings = settings(max_examples=80, stateful_step_count=60, deadline=None)
test_states_are_those_of_a_model = Failing.TestCase


def tries(attempts: int, budget: str, seconds: int = 100, rate: int = 1000) -> float:
    """Tries a request makes in a pool where every connect fails."""
    chooser: Any = picker([1] * 4, retry={"attempts": attempts, "budget": budget})
    made = 0
    for _ in range(seconds):
        for _ in range(rate):
            chooser.request()
            server = 0
            while chooser.may_retry(server):
                server += 1
            made += server + 1
        chooser.advance_ms(1000)
    return made / (seconds * rate)


def test_a_budget_bounds_the_load_on_a_pool_that_is_dead() -> None:
    assert tries(3, "200%") == 3
    assert tries(3, "10%") == pytest.approx(1.1, abs=0.02)
    assert tries(3, "0%") == pytest.approx(1 + 100 / 10_000, abs=0.002)    # what is free
    assert tries(1, "20%") == 1


def test_a_budget_is_of_the_last_ten_seconds() -> None:
    chooser: Any = picker([1] * 4, retry={"attempts": 2, "budget": "10%"})

    def retries(requests: int) -> int:
        made = 0
        for _ in range(requests):
            chooser.request()
            made += chooser.may_retry(0)
        return made

    assert retries(1000) == 1000 // 10 + 100
    assert retries(8) == 0
    chooser.advance_ms(9_000)
    assert retries(1) == 0
    chooser.advance_ms(1_000)
    assert retries(100) == 100                         # the free ones are back
    chooser.advance_ms(3_600_000)
    assert retries(100) == 100


def test_a_pool_without_another_server_is_not_asked_twice() -> None:
    chooser: Any = picker([1])
    chooser.request()
    assert not chooser.may_retry(0)
    two: Any = picker([1, 1])
    two.down(1, True)
    two.request()
    assert not two.may_retry(0)
