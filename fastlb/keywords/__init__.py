"""Keywords of `Balancer` and of its methods, and of `Listener.route()`.

Made by `python -m fastlb.config.typed` from the model that checks a configuration, for type
checkers; docs/config.md has the meanings.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, TypedDict

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from fastlb.config.failing import Retry
    from fastlb.config.health import Health
    from fastlb.handles import Networks, RateLimit
    from fastlb.keywords.tables import (
        AccessLogKeys,
        AdminKeys,
        BanKeys,
        CompressKeys,
        ConnectionRateKeys,
        CostKeys,
        DefaultsKeys,
        DnsKeys,
        ErrorPageKeys,
        ForwardedKeys,
        GeoKeys,
        HeaderEditsKeys,
        HealthKeys,
        HedgeKeys,
        KeepaliveKeys,
        LimitsKeys,
        MatchKeys,
        MirrorKeys,
        NearestKeys,
        NetworkRuleKeys,
        OutliersKeys,
        PlanKeys,
        ProxyProtocolKeys,
        RateLimitKeys,
        RedirectKeys,
        RequestRateKeys,
        RespondKeys,
        RetryKeys,
        RewriteKeys,
        ServerTlsKeys,
        StickyKeys,
        SubsetKeys,
        TarpitKeys,
        TlsKeys,
        TracingKeys,
        UnavailableKeys,
    )


class PolicyKeywords(TypedDict, total=False):
    deadline: str
    cache_on: str
    cache_ttl: str
    blocking: bool
    max_pending: int
    body: str
    first_bytes: str
    first_bytes_timeout: str


class PolicyKeys(PolicyKeywords, total=False):
    call: str | Callable[..., Any]
    on_error: str


class OwnRouteKeys(TypedDict, total=False):
    order: int
    split: Mapping[str, int]
    listener: str
    redirect: str | RedirectKeys
    respond: RespondKeys
    split_on: str
    hash_on: str
    rewrite: RewriteKeys
    request_headers: HeaderEditsKeys
    response_headers: HeaderEditsKeys
    errors: Mapping[str, ErrorPageKeys | list[ErrorPageKeys] | tuple[ErrorPageKeys, ...]]
    priority: Literal['high', 'normal', 'low']
    retry: Retry | RetryKeys
    response_header_timeout: str
    request_timeout: str
    body_idle_timeout: str
    websocket_timeout: str
    max_body_size: str
    on_client_close: Literal['cancel', 'cancel_on_fin', 'drain']
    deny: str | Networks | list[str | Networks] | tuple[str | Networks, ...] | NetworkRuleKeys
    allow: str | Networks | list[str | Networks] | tuple[str | Networks, ...] | NetworkRuleKeys
    rate_limit: (
        str | RateLimit | RateLimitKeys
        | list[str | RateLimit | RateLimitKeys] | tuple[str | RateLimit | RateLimitKeys, ...]
    )
    mirror: str | MirrorKeys
    compress: CompressKeys | bool


class RouteKeys(OwnRouteKeys, total=False):
    name: str
    match: MatchKeys
    pool: str
    policy: str | PolicyKeys


class PoolKeywords(TypedDict, total=False):
    tcp_nodelay: bool
    keepalive: KeepaliveKeys | Literal[False]
    request_headers: HeaderEditsKeys
    response_headers: HeaderEditsKeys
    hash_on: str
    bounded_load: float
    table_size: int
    slow_start: str
    sticky: StickyKeys
    nearest: NearestKeys
    subset: SubsetKeys
    health: Health | HealthKeys
    outliers: OutliersKeys
    retry: Retry | RetryKeys
    hedge: HedgeKeys
    fallback: str
    unavailable: UnavailableKeys
    max_idle_connections: int
    max_response_header_size: str
    idle_connection_timeout: str
    max_connection_age: str
    max_connection_requests: int
    max_h2_window: str
    connect_timeout: str
    tls: ServerTlsKeys | bool
    protocol: Literal['http/1.1', 'h2']
    proxy_protocol: Literal['v1', 'v2']
    limits: LimitsKeys


class ListenKeywords(TypedDict, total=False):
    tcp_nodelay: bool
    keepalive: KeepaliveKeys | Literal[False]
    deny: str | Networks | list[str | Networks] | tuple[str | Networks, ...] | NetworkRuleKeys
    allow: str | Networks | list[str | Networks] | tuple[str | Networks, ...] | NetworkRuleKeys
    max_connections_per_source: int
    max_connection_rate_per_source: str | ConnectionRateKeys
    tarpit: str | TarpitKeys
    ban: BanKeys
    max_upload_rate: str
    max_download_rate: str
    sniff_timeout: str
    sniff_whole_timeout: str
    request_header_timeout: str
    response_header_timeout: str
    request_timeout: str
    body_idle_timeout: str
    keepalive_timeout: str
    websocket_timeout: str
    request_headers: HeaderEditsKeys
    response_headers: HeaderEditsKeys
    errors: Mapping[str, ErrorPageKeys | list[ErrorPageKeys] | tuple[ErrorPageKeys, ...]]
    rate_limit: (
        str | RateLimit | RateLimitKeys
        | list[str | RateLimit | RateLimitKeys] | tuple[str | RateLimit | RateLimitKeys, ...]
    )
    compress: CompressKeys | bool
    max_sessions: int
    max_sessions_per_source: int
    max_session_rate_per_source: str | ConnectionRateKeys
    pick: Literal['session', 'datagram']
    answers: int
    on_server_down: Literal['move', 'keep']
    coalesce: str
    receive_buffer_size: str
    routes: list[RouteKeys] | tuple[RouteKeys, ...]
    max_header_size: str
    max_headers: int
    min_request_rate: str | RequestRateKeys
    max_uri_length: str
    max_body_size: str
    max_requests: int
    max_h2_window: str
    forwarded: ForwardedKeys
    request_id: bool
    traceparent: bool
    via: str
    error_header: str
    max_discard_size: str
    on_client_close: Literal['cancel', 'cancel_on_fin', 'drain']
    h2c: bool
    merge_slashes: bool | Literal['match', 'rewrite', 'off']
    underscores: Literal['drop', 'keep', 'refuse']
    path_parameters: Literal['pass', 'refuse']
    methods: list[str] | tuple[str, ...]
    max_match_body: str
    tls: TlsKeys
    proxy_protocol: ProxyProtocolKeys
    policy: str | PolicyKeys
    max_connections: int
    idle_timeout: str
    backlog: int
    buffer_size: str
    bulk_buffer_size: str
    reuse_port: bool
    mode: str


class RateLimitKeywords(TypedDict, total=False):
    key: str
    burst: str | int
    cost: int | CostKeys
    plan: str | PlanKeys
    headers: Literal['draft', 'x-ratelimit', False]
    report: bool


class NetworksKeywords(TypedDict, total=False):
    cidrs: str | list[str] | tuple[str, ...]
    file: str
    url: str
    refresh: str
    timeout: str
    ca: str
    saved_copy: str
    required: bool


class BalancerKeywords(TypedDict, total=False):
    shutdown_timeout: str
    shutdown_delay: str
    shutdown_idle_timeout: str
    max_connections: int
    max_sessions: int
    busy_poll: bool
    zone: str
    admin: AdminKeys | Literal[False]
    access_log: AccessLogKeys
    tracing: TracingKeys
    dns: DnsKeys
    defaults: DefaultsKeys
    geo: GeoKeys


class RouteKeywords(PolicyKeywords, OwnRouteKeys, total=False):
    pass
