"""Measure the cost of filters: one filter uses every hook on every request and changes nothing."""

from bench.methods import BUSY, COST, P50, P99, REQUESTS, RESIDENT, steady_load
from bench.model import SMALL, SMALL_EXCHANGE_BYTES, Scenario, Target, Traffic

SCENARIO = Scenario(
    name="http_filter",
    title="HTTP/1.1, 64 keep-alive connections: what a filter costs",
    mode="filter",
    kind=SMALL,
    columns=(COST, REQUESTS, P50, P99, RESIDENT, BUSY),
    measure=steady_load,
    traffic=Traffic(64, "/small", SMALL_EXCHANGE_BYTES, "keep"),
    targets=(Target(1.02, ("fastlb",), of="fastlb-filter"),),
    notes=(
        "fastlb: routes have no filter.",
        "fastlb-filter: every route has one that uses every hook and changes nothing.",
    ),
    direct=False,
    syscalls=True,
    order=193,
)
