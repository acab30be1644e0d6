"""1 MiB responses over TLS on 16 connections, each request routed."""

from dataclasses import replace

from bench.model import BIG_EXCHANGE_BYTES, FULL, HTTPS, Target, Traffic
from bench.scenarios.http_bulk import SCENARIO as BULK_SCENARIO

SCENARIO = replace(
    BULK_SCENARIO,
    name="https_bulk",
    title="HTTPS, 1 MiB responses, 16 connections",
    mode=HTTPS,
    traffic=Traffic(16, "/big", BIG_EXCHANGE_BYTES, "keep", tls=FULL),
    targets=(Target(1.00, ("haproxy",)),),
    direct=False,
    order=220,
    notes=("TLS 1.3, TLS_AES_128_GCM_SHA256; plain HTTP/1.1 to the servers.",),
)
