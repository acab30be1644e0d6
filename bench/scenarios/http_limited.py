"""Measure the cost of a rate limit by client, which no client reaches."""

from bench.methods import BUSY, COST, P50, P99, REQUESTS, RESIDENT, steady_load
from bench.model import SMALL, SMALL_EXCHANGE_BYTES, Scenario, Target, Traffic

SCENARIO = Scenario(
    name="http_limited",
    title="HTTP/1.1, 64 keep-alive connections: what a rate limit costs",
    mode="limited",
    kind=SMALL,
    columns=(COST, REQUESTS, P50, P99, RESIDENT, BUSY),
    measure=steady_load,
    traffic=Traffic(64, "/small", SMALL_EXCHANGE_BYTES, "keep"),
    targets=(
        Target(1.03, ("fastlb",), of="fastlb-limited"),
        Target(0.80, ("haproxy-limited",), of="fastlb-limited"),
    ),
    notes=(
        "fastlb: no limit.",
        "fastlb-limited: `rate_limit` by client.ip, of a million requests a second.",
        "haproxy-limited: a stick table with http_req_rate by src, and the same limit.",
    ),
    direct=False,
    syscalls=True,
    order=194,
)
