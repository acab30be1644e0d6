"""Small HTTP exchanges on 64 connections that stay open, relayed as TCP."""

from bench.methods import BUSY, COST, P50, P99, REQUESTS, RESIDENT, steady_load
from bench.model import SMALL, SMALL_EXCHANGE_BYTES, Scenario, Target, Traffic

SCENARIO = Scenario(
    name="tcp_keepalive",
    title="TCP relay, 64 keep-alive connections, small HTTP exchanges",
    mode="tcp",
    kind=SMALL,
    columns=(COST, REQUESTS, P50, P99, RESIDENT, BUSY),
    measure=steady_load,
    traffic=Traffic(64, "/small", SMALL_EXCHANGE_BYTES, "keep"),
    targets=(Target(0.95, ("haproxy", "nginx", "nginx-debian")),),
    syscalls=True,
    order=10,
)
