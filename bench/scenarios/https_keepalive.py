"""http_keepalive over TLS; the handshakes lie before the measured window."""

from dataclasses import replace

from bench.model import FULL, HTTPS, SMALL_EXCHANGE_BYTES, Target, Traffic
from bench.scenarios.http_keepalive import SCENARIO as KEEPALIVE_SCENARIO

SCENARIO = replace(
    KEEPALIVE_SCENARIO,
    name="https_keepalive",
    title="HTTPS, 64 keep-alive connections, small exchanges",
    mode=HTTPS,
    traffic=Traffic(64, "/small", SMALL_EXCHANGE_BYTES, "keep", tls=FULL),
    targets=(Target(0.90, ("haproxy",)),),
    direct=False,
    order=200,
    notes=("TLS 1.3, TLS_AES_128_GCM_SHA256; plain HTTP/1.1 to the servers.",),
)
