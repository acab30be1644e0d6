"""Log-linear histograms, next to the exact quantiles of the same times."""

from __future__ import annotations

import math
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fastlb._core.tables.histogram import Times

SHARES = (0.5, 0.9, 0.99, 0.999)
ERROR_MAX = 0.02
LEAST_S = 2e-6              # below this, parts are 64 ns


def times_of(seconds: list[float]) -> Times:
    times = Times()
    for one in seconds:
        times.put(one)
    return times


def exact(seconds: list[float], share: float) -> float:
    return sorted(seconds)[max(math.ceil(share * len(seconds)), 1) - 1]


@pytest.mark.parametrize("kind", ["lognormal", "uniform", "pareto", "two_peaks"])
def test_quantiles_are_within_two_percent_of_the_exact_ones(kind: str) -> None:
    chance = random.Random(20)
    draw = {
        "lognormal": lambda: chance.lognormvariate(-8, 1.5),
        "uniform": lambda: chance.uniform(1e-5, 2.0),
        "pareto": lambda: 1e-4 * chance.paretovariate(1.1),
        "two_peaks": lambda: chance.choice((3e-4, 30.0)) * chance.uniform(0.9, 1.1),
    }[kind]
    seconds = [draw() for _ in range(20_000)]
    found = times_of(seconds).quantiles(*SHARES)
    for share, value in zip(SHARES, found, strict=True):
        assert value == pytest.approx(exact(seconds, share), rel=ERROR_MAX), share


@settings(deadline=None)
@given(st.floats(LEAST_S, 4000.0))
def test_any_single_time_is_told_within_two_percent(seconds: float) -> None:
    assert times_of([seconds]).quantiles(0.5)[0] == pytest.approx(seconds, rel=ERROR_MAX)


def test_the_shortest_are_told_to_64_ns() -> None:
    for ns in range(1, 2000, 7):
        assert times_of([ns / 1e9]).quantiles(1.0)[0] == pytest.approx(ns / 1e9, abs=33e-9)


def test_what_is_longer_than_the_longest_counts_as_that() -> None:
    times = times_of([1e6, 1e9])
    assert times.count == 2
    assert times.quantiles(1.0)[0] == pytest.approx(4398.0, rel=ERROR_MAX)


def test_sums_and_counts_below_a_bucket_are_exact() -> None:
    edge = (64 << 10) / 1e9                     # 65.536 us
    times = times_of([edge - 1e-9, edge + 1e-9, 1.0])
    assert times.upto(9, 10, 11, 30) == [0, 1, 2, 3]
    assert times.sum == pytest.approx(1.0 + 2 * edge, abs=2e-9)


def test_nothing_measured_has_no_quantiles() -> None:
    assert Times().quantiles(0.5) == []
    assert Times().upto(10, 20) == [0, 0]
