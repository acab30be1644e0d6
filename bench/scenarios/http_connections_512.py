"""http_keepalive with 512 connections."""

from dataclasses import replace

from bench.model import SMALL_EXCHANGE_BYTES, Target, Traffic
from bench.scenarios.http_keepalive import SCENARIO as KEEPALIVE_SCENARIO

SCENARIO = replace(
    KEEPALIVE_SCENARIO,
    name="http_connections_512",
    title="HTTP/1.1, 512 keep-alive connections, small exchanges",
    traffic=Traffic(512, "/small", SMALL_EXCHANGE_BYTES, "keep"),
    targets=(Target(1.00, ("haproxy",)),),
    order=152,
)
