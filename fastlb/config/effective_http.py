"""What holds in the end for an http listener and its routes."""

from __future__ import annotations

from dataclasses import dataclass, field

from fastlb.config import limits
from fastlb.config.failing import EffectiveRetry
from fastlb.config.pages import EffectivePage
from fastlb.config.parts import Services
from fastlb.config.policy import EffectivePolicy
from fastlb.config.proxy_protocol import Network
from fastlb.config.sources import EffectiveRequestRate


@dataclass(frozen=True)
class Condition:
    """Something that a request must have, or with `negate` must not have."""

    kind: str                   # host, path, method, header, query, cookie, json, form
    name: str
    op: str                     # present, equals, prefix, suffix, contains, regex, pattern
    value: str
    negate: bool


@dataclass(frozen=True)
class HeaderOp:
    op: str                     # set, add, remove
    name: str
    value: str                  # a template, as it was written


def over(lower: tuple[HeaderOp, ...], upper: tuple[HeaderOp, ...]) -> tuple[HeaderOp, ...]:
    """Changes of two levels: the upper one has the last word of each field that it sets or
    removes. A name with underscores is that with dashes, as in the core."""
    decided = {_dashed(op.name) for op in upper if op.op != "add"}
    return (*(op for op in lower if _dashed(op.name) not in decided), *upper)


def _dashed(name: str) -> str:
    return name.lower().replace("_", "-")


@dataclass(frozen=True)
class Respond:
    status: int
    content_type: str
    headers: tuple[tuple[str, str], ...]
    body: bytes


@dataclass(frozen=True)
class EffectiveRoute:
    """One route, with what it takes over from its listener and the defaults."""

    name: str
    host: str = ""              # "*.example.com" is what lies below
    path: str = ""
    path_regex: str = ""
    order: int = 0
    methods: tuple[str, ...] = ()
    conditions: tuple[Condition, ...] = ()
    pool: str = ""
    split: tuple[tuple[str, int], ...] = ()
    split_on: str = ""
    redirect: tuple[int, str] | None = None
    keep_query: bool = True
    respond: Respond | None = None
    hash_on: str = ""
    rewrite_path: str = ""
    rewrite_host: str = ""
    request_headers: tuple[HeaderOp, ...] = ()
    response_headers: tuple[HeaderOp, ...] = ()     # over those of the listener
    errors: tuple[EffectivePage, ...] = ()
    services: Services = ()
    response_header_timeout_ms: int = 60_000
    request_timeout_ms: int = 0
    body_idle_timeout_ms: int = 60_000
    websocket_timeout_ms: int = 3_600_000
    max_body_bytes: int = 0     # 0: no limit
    on_client_close: str = "cancel"
    retry: EffectiveRetry | None = None
    priority: str = "normal"
    policy: EffectivePolicy | None = None


@dataclass(frozen=True)
class EffectiveHttp:
    """What makes a listener one of http. `routes` are in the order in which they are tried."""

    request_header_timeout_ms: int = 10_000
    response_header_timeout_ms: int = 60_000
    request_timeout_ms: int = 0
    body_idle_timeout_ms: int = 60_000
    keepalive_timeout_ms: int = 75_000
    websocket_timeout_ms: int = 3_600_000
    shutdown_idle_ms: int = 1_000
    header_bytes_max: int = 32 << 10
    headers_max: int = 100
    request_rate: EffectiveRequestRate | None = None
    uri_bytes_max: int = 8 << 10
    body_bytes_max: int = 0
    requests_max: int = 0
    h2_window_max: int = limits.MAX_H2_WINDOW.default
    trusted: tuple[Network, ...] = ()
    forwarded: tuple[str, ...] = ("x-forwarded-for", "x-forwarded-proto", "x-forwarded-host")
    request_id: bool = True
    traceparent: bool = False
    via: str = ""
    error_header: str = "x-fastlb-error"
    on_client_close: str = "cancel"
    discard_bytes_max: int = 64 << 20
    merge_slashes: str = "match"        # "rewrite", "off"
    underscores: str = "drop"           # "keep", "refuse"
    refuse_parameters: bool = False
    methods: tuple[str, ...] = ()       # (): any
    kept_claims: tuple[str, ...] = ()
    h2c: bool = False
    match_body_bytes: int = 64 << 10
    request_headers: tuple[HeaderOp, ...] = ()      # over those of the defaults
    default_response_headers: tuple[HeaderOp, ...] = ()
    response_headers: tuple[HeaderOp, ...] = ()     # the listener's own
    errors: tuple[EffectivePage, ...] = ()          # its own, then those of the defaults
    services: Services = ()
    routes: tuple[EffectiveRoute, ...] = field(default_factory=tuple)
