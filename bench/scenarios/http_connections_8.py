"""http_keepalive with 8 connections."""

from dataclasses import replace

from bench.model import SMALL_EXCHANGE_BYTES, Target, Traffic
from bench.scenarios.http_keepalive import SCENARIO as KEEPALIVE_SCENARIO

SCENARIO = replace(
    KEEPALIVE_SCENARIO,
    name="http_connections_8",
    title="HTTP/1.1, 8 keep-alive connections, small exchanges",
    traffic=Traffic(8, "/small", SMALL_EXCHANGE_BYTES, "keep"),
    targets=(Target(1.00, ("haproxy",)),),
    order=151,
)
