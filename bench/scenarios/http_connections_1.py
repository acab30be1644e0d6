"""http_keepalive with 1 connection."""

from dataclasses import replace

from bench.model import SMALL_EXCHANGE_BYTES, Target, Traffic
from bench.scenarios.http_keepalive import SCENARIO as KEEPALIVE_SCENARIO

SCENARIO = replace(
    KEEPALIVE_SCENARIO,
    name="http_connections_1",
    title="HTTP/1.1, 1 keep-alive connection, small exchanges",
    traffic=Traffic(1, "/small", SMALL_EXCHANGE_BYTES, "keep"),
    targets=(Target(1.00, ("haproxy",)),),
    order=150,
)
