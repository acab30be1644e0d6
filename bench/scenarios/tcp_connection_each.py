"""A new connection for each request, 64 at a time."""

from bench.methods import BUSY, COST, P50, P99, REQUESTS, RESIDENT, steady_load
from bench.model import CONNECTIONS, SMALL_EXCHANGE_BYTES, Scenario, Target, Traffic

SCENARIO = Scenario(
    name="tcp_connection_each",
    title="A new connection for each request, 64 at a time",
    mode="tcp",
    kind=CONNECTIONS,
    columns=(COST, REQUESTS, P50, P99, RESIDENT, BUSY),
    measure=steady_load,
    traffic=Traffic(64, "/small", SMALL_EXCHANGE_BYTES, "close"),
    targets=(Target(1.00, ("haproxy",)),),
    syscalls=True,
    order=20,
    notes=("A request is done when the balancer has closed after a whole answer.",),
)
