"""Measure the cost of a large list of denied networks, in which no client is."""

from bench.methods import BUSY, COST, P50, P99, REQUESTS, RESIDENT, steady_load
from bench.model import CONNECTIONS, SMALL_EXCHANGE_BYTES, Scenario, Target, Traffic

SCENARIO = Scenario(
    name="http_listed",
    title="HTTP/1.1, a new connection for each request: what 100,000 denied networks cost",
    mode="listed",
    kind=CONNECTIONS,
    columns=(COST, REQUESTS, P50, P99, RESIDENT, BUSY),
    measure=steady_load,
    traffic=Traffic(64, "/small", SMALL_EXCHANGE_BYTES, "close"),
    targets=(Target(1.01, ("fastlb",), of="fastlb-listed"),),
    notes=(
        "fastlb: no list.",
        "fastlb-listed: `deny` of a set of 100,000 addresses, which is looked at for each "
        "connection.",
    ),
    direct=False,
    syscalls=True,
    order=195,
)
