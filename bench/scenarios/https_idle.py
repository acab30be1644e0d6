"""User memory of 4,000 idle HTTPS connections."""

from dataclasses import replace

from bench.model import FULL, HTTPS, SMALL_EXCHANGE_BYTES, Target, Traffic
from bench.scenarios.http_idle import SCENARIO as IDLE_SCENARIO

SCENARIO = replace(
    IDLE_SCENARIO,
    name="https_idle",
    title="User memory of an idle keep-alive HTTPS connection, 4,000 of them",
    mode=HTTPS,
    traffic=Traffic(4000, "/small", SMALL_EXCHANGE_BYTES, "idle", tls=FULL),
    targets=(Target(14 * 1024),),
    order=260,
    notes=(*IDLE_SCENARIO.notes, "Each did a full handshake of TLS 1.3 first."),
)
