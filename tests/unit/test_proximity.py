"""Which zones of a pool are near, by how long connecting to their servers takes."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from typing import cast

import pytest

from fastlb.compile.snapshot import ServerSpec
from fastlb.config.effective import EffectivePool, effective
from fastlb.config.model import Config
from fastlb.control.clock import Clock
from fastlb.control.events import Events
from fastlb.control.proximity import CHECKS, Proximity


def pool(zones: Sequence[str], **keys: object) -> EffectivePool:
    config = Config.build({"pools": {"api": {
        "servers": [{"address": f"10.0.0.{i}:80", "zone": zone} for i, zone in enumerate(zones)],
        "health": {"tcp": True}, "nearest": {"measured": True}, **keys}}})
    return effective(config).pools[0]


class Told(Events):
    """Keeps what is told of pools."""

    def __init__(self, texts: list[str]) -> None:
        super().__init__()
        self.texts = texts

    def tell(self, level: int, pool: str, server: str, state: str, text: str) -> None:
        assert (pool, server, state) == ("api", "", "nearest")
        self.texts.append(text)


class At:
    """A clock whose timers are over at once."""

    def call_later(self, seconds: float, call: Callable[[], None]) -> object:
        call()
        return None


class Made:
    def __init__(self, zones: Sequence[str], **keys: object) -> None:
        self.changes = 0
        self.told: list[str] = []
        self.pool = pool(zones, **keys)
        self.clock = At()
        self.proximity = Proximity(Told(self.told), self._changed, cast(Clock, self.clock))
        self.specs = [ServerSpec(f"s{i}", ("10.0.0.1", 80), 1, 0, zone=zone)
                      for i, zone in enumerate(zones)]
        self.proximity.follow(self.pool, self.specs)

    def _changed(self) -> None:
        self.changes += 1

    @property
    def order(self) -> tuple[str, ...]:
        nearest = self.proximity.applied(self.pool).nearest
        assert nearest is not None
        return nearest.others

    def check(self, ms: Mapping[str, float], times: int = 1) -> None:
        for _ in range(times):
            for server, one in ms.items():
                self.proximity.measured("api", server, one / 1000)


def test_first_checks_give_the_order() -> None:
    made = Made(["fra", "iad", "sin"])
    assert made.order == ()
    made.check({"s0": 35, "s1": 1.2, "s2": 90})
    assert made.order == ("iad", "fra", "sin")


def test_zone_is_as_near_as_its_nearest_server() -> None:
    made = Made(["fra", "fra", "iad"])
    made.check({"s0": 80, "s1": 2, "s2": 20})
    assert made.order == ("fra", "iad")


def test_one_slow_check_moves_nothing() -> None:
    made = Made(["fra", "iad"])
    made.check({"s0": 1, "s1": 20}, CHECKS)
    before = made.changes
    made.check({"s0": 900, "s1": 20}, 2)
    assert made.order == ("fra", "iad") and made.changes == before


def test_zones_that_are_about_as_near_keep_their_places() -> None:
    """Whatever chance does within 10 %."""
    made, rng = Made(["fra", "iad", "sin"]), random.Random(5)
    made.check({"s0": 10, "s1": 10.1, "s2": 10.2}, CHECKS)
    order, changes = made.order, made.changes
    for _ in range(2000):
        made.check({server: 10 * rng.uniform(0.95, 1.05) for server in ("s0", "s1", "s2")})
    assert made.order == order and made.changes == changes


def test_times_below_what_chance_does_keep_their_places() -> None:
    made = Made(["fra", "iad"])
    made.check({"s0": 0.15, "s1": 0.3}, CHECKS)
    made.check({"s0": 0.15, "s1": 0.02}, CHECKS)
    assert made.order == ("fra", "iad")


def test_zone_that_is_clearly_nearer_now_comes_first_and_stays_there() -> None:
    made = Made(["fra", "iad"])
    made.check({"s0": 10, "s1": 20}, CHECKS)
    made.check({"s0": 10, "s1": 8.5}, CHECKS)
    assert made.order == ("fra", "iad")
    made.check({"s0": 10, "s1": 7}, CHECKS)
    assert made.order == ("iad", "fra")
    changes = made.changes
    made.check({"s0": 6, "s1": 7}, CHECKS)
    assert made.order == ("iad", "fra") and made.changes == changes


def test_zones_that_drifted_apart_are_sorted_again() -> None:
    made = Made(["a", "b", "c", "d", "e"])
    made.check({f"s{i}": 100 + i for i in range(5)}, CHECKS)
    for ms in ((100, 101, 102, 103, 60), (100, 101, 102, 80, 50), (100, 101, 72, 60, 45),
               (100, 85, 72, 60, 45)):
        made.check({f"s{i}": one for i, one in enumerate(ms)}, CHECKS)
    assert made.order[0] == "e" and made.order.index("c") < made.order.index("a")
    for i, zone in enumerate(made.order):           # nobody is clearly nearer than one before it
        for other in made.order[:i]:
            times = made.proximity.times("api")
            assert times[zone] >= times[other] * 0.8


def test_order_survives_a_change_of_servers_and_ends_with_the_key() -> None:
    made = Made(["fra", "iad"])
    made.check({"s0": 20, "s1": 10}, CHECKS)
    made.proximity.follow(made.pool, [*made.specs, ServerSpec("s9", ("10.0.0.9", 80), 1, 0)])
    assert made.order == ("iad", "fra")
    made.proximity.follow(made.pool, made.specs[:1])
    made.check({"s0": 20})
    assert made.order == ("fra",)
    plain = pool(["fra", "iad"], nearest={"others": ["iad"]})
    made.proximity.follow(plain, made.specs)
    assert made.proximity.applied(plain) == plain
    made.proximity.forget("api")
    made.proximity.measured("api", "s0", 0.001)     # (a check that was under way)


@pytest.mark.parametrize("zones", [["a"] * 3, []])
def test_pools_of_one_zone_or_none(zones: list[str]) -> None:
    made = Made([*zones, "b"])
    made.check({f"s{i}": 1.0 for i in range(len(zones) + 1)})
    assert set(made.order) == {*zones, "b"}


def test_order_is_told_once_all_zones_are_known() -> None:
    made = Made(["fra", "iad"])
    made.check({"s0": 10})
    made.check({"s1": 1})
    assert made.told == ["zones by connect time: iad (1 ms), fra (10 ms)"]
