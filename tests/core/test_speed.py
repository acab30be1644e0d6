"""Benchmarks of the kernels: `pytest tests/core/test_speed.py --benchmark-enable`."""

from __future__ import annotations

from typing import Any

import pytest

from tests.core import parsers, probe
from tests.core.test_balance import picker
from tests.core.test_routing import router

ROUNDS = 10_000


@pytest.mark.parametrize("servers", [10, 1000])
@pytest.mark.parametrize("balance", [
    "round_robin", "random", "least_connections", "least_request", "peak_ewma", "prequal",
    "ring_hash", "maglev", "rendezvous",
])
def test_pick(benchmark: Any, balance: str, servers: int) -> None:
    """10,000 picks; the figure over 10,000 is one."""
    chooser = picker([1] * servers, balance)
    if balance in ("ring_hash", "maglev", "rendezvous"):
        chooser.key(b"192.0.2.77")
    if balance == "rendezvous":
        chooser.spin(100 * ROUNDS)      # whose place it is, is found out once
    benchmark(chooser.spin, ROUNDS)


def test_take_and_give_a_chunk(benchmark: Any) -> None:
    benchmark(probe.spin_chunks, 2, ROUNDS)


SMALL = b"GET /small HTTP/1.1\r\nHost: 127.0.0.1:8080\r\n\r\n"
BROWSER = SMALL[:-2] + b"".join(b"X-Field-%d: %s\r\n" % (i, b"v" * 40) for i in range(10)) + b"\r\n"


@pytest.mark.parametrize("request_", [SMALL, BROWSER], ids=["small", "browser"])
def test_parse_a_request(benchmark: Any, request_: bytes) -> None:
    benchmark(parsers.spin_request, request_, ROUNDS)


@pytest.mark.parametrize("routes", [20, 200, 2000])
def test_find_a_route(benchmark: Any, routes: int) -> None:
    """What fits is the last one, or none but the fallback: 200 routes cost about what 20 do."""
    made = router(routes, "/api/v1/none/of/them")
    benchmark(made.find, ROUNDS)
