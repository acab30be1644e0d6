"""h2_streams with servers that speak HTTP/2 themselves."""

from dataclasses import replace

from bench.model import H2_TO_H2, Target
from bench.scenarios.h2_streams import SCENARIO as STREAMS_SCENARIO

SCENARIO = replace(
    STREAMS_SCENARIO,
    name="h2_to_h2",
    title="HTTP/2 over TLS, 16 connections of 10 streams, HTTP/2 to the servers",
    mode=H2_TO_H2,
    targets=(Target(1.00, ("haproxy",)),),
    tools=("h2load", "nghttpd"),
    order=310,
    notes=(*STREAMS_SCENARIO.notes, "The servers are two nghttpd, without TLS."),
)
