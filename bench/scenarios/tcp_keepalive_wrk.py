"""The same work as tcp_keepalive with wrk, as a cross-check: it compares no bytes."""

from bench.methods import COST, P50, P99, REQUESTS, wrk
from bench.model import SMALL, SMALL_EXCHANGE_BYTES, Scenario, Traffic

SCENARIO = Scenario(
    name="tcp_keepalive_wrk",
    title="Cross-check: the same with wrk",
    mode="tcp",
    kind=SMALL,
    columns=(COST, REQUESTS, P50, P99),
    measure=wrk,
    traffic=Traffic(64, "/small", SMALL_EXCHANGE_BYTES, "keep"),
    tools=("wrk",),
    rounds_max=3,
    order=11,
)
