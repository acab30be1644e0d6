"""What became of each request and TCP session, for programs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Try:
    """One server that was tried."""

    server: str
    outcome: str                # a reason as in Record.reason, "response" or "overtaken"
    duration: float             # seconds, from when the server was picked


@dataclass(frozen=True, slots=True)
class Record:
    """One HTTP request, or one TCP session, that has ended. Texts are "" where there are none."""

    kind: str                   # "http", "tcp" or "udp"
    time: float                 # when it began, in seconds since 1970
    listener: str
    route: str
    pool: str
    server: str                 # the one that answered, or was tried last
    client_ip: str              # as trusted proxies in front of us saw it
    client_port: int            # of who is connected
    method: str
    host: str
    path: str                   # as it was sent; bytes that are no UTF-8 as in latin-1
    query: str                  # without its "?"
    version: str                # "1.0" or "1.1"
    status: int                 # 0: no answer went out, or not all of it
    bytes_in: int               # http: of the body; tcp: from the client
    bytes_out: int              # to the client, heads included
    body_bytes: int             # of the answer's body
    duration: float             # seconds
    connect: float | None       # seconds; None: a connection was used again, or none was made
    first_byte: float | None    # seconds from sending the head to having the answer's
    attempts: int               # servers that were tried
    tries: tuple[Try, ...]      # the same one by one: of many, the first ones and the last
    reason: str                 # how it ended: "done", "client_gone", "timeout" ...
    user_agent: str
    referer: str
    request_id: str
    trace_id: str
    span_id: str                # of our own span; "" where nothing is traced
    parent_id: str              # of the span that the client named
    sampled: bool
    engine: int
    tls_sni: str = ""           # the name that the client asked for
    tls_version: str = ""       # "TLSv1.2" or "TLSv1.3"
    tls_client_subject: str = ""        # of its certificate, if that was verified
    tls_client_fingerprint: str = ""    # the same; SHA-256
    proxy_authority: str = ""   # what a trusted proxy told: the name that it was asked for
    proxy_unique_id: str = ""   # of the connection, there
    proxy_alpn: str = ""
    proxy_vpce: str = ""        # of AWS
    proxy_dst: str = ""         # "IP:PORT" that the client connected to
    facts: Mapping[str, str] = field(default_factory=dict)      # others that there are, by name

    @property
    def rate_limit(self) -> str:
        """The rate limit that has refused the request; "": none has."""
        return self.facts.get("rate_limit", "")
