"""A full handshake for each request, 64 at a time, over kept connections to the servers."""

from dataclasses import replace

from bench.model import FULL, HTTPS, SMALL_EXCHANGE_BYTES, Target, Traffic
from bench.scenarios.http_connection_each import SCENARIO as EACH_SCENARIO

SCENARIO = replace(
    EACH_SCENARIO,
    name="https_handshake",
    title="HTTPS, a full handshake for each request, 64 at a time",
    mode=HTTPS,
    traffic=Traffic(64, "/small", SMALL_EXCHANGE_BYTES, "close", tls=FULL),
    targets=(Target(1.00, ("haproxy", "envoy")),),
    direct=False,
    order=210,
    notes=(
        "TLS 1.3, X25519, an ECDSA certificate on P-256, TLS_AES_128_GCM_SHA256. The client checks "
        "the certificate, that nothing was resumed and that it got a ticket, and is done when the "
        "balancer has closed after a whole answer.",
    ),
)
