"""Tables inside of keywords.

Made by `python -m fastlb.config.typed` from the model that checks a configuration, for type
checkers; docs/config.md has the meanings.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, TypedDict

if TYPE_CHECKING:
    from collections.abc import Mapping

    from fastlb.handles import RateLimit


class ConditionsKeys(TypedDict, total=False):
    protocol: str | list[str] | tuple[str, ...]
    mqtt: MqttKeys
    host: str | list[str] | tuple[str, ...]
    path: str | list[str] | tuple[str, ...]
    path_regex: str | list[str] | tuple[str, ...]
    method: str | list[str] | tuple[str, ...]
    client_ip: str | list[str] | tuple[str, ...]
    tls: SecuredKeys
    proxy: ToldKeys
    headers: Mapping[str, str | bool | list[str] | tuple[str, ...] | CompareKeys]
    query: Mapping[str, str | bool | list[str] | tuple[str, ...] | CompareKeys]
    cookies: Mapping[str, str | bool | list[str] | tuple[str, ...] | CompareKeys]
    json: Mapping[str, str | bool | list[str] | tuple[str, ...] | CompareKeys]
    form: Mapping[str, str | bool | list[str] | tuple[str, ...] | CompareKeys]
    client: ClientFactsKeys


_Not = TypedDict("_Not", {"not": ConditionsKeys}, total=False)


class MatchKeys(ConditionsKeys, _Not, total=False):
    pass


class TlsKeys(TypedDict, total=False):
    min_version: Literal['1.2', '1.3']
    max_version: Literal['1.2', '1.3']
    ciphers: str
    cipher_suites: str
    curves: str
    key_log: str
    certificates: list[CertificateKeys] | tuple[CertificateKeys, ...]
    alpn: str | list[str] | tuple[str, ...]
    client_auth: Literal['none', 'optional', 'required']
    client_ca: str
    client_crl: str
    client_depth: int
    tickets: TicketsKeys | bool
    unknown_name: Literal['first', 'refuse']
    max_handshakes: int
    max_handshakes_per_source: int
    handshake_timeout: str


class CertificateKeys(TypedDict, total=False):
    cert: str
    key: str
    password: str
    ocsp: str


class TicketsKeys(TypedDict, total=False):
    keys: list[str] | tuple[str, ...]
    rotate: str


class ProxyProtocolKeys(TypedDict, total=False):
    trusted: list[str] | tuple[str, ...]
    required: bool
    timeout: str


class ServerTlsKeys(TypedDict, total=False):
    min_version: Literal['1.2', '1.3']
    max_version: Literal['1.2', '1.3']
    ciphers: str
    cipher_suites: str
    curves: str
    key_log: str
    ca: str
    crl: str
    server_name: str
    verify: bool
    certificate: CertificateKeys
    alpn: str | list[str] | tuple[str, ...]


class HealthKeys(TypedDict, total=False):
    tcp: bool
    tls: bool
    http: str
    grpc: bool | str
    expect: str
    send: str
    udp: DatagramsKeys
    method: str
    host: str
    statuses: list[str] | tuple[str, ...]
    body: str
    port: int
    interval: str
    fast_interval: str
    timeout: str
    rise: int
    fall: int
    panic: str


class DatagramsKeys(TypedDict, total=False):
    send: str
    expect: str


class OutliersKeys(TypedDict, total=False):
    consecutive_failures: int
    error_rate: str
    latency: float
    interval: str
    min_requests: int
    ejection_time: str
    max_ejection_time: str
    max_ejected: str
    statuses: list[str] | tuple[str, ...]


class RetryKeys(TypedDict, total=False):
    attempts: int
    on: list[str] | tuple[str, ...]
    connect_failure: bool
    non_idempotent: bool
    budget: str


class HedgeKeys(TypedDict, total=False):
    delay: str
    percentile: str
    budget: str


class LimitsKeys(TypedDict, total=False):
    max_requests: int
    max_pending: int
    max_retries: int
    pending_timeout: str
    retry_after: str


class UnavailableKeys(TypedDict, total=False):
    status: int
    body: str
    content_type: str
    headers: Mapping[str, str]


class StickyKeys(TypedDict, total=False):
    cookie: str
    secret: str | list[str] | tuple[str, ...]
    max_age: str
    path: str
    domain: str
    secure: bool
    same_site: Literal['lax', 'strict', 'none']


class NearestKeys(TypedDict, total=False):
    country: Mapping[str, str | list[str] | tuple[str, ...]]
    continent: Mapping[str, str | list[str] | tuple[str, ...]]
    others: str | list[str] | tuple[str, ...]
    measured: bool


class SubsetKeys(TypedDict, total=False):
    size: int
    instance: int | str


class SecuredKeys(TypedDict, total=False):
    sni: str | bool | list[str] | tuple[str, ...] | CompareKeys
    version: str | bool | list[str] | tuple[str, ...] | CompareKeys
    client_subject: str | bool | list[str] | tuple[str, ...] | CompareKeys
    client_fingerprint: str | bool | list[str] | tuple[str, ...] | CompareKeys
    alpn: str | bool | list[str] | tuple[str, ...] | CompareKeys


class ToldKeys(TypedDict, total=False):
    authority: str | bool | list[str] | tuple[str, ...] | CompareKeys
    unique_id: str | bool | list[str] | tuple[str, ...] | CompareKeys
    alpn: str | bool | list[str] | tuple[str, ...] | CompareKeys
    vpce: str | bool | list[str] | tuple[str, ...] | CompareKeys
    dst: str | bool | list[str] | tuple[str, ...] | CompareKeys


class MqttKeys(TypedDict, total=False):
    client_id: str | bool | list[str] | tuple[str, ...] | CompareKeys
    username: str | bool | list[str] | tuple[str, ...] | CompareKeys
    level: str | list[str] | tuple[str, ...]


class ClientFactsKeys(TypedDict, total=False):
    network: str | list[str] | tuple[str, ...]
    country: str | bool | list[str] | tuple[str, ...] | CompareKeys
    continent: str | bool | list[str] | tuple[str, ...] | CompareKeys
    region: str | bool | list[str] | tuple[str, ...] | CompareKeys
    asn: str | bool | list[str] | tuple[str, ...] | CompareKeys


class CompareKeys(TypedDict, total=False):
    equals: str
    present: bool
    prefix: str | list[str] | tuple[str, ...]
    suffix: str | list[str] | tuple[str, ...]
    contains: str | list[str] | tuple[str, ...]
    regex: str | list[str] | tuple[str, ...]
    one_of: str | list[str] | tuple[str, ...]


class RedirectKeys(TypedDict, total=False):
    to: str
    status: Literal[301, 302, 303, 307, 308]
    keep_query: bool


class RespondKeys(TypedDict, total=False):
    status: int
    body: str
    content_type: str
    headers: Mapping[str, str]


class RewriteKeys(TypedDict, total=False):
    path: str
    host: str


class HeaderEditsKeys(TypedDict, total=False):
    set: Mapping[str, str]
    add: Mapping[str, str]
    remove: list[str] | tuple[str, ...]


class ErrorPageKeys(TypedDict, total=False):
    file: str
    body: str
    content_type: str


class NetworkRuleKeys(TypedDict, total=False):
    networks: str | list[str] | tuple[str, ...]
    report: bool


class RateLimitKeys(TypedDict, total=False):
    key: str
    limit: str
    burst: str | int
    cost: int | CostKeys
    plan: str | PlanKeys
    headers: Literal['draft', 'x-ratelimit', False]
    report: bool


class CostKeys(TypedDict, total=False):
    fixed: int
    header: str
    response_header: str


class PlanKeys(TypedDict, total=False):
    call: str
    cache_ttl: str
    deadline: str


class MirrorKeys(TypedDict, total=False):
    pool: str
    share: str


class CompressKeys(TypedDict, total=False):
    codings: list[str] | tuple[str, ...]
    min_size: str
    types: list[str] | tuple[str, ...]
    level: LevelsKeys
    personal: bool


class LevelsKeys(TypedDict, total=False):
    zstd: int
    br: int
    gzip: int


class ForwardedKeys(TypedDict, total=False):
    trusted: list[str] | tuple[str, ...]
    keep: list[str] | tuple[str, ...]
    headers: list[str] | tuple[str, ...]


class ConnectionRateKeys(TypedDict, total=False):
    limit: str
    burst: int
    report: bool


class TarpitKeys(TypedDict, total=False):
    timeout: str
    max_connections: int
    report: bool


_BanKeys = TypedDict("_BanKeys", {"for": str}, total=False)


class BanKeys(_BanKeys, total=False):
    networks: str
    after: str
    report: bool


class RequestRateKeys(TypedDict, total=False):
    limit: str
    grace: str
    report: bool


class GeoKeys(TypedDict, total=False):
    country: str
    city: str
    asn: str
    refresh: str
    overrides: Mapping[str, OverrideKeys]


class OverrideKeys(TypedDict, total=False):
    country: str
    continent: str
    region: str
    asn: int


class DefaultsKeys(TypedDict, total=False):
    tcp_nodelay: bool
    keepalive: KeepaliveKeys | Literal[False]
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
    idle_timeout: str
    connect_timeout: str
    buffer_size: str
    bulk_buffer_size: str


class KeepaliveKeys(TypedDict, total=False):
    idle: str
    interval: str
    count: int


class DnsKeys(TypedDict, total=False):
    nameservers: list[str] | tuple[str, ...]
    timeout: str
    refresh: str


class AccessLogKeys(TypedDict, total=False):
    path: str
    format: str
    fields: list[str] | tuple[str, ...]
    buffer: str


class TracingKeys(TypedDict, total=False):
    sample: str
    service: str


class AdminKeys(TypedDict, total=False):
    bind: str | list[str] | tuple[str, ...]
    token: str
    mode: str
    default_socket: bool
