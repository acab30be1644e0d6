"""Subsets of very many servers."""

from __future__ import annotations

import collections

import pytest

from fastlb.compile.subset import subset

NAMES = [f"10.0.{i // 256}.{i % 256}:80" for i in range(300)]


def test_numbered_processes_share_servers_out_evenly() -> None:
    size = 30
    processes = len(NAMES) // size * 4              # four whole rows
    used = collections.Counter(
        name for i in range(processes) for name in subset(NAMES, size, i)
    )
    assert set(used.values()) == {4}


@pytest.mark.parametrize("instance", [0, 7, "a", "web-1"])
def test_a_process_always_uses_the_same(instance: int | str) -> None:
    chosen = subset(NAMES, 20, instance)
    assert len(chosen) == 20 and chosen == subset(NAMES[::-1], 20, instance)


def test_a_server_that_goes_costs_a_named_process_one_place_at_most() -> None:
    before = subset(NAMES, 20, "web-1")
    for gone in NAMES[:50]:
        after = subset([name for name in NAMES if name != gone], 20, "web-1")
        assert len(after & before) >= 19
        assert (gone in before) == (after != before)


def test_names_spread_as_chance_does() -> None:
    used = collections.Counter(
        name for i in range(400) for name in subset(NAMES, 30, f"host-{i}")
    )
    mean = 400 * 30 / len(NAMES)
    assert len(used) == len(NAMES) and max(used.values()) < 1.7 * mean


def test_few_servers_are_all_used() -> None:
    assert subset(NAMES[:10], 10, 3) == subset(NAMES[:10], 50, "a") == set(NAMES[:10])
    assert subset([], 5, 0) == set()
