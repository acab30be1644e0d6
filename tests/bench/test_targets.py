"""Targets of the benchmarks: what is held against what."""

from __future__ import annotations

import pytest

from bench import render
from bench.methods import LOST
from bench.model import Column, Reading, Row, Scenario, Table, Target

COST = Column("cpu_us", "CPU us/pair", 2)


def verdict(target: Target, **rows: tuple[float, float]) -> render.Verdict:
    """Of rows with a cost and what was lost."""
    scenario = Scenario("s", "s", "udp", "small", (COST, LOST), lambda *_: Reading({}),
                        targets=(target,))
    table = Table(scenario, [
        Row(name, [Reading({COST.key: cost, LOST.key: lost})])
        for name, (cost, lost) in rows.items()
    ])
    found, = render.verdicts([table], ["fastlb"])
    return found


@pytest.mark.parametrize(("mine", "met"), [(5.9, True), (6.1, False)])
def test_a_cost_against_the_cheapest(mine: float, met: bool) -> None:
    found = verdict(Target(0.6, ("nginx", "envoy", "gone")),
                    fastlb=(mine, 0.0), nginx=(10.0, 0.0), envoy=(30.0, 0.0))
    assert found.met is met and found.ratio == mine / 10
    assert found.cells()[3] == "nginx 10.00"


@pytest.mark.parametrize(("mine", "direct", "met"), [
    (0.0, 0.0, True), (0.5, 0.5, True), (0.1, 0.5, True), (0.001, 0.0, False), (0.6, 0.5, False),
])
def test_what_is_lost_against_what_is_lost_without_a_balancer(
    mine: float, direct: float, met: bool
) -> None:
    found = verdict(Target(0.0, ("direct",), more=True, key=LOST.key),
                    fastlb=(9.0, mine), direct=(0.0, direct))
    assert found.met is met
    assert found.cells()[2:4] == [f"{mine:.3f}", f"direct {direct:.3f}"]
    assert "0.000 lost % more" in found.cells()[6]


def test_a_figure_that_is_missing_decides_nothing() -> None:
    assert verdict(Target(0.6, ("nginx",)), fastlb=(5.0, 0.0)).met is None
