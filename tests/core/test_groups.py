"""Servers that come first, servers that have just come up, and servers that are left alone."""

from __future__ import annotations

import collections
from typing import Any

import pytest

from fastlb.config.check_routes import HASHES
from fastlb.control.spread import OVERPROVISION, shares
from tests.core.test_balance import picker

POLICIES = [
    "round_robin", "random", "least_connections", "least_request", "peak_ewma", "prequal", *HASHES
]
TIERS = [(0, True), (0, True), (1, True), (1, True)]


def asked(chooser: Any, n: int = 400) -> collections.Counter[int]:
    """Who is picked how often, by clients of different addresses."""
    counts: collections.Counter[int] = collections.Counter()
    for i in range(n):
        chooser.client((f"10.1.{i // 250}.{i % 250}", 1000))
        server = chooser.pick()
        counts[server] += 1
        if server >= 0:
            chooser.give(server)
    return counts


@pytest.mark.parametrize("balance", POLICIES)
def test_the_first_group_gets_all_and_the_next_steps_in(balance: str) -> None:
    chooser = picker([1, 1, 1, 1], balance, ranks=TIERS)
    chooser.share([1.0, 0.0])
    assert set(asked(chooser)) == {0, 1}
    chooser.down(0, True)
    assert set(asked(chooser)) == {1}
    chooser.down(1, True)               # (before the control plane has shared out anew)
    assert set(asked(chooser)) == {2, 3}
    chooser.down(2, True)
    chooser.down(3, True)
    assert set(asked(chooser)) == {-1}
    chooser.down(1, False)
    assert set(asked(chooser)) == {1}


@pytest.mark.parametrize("balance", POLICIES)
def test_groups_get_their_shares(balance: str) -> None:
    chooser = picker([1, 1, 1, 1], balance, ranks=TIERS)
    chooser.share([0.7, 0.3])
    counts = asked(chooser, 4000)
    assert 0.65 < (counts[0] + counts[1]) / 4000 < 0.75


def test_a_key_stays_in_its_group() -> None:
    chooser = picker([1] * 4, "maglev", ranks=TIERS)
    chooser.share([0.5, 0.5])
    keys = [b"key %d" % i for i in range(200)]
    first = chooser.pick_keys(keys)
    assert chooser.pick_keys(keys) == first and set(first) == {0, 1, 2, 3}
    chooser.share([0.6, 0.4])           # some go over, and none comes back
    second = chooser.pick_keys(keys)
    moved = [(a, b) for a, b in zip(first, second, strict=True) if a != b]
    assert moved and all(a >= 2 > b for a, b in moved)


def test_a_full_group_spills_over() -> None:
    chooser = picker([1, 1, 1, 1], ranks=TIERS, limits=[1, 1, 1, 1])
    chooser.share([1.0, 0.0])
    assert sorted(chooser.pick() for _ in range(4)) == [0, 1, 2, 3]
    assert chooser.pick() == -2


@pytest.mark.parametrize(("groups", "wanted"), [
    ([(3, 3), (3, 3)], [1, 0]),
    ([(3, 4), (4, 4)], [1, 0]),                     # 0.75 * 1.4 > 1
    ([(1, 2), (2, 2)], [0.7, 0.3]),
    ([(0, 2), (2, 2)], [0, 1]),
    ([(0, 2), (0, 2)], [1, 0]),                     # nobody: the first is where to look
    ([(1, 4), (1, 4)], [0.5, 0.5]),                 # 0.35 each: all there is, shared alike
    ([(1, 2), (1, 2), (1, 1)], [0.7, 0.3, 0]),
    ([(0, 0), (1, 1)], [0, 1]),                     # of no weight
])
def test_shares(groups: list[tuple[float, float]], wanted: list[float]) -> None:
    assert shares(groups) == pytest.approx(wanted)
    assert sum(shares(groups)) == pytest.approx(1)
    assert OVERPROVISION == 1.4


@pytest.mark.parametrize("state", ["draining", "maintenance"])
@pytest.mark.parametrize("balance", POLICIES)
def test_who_is_left_alone_gets_nobody_new(balance: str, state: str) -> None:
    chooser = picker([1, 1, 1], balance)
    chooser.enter(1, state)
    assert set(asked(chooser)) == {0, 2}
    chooser.panic(True)                 # that is about health, and not about this
    assert set(asked(chooser)) == {0, 2}
    chooser.enter(0, state)
    chooser.enter(2, state)
    assert set(asked(chooser)) == {-1}
    chooser.enter(1, "up")
    assert set(asked(chooser)) == {1}


def test_the_bound_server_is_picked_while_it_may_be() -> None:
    chooser = picker([1, 0, 1], limits=[0, 0, 1])
    chooser.bind(1)                     # (weight 0: nobody else gets there)
    assert set(asked(chooser)) == {1}
    chooser.enter(1, "draining")
    assert set(asked(chooser)) == {1}
    chooser.enter(1, "maintenance")
    assert set(asked(chooser)) == {0, 2}
    chooser.enter(1, "up")
    chooser.down(1, True)
    assert set(asked(chooser)) == {0, 2}
    chooser.down(1, False)
    chooser.tried([1])
    assert set(asked(chooser)) <= {0, 2}
    chooser.tried([])
    chooser.bind(2)
    assert [chooser.pick() for _ in range(3)] == [2, 0, 0]


# (prequal looks at it as seldom, and then uses what it saw: less at first, and more later)
GENTLE = [one for one in POLICIES if one not in (*HASHES, "prequal")]


@pytest.mark.parametrize("balance", GENTLE)
def test_who_has_come_up_gets_more_and_more(balance: str) -> None:
    chooser = picker([1, 1, 1, 1], balance, slow_start_ms=10_000)
    chooser.warm(2)
    seen = []
    for _ in range(11):
        seen.append(asked(chooser, 4000)[2] / 1000)     # of its share
        chooser.advance_ms(1000)
    for i, share in enumerate(seen):
        wanted = min(max(i / 10, 0.1), 1)
        assert wanted - 0.15 < share < wanted + 0.15, seen


def test_when_all_have_just_come_up_all_are_used() -> None:
    chooser = picker([1, 1], slow_start_ms=10_000)
    chooser.warm(0)
    chooser.warm(1)
    counts = asked(chooser)
    assert set(counts) == {0, 1} and min(counts.values()) > 120


def test_slow_start_begins_after_an_ejection_and_after_a_failure() -> None:
    chooser = picker([1] * 4, slow_start_ms=10_000,
                     outliers={"consecutive_failures": 1, "ejection_time": "1s"})
    chooser.did_badly(2)
    assert asked(chooser)[2] == 0
    chooser.advance_ms(1000)
    assert chooser.state(2) == 2
    chooser.did_well(2)
    assert 0 < asked(chooser, 4000)[2] < 300
    chooser.advance_ms(10_000)
    assert asked(chooser, 4000)[2] > 900
    down = picker([1] * 4, slow_start_ms=10_000)
    down.down(1, True)
    down.down(1, False)
    assert "warming" in down.states()
