"""1 MiB responses on 16 connections."""

from bench.methods import BUSY, COST_PER_MIB, P50, P99, REQUESTS, RESIDENT, steady_load
from bench.model import BIG_EXCHANGE_BYTES, BULK, Scenario, Target, Traffic

SCENARIO = Scenario(
    name="tcp_bulk",
    title="1 MiB responses, 16 connections",
    mode="tcp",
    kind=BULK,
    columns=(COST_PER_MIB, REQUESTS, P50, P99, RESIDENT, BUSY),
    measure=steady_load,
    traffic=Traffic(16, "/big", BIG_EXCHANGE_BYTES, "keep"),
    targets=(Target(1.00, ("haproxy",)),),
    syscalls=True,
    order=30,
)
