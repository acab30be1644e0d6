"""One connection with one small exchange at a time: what a balancer adds to an answer."""

from bench.methods import COST, P50, P99, REQUESTS, steady_load
from bench.model import SMALL, SMALL_EXCHANGE_BYTES, Scenario, Target, Traffic

SCENARIO = Scenario(
    name="tcp_latency",
    title="1 connection, median latency",
    mode="tcp",
    kind=SMALL,
    columns=(P50, P99, REQUESTS, COST),
    measure=steady_load,
    traffic=Traffic(1, "/small", SMALL_EXCHANGE_BYTES, "keep"),
    targets=(Target(1.00, ("haproxy",)),),
    syscalls=True,
    order=40,
)
