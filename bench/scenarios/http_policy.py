"""What a function costs that decides about each request on the engine's thread."""

from bench.methods import BUSY, COST, P50, P99, REQUESTS, RESIDENT, steady_load
from bench.model import SMALL, SMALL_EXCHANGE_BYTES, Scenario, Target, Traffic

SCENARIO = Scenario(
    name="http_policy",
    title="HTTP/1.1, 64 keep-alive connections: what a policy costs",
    mode="policy",
    kind=SMALL,
    columns=(COST, REQUESTS, P50, P99, RESIDENT, BUSY),
    measure=steady_load,
    traffic=Traffic(64, "/small", SMALL_EXCHANGE_BYTES, "keep", ("X-Tier: premium",)),
    targets=(Target(3.0, ("fastlb",), of="fastlb-policy", more=True),),
    notes=(
        "fastlb: the route names its pool.",
        "fastlb-policy: the route asks a `def`, which looks at a header field and names the pool.",
    ),
    direct=False,
    syscalls=True,
    order=192,
)
