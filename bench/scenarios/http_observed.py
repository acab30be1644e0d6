"""What metrics, which are always counted, and a JSON access log of every request cost."""

from bench.methods import BUSY, COST, P50, P99, REQUESTS, RESIDENT, steady_load
from bench.model import SMALL, SMALL_EXCHANGE_BYTES, Scenario, Target, Traffic

SCENARIO = Scenario(
    name="http_observed",
    title="HTTP/1.1, 64 keep-alive connections: what an access log costs",
    mode="observed",
    kind=SMALL,
    columns=(COST, REQUESTS, P50, P99, RESIDENT, BUSY),
    measure=steady_load,
    traffic=Traffic(64, "/small", SMALL_EXCHANGE_BYTES, "keep"),
    targets=(Target(1.10, ("fastlb",), of="fastlb-observed"),),
    notes=(
        "fastlb: metrics are counted, nothing is logged.",
        "fastlb-observed: the same, and each request is a line of JSON in a file, with all fields."
        " The thread that writes it shares CPU 0 with the engine, and is in the cost.",
    ),
    direct=False,
    syscalls=True,
    order=191,
)
