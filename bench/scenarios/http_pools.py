"""What a pool's checks, limits and choice cost, next to round robin without any of them."""

from bench.methods import BUSY, COST, P50, P99, REQUESTS, RESIDENT, steady_load
from bench.model import SMALL, SMALL_EXCHANGE_BYTES, Scenario, Target, Traffic

SCENARIO = Scenario(
    name="http_pools",
    title="HTTP/1.1, 64 keep-alive connections: what pools cost",
    mode="pools",
    kind=SMALL,
    columns=(COST, REQUESTS, P50, P99, RESIDENT, BUSY),
    measure=steady_load,
    traffic=Traffic(64, "/small", SMALL_EXCHANGE_BYTES, "keep"),
    targets=(Target(1.02, ("fastlb",), of="fastlb-pools"),),
    notes=(
        "fastlb: round_robin, no checks, no limits.",
        "fastlb-pools: least_request, an http check of each server each second, limits of the pool"
        " and of each server, a queue, error rates watched.",
        "fastlb-checks: round_robin, and 2,000 more servers with an http check each second. The"
        " checks run on the control loop, which here shares CPU 0 with the engine.",
    ),
    direct=False,
    syscalls=True,
    order=190,
)
