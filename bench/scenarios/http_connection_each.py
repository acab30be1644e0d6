"""A new connection for each request, 64 at a time, over kept connections to the servers."""

from bench.methods import BUSY, COST, P50, P99, REQUESTS, RESIDENT, steady_load
from bench.model import CONNECTIONS, SMALL_EXCHANGE_BYTES, Scenario, Target, Traffic

SCENARIO = Scenario(
    name="http_connection_each",
    title="HTTP/1.1, a new connection for each request, 64 at a time",
    mode="http",
    kind=CONNECTIONS,
    columns=(COST, REQUESTS, P50, P99, RESIDENT, BUSY),
    measure=steady_load,
    traffic=Traffic(64, "/small", SMALL_EXCHANGE_BYTES, "close"),
    targets=(Target(1.00, ("haproxy",)),),
    syscalls=True,
    order=120,
    notes=(
        "Requests say `Connection: close`; one is done when the balancer has closed after a whole "
        "answer. Connections to the servers are kept.",
    ),
)
