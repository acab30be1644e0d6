"""Benchmarks of the kernels: `pytest tests/core/test_speed.py --benchmark-enable`."""

from __future__ import annotations

from typing import Any

import pytest

from tests.core import probe
from tests.core.test_balance import picker

ROUNDS = 10_000


@pytest.mark.parametrize("servers", [10, 1000])
@pytest.mark.parametrize("balance", ["round_robin", "ring_hash"])
def test_pick(benchmark: Any, balance: str, servers: int) -> None:
    """10,000 picks; the figure over 10,000 is one."""
    chooser = picker([1] * servers, balance)
    chooser.client(("192.0.2.77", 40000))
    benchmark(chooser.spin, ROUNDS)


def test_take_and_give_a_chunk(benchmark: Any) -> None:
    benchmark(probe.spin_chunks, 2, ROUNDS)
