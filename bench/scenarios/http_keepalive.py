"""Small exchanges on 64 connections that stay open, each request routed."""

from bench.methods import BUSY, COST, P50, P99, REQUESTS, RESIDENT, steady_load
from bench.model import SMALL, SMALL_EXCHANGE_BYTES, Scenario, Target, Traffic

SCENARIO = Scenario(
    name="http_keepalive",
    title="HTTP/1.1, 64 keep-alive connections, small exchanges",
    mode="http",
    kind=SMALL,
    columns=(COST, REQUESTS, P50, P99, RESIDENT, BUSY),
    measure=steady_load,
    traffic=Traffic(64, "/small", SMALL_EXCHANGE_BYTES, "keep"),
    targets=(
        Target(0.85, ("haproxy",)),
        Target(0.55, ("nginx", "nginx-debian")),
        Target(0.25, ("envoy",)),
    ),
    syscalls=True,
    order=110,
)
