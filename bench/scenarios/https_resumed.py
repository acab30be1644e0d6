"""https_handshake, each connection resumed with the ticket that the one before it got."""

from dataclasses import replace

from bench.model import HTTPS, RESUMED, SMALL_EXCHANGE_BYTES, Target, Traffic
from bench.scenarios.https_handshake import SCENARIO as HANDSHAKE_SCENARIO

SCENARIO = replace(
    HANDSHAKE_SCENARIO,
    name="https_resumed",
    title="HTTPS, a resumed handshake for each request, 64 at a time",
    mode=HTTPS,
    traffic=Traffic(64, "/small", SMALL_EXCHANGE_BYTES, "close", tls=RESUMED),
    targets=(Target(1.00, ("haproxy",)),),
    order=211,
    notes=(
        "TLS 1.3, resumed with a ticket and X25519 (psk_dhe_ke). The client checks that each "
        "handshake was resumed and that it got a ticket for the next.",
    ),
)
