"""Small exchanges on 160 streams of 16 HTTP/2 connections over TLS, HTTP/1.1 to the servers."""

from bench.methods import COST, LONGEST, MEAN, REQUESTS, h2load
from bench.model import FULL, H2, SMALL, SMALL_EXCHANGE_BYTES, Scenario, Target, Traffic

SCENARIO = Scenario(
    name="h2_streams",
    title="HTTP/2 over TLS, 16 connections of 10 streams, HTTP/1.1 to the servers",
    mode=H2,
    kind=SMALL,
    columns=(COST, REQUESTS, MEAN, LONGEST),
    measure=h2load,
    traffic=Traffic(16, "/small", SMALL_EXCHANGE_BYTES, "keep", tls=FULL, streams=10),
    targets=(
        Target(1.00, ("haproxy",)),
        Target(0.50, ("nginx",)),
        Target(0.30, ("envoy",)),
    ),
    direct=False,
    tools=("h2load",),
    order=300,
    notes=(
        "h2load, whole runs with their 16 handshakes; it checks statuses, protocol and cipher, and "
        "how many bytes came in all.",
    ),
)
