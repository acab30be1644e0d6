"""What holds in the end: every value of every listener and pool, and where it came from.

Precedence: the listener's or pool's own value, then `[defaults]`, then what is built in.
"""

from __future__ import annotations

import socket
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from fastlb.config import limits
from fastlb.config.address import OVER_TLS, Address, parse_bind, parse_nameserver, parse_server
from fastlb.config.admin import Admin, EffectiveAdmin, effective_admin
from fastlb.config.base import Model
from fastlb.config.check_routes import HASHES
from fastlb.config.cpus import auto_threads
from fastlb.config.effective_http import EffectiveHttp, HeaderOp, Respond
from fastlb.config.effective_routes import edits_of, effective_http, effective_respond
from fastlb.config.effective_sniffing import EffectiveSniffing, effective_sniffing
from fastlb.config.effective_tls import (
    EffectiveServerTls,
    EffectiveTls,
    effective_server_tls,
    effective_tls,
)
from fastlb.config.failing import (
    LIMITS,
    OUTLIERS,
    RETRY,
    EffectiveHedge,
    EffectiveLimits,
    EffectiveOutliers,
    EffectiveRetry,
    effective_hedge,
    effective_limits,
    effective_outliers,
    effective_retry,
)
from fastlb.config.geography import (
    EffectiveGeo,
    EffectiveNearest,
    effective_geo,
    effective_nearest,
)
from fastlb.config.health import EffectiveHealth, effective_health
from fastlb.config.keepalive import Keepalive
from fastlb.config.model import Config, Defaults, Dns, Listener, Pool, Server, Subset
from fastlb.config.networks import (
    EffectiveNetworks,
    EffectiveRule,
    effective_networks,
    effective_rule,
)
from fastlb.config.observing import (
    EffectiveAccessLog,
    EffectiveTracing,
    effective_access_log,
    effective_tracing,
)
from fastlb.config.plain import plain_numbers
from fastlb.config.plan import EffectivePlan
from fastlb.config.policy import EffectivePolicy, effective_policy
from fastlb.config.proxy_protocol import EffectiveProxyProtocol, effective_proxy_protocol
from fastlb.config.rate_limits import EffectiveRateLimit
from fastlb.config.sniffing import SniffKeys
from fastlb.config.sources import (
    EffectiveBan,
    EffectiveConnectionRate,
    EffectiveTarpit,
    SourceKeys,
    effective_ban,
    effective_connection_rate,
    effective_tarpit,
)
from fastlb.config.speeds import EffectiveSpeeds, SpeedKeys, effective_speeds
from fastlb.config.sticky import EffectiveSticky, effective_sticky
from fastlb.config.udp import KEYS as UDP_KEYS
from fastlb.config.udp import EffectiveUdp, effective_udp
from fastlb.config.units import duration_ms, show_bytes, show_ms, size_bytes

# key -> "listener", "pool", "given" (at the top), "defaults" or "built in"
Origins = dict[str, str]


@dataclass(frozen=True)
class EffectiveServer:
    address: Address
    refresh_ms: int | None      # of a name; None: as its TTL says
    weight: int
    max_connections: int        # 0: no limit
    priority: int = 0
    zone: str = ""
    state: str = "up"

    @property
    def name(self) -> str:
        """The address as in a configuration."""
        return str(self.address)

    def as_json(self) -> dict[str, Any]:
        """As a table of a configuration, without what is built in."""
        usual = EffectiveServer(self.address, None, 1, 0)
        return {"address": self.name, **{
            key: getattr(self, key)
            for key in ("weight", "max_connections", "priority", "zone", "state")
            if getattr(self, key) != getattr(usual, key)
        }}


@dataclass(frozen=True)
class EffectiveSubset:
    size: int
    instance: int | str


@dataclass(frozen=True)
class EffectivePool:
    name: str
    balance: str
    hash_on: str                # "" where nothing is hashed
    keys: Mapping[str, int]     # the plain ones, by their names in the core
    tcp_nodelay: bool
    keepalive: tuple[int, int, int] | None      # idle (s), interval (s), count
    servers: list[EffectiveServer]
    bounded_load: float = 0.0                                   # 0: none
    slow_start_ms: int = 0
    sticky: EffectiveSticky | None = None
    subset: EffectiveSubset | None = None
    nearest: EffectiveNearest | None = None
    table_size: int = limits.TABLE_SIZE.default
    health: EffectiveHealth | None = None
    outliers: EffectiveOutliers = OUTLIERS
    retry: EffectiveRetry = RETRY
    limits: EffectiveLimits = LIMITS
    hedge: EffectiveHedge | None = None
    fallback: str = ""
    unavailable: Respond | None = None
    tls: EffectiveServerTls | None = None
    protocol: str = "http/1.1"
    proxy_protocol: str = ""                                    # "v1", "v2"; "": none
    request_headers: tuple[HeaderOp, ...] = ()
    response_headers: tuple[HeaderOp, ...] = ()
    origins: Origins = field(default_factory=dict, compare=False)


@dataclass(frozen=True)
class EffectiveListener:
    name: str
    binds: list[Address]
    pool: str
    max_connections: int        # 0: no limit
    idle_timeout_ms: int        # 0: none
    backlog: int
    tcp_nodelay: bool
    keepalive: tuple[int, int, int] | None
    buffer_size: int
    bulk_buffer_size: int
    reuse_port: bool
    mode: int | None            # of a unix socket
    scheme: str = "tcp"         # or "http" or "udp": what is spoken, over TLS where there is `tls`
    tls: EffectiveTls | None = None
    http: EffectiveHttp | None = None
    policy: EffectivePolicy | None = None       # of tcp and udp
    udp: EffectiveUdp | None = None
    sniffing: EffectiveSniffing | None = None   # of tcp: where somebody asks what clients speak
    proxy_protocol: EffectiveProxyProtocol | None = None
    deny: EffectiveRule | None = None
    allow: EffectiveRule | None = None
    source_max: int = 0         # connections of one source; 0: no limit
    source_rate: EffectiveConnectionRate | None = None
    tarpit: EffectiveTarpit | None = None
    ban: EffectiveBan | None = None
    speeds: EffectiveSpeeds | None = None       # None: any speed
    origins: Origins = field(default_factory=dict, compare=False)

    @property
    def policies(self) -> list[tuple[str, EffectivePolicy]]:
        """Its own, by "", and those of its routes by their names, each once."""
        found: dict[str, EffectivePolicy] = {}
        for route in self.http.routes if self.http is not None else ():
            if route.policy is not None:
                found[route.name] = route.policy
        for one in self.sniffing.routes if self.sniffing is not None else ():
            if one.policy is not None:
                found[one.name] = one.policy
        return [*([("", self.policy)] if self.policy else []), *found.items()]

    @property
    def plans(self) -> list[tuple[EffectiveRateLimit, EffectivePlan]]:
        """Rate limits of it and its routes whose keys have limits of their own, each once."""
        http = self.http
        places = (http.services, *(one.services for one in http.routes)) if http is not None else ()
        return list({limit.name: (limit, limit.plan) for services in places
                     for limit in dict(services).get("rate_limit") or ()
                     if limit.plan is not None}.values())

    @property
    def target(self) -> str:
        """Where clients go, in words: its pool, or the number of its routes."""
        n = len({route.name for part in (self.http, self.sniffing) if part is not None
                 for route in part.routes})
        return self.pool or f"{n} route{'' if n == 1 else 's'}"

    @property
    def written_scheme(self) -> str:
        """As in a bind: "https" of http over TLS."""
        return self.binds[0].scheme or self.scheme


@dataclass(frozen=True)
class EffectiveDns:
    nameservers: tuple[tuple[str, int], ...]    # empty: those of /etc/resolv.conf
    timeout_ms: int
    refresh_ms: int | None      # None: as the TTL says
    origins: Origins = field(default_factory=dict, compare=False)


@dataclass(frozen=True)
class Effective:
    threads: int
    shutdown_timeout_ms: int
    shutdown_delay_ms: int
    shutdown_idle_ms: int
    max_connections: int        # 0: no limit
    sessions_max: int           # of udp; 0: no limit
    busy_poll: bool
    zone: str                   # "": none
    dns: EffectiveDns
    listeners: list[EffectiveListener]
    pools: list[EffectivePool]
    networks: tuple[EffectiveNetworks, ...] = ()
    geo: EffectiveGeo | None = None
    access_log: EffectiveAccessLog | None = None
    tracing: EffectiveTracing | None = None
    admin: EffectiveAdmin | None = None
    origins: Origins = field(default_factory=dict, compare=False)

    def accepting(self, listener: EffectiveListener) -> list[EffectiveListener]:
        """Where its clients come in: itself, and those that hand connections over to it."""
        return [one for one in self.listeners if one is listener or (
            one.sniffing is not None
            and any(route.listener == listener.name for route in one.sniffing.routes))]


class _Chain:
    """Looks a key up in its own table, the defaults, and what is built in; notes where it was."""

    def __init__(self, kind: str, own: Listener | Pool, defaults: Defaults) -> None:
        self._sources = ((kind, own), ("defaults", defaults))
        self.origins: Origins = {}

    def __call__(self, key: str, built_in: Any) -> Any:
        for name, source in self._sources:
            value = getattr(source, key, None)
            if value is not None and key in source.model_fields_set:
                self.origins[key] = name
                return value
        self.origins[key] = "built in"
        return built_in


def effective(config: Config) -> Effective:
    """Every value that a running balancer needs, as numbers."""
    dns = _dns(config.dns)
    threads = auto_threads() if config.threads == "auto" else int(config.threads)
    listeners = [_listener(name, one, config) for name, one in config.listeners.items()]
    return Effective(
        threads=threads,
        shutdown_timeout_ms=duration_ms(config.shutdown_timeout),
        shutdown_delay_ms=duration_ms(config.shutdown_delay),
        shutdown_idle_ms=duration_ms(config.shutdown_idle_timeout),
        max_connections=config.max_connections or 0,
        sessions_max=_sessions_max(config),
        busy_poll=config.busy_poll,
        zone=config.zone or "",
        dns=dns,
        listeners=listeners,
        pools=[_pool(n, v, config.defaults, dns) for n, v in config.pools.items()],
        networks=tuple(effective_networks(n, one) for n, one in config.networks.items()),
        geo=effective_geo(config.geo) if config.geo is not None else None,
        access_log=None if config.access_log is None else effective_access_log(
            config.access_log, any(map(_has_limits, listeners))),
        tracing=None if config.tracing is None else effective_tracing(config.tracing),
        admin=effective_admin(config.admin) if isinstance(config.admin, Admin) else None,
        origins=_given(
            config, "threads", "shutdown_timeout", "shutdown_delay", "shutdown_idle_timeout",
            "max_connections", "max_sessions", "busy_poll", "zone", "admin"
        ),
    )


def _has_limits(listener: EffectiveListener) -> bool:
    http = listener.http
    if http is None:
        return False
    services = [http.services, *(route.services for route in http.routes)]
    return any(dict(one).get("rate_limit") for one in services)


def _sessions_max(config: Config) -> int:
    most = config.max_connections or 0
    if config.max_sessions is not None:
        return config.max_sessions
    schemes = {parse_bind(bind).scheme for one in config.listeners.values() for bind in one.bind}
    return most if schemes <= {"udp"} else (most + 1) // 2


def _given(model: Model, *keys: str) -> Origins:
    return {key: "given" if key in model.model_fields_set else "built in" for key in keys}


def _keepalive(value: Keepalive | bool) -> tuple[int, int, int] | None:
    if not isinstance(value, Keepalive):
        return None
    return (
        max(duration_ms(value.idle) // 1000, 1),
        max(duration_ms(value.interval) // 1000, 1),
        value.count,
    )


def _listener(name: str, listener: Listener, config: Config) -> EffectiveListener:
    look = _Chain("listener", listener, config.defaults)
    written = parse_bind(listener.bind[0]).scheme or "tcp"
    scheme = OVER_TLS.get(written, written)
    for key in ("reuse_port", "mode", "tls", *SourceKeys.model_fields,
                *(UDP_KEYS if scheme == "udp" else ()),
                *((*SniffKeys.model_fields, *SpeedKeys.model_fields)
                  if scheme == "tcp" else ())):
        look.origins[key] = "listener" if key in listener.model_fields_set else "built in"
    idle = limits.IDLE_TIMEOUT
    if scheme == "udp":
        idle = limits.UDP_IDLE_TIMEOUT if listener.answers is None else limits.QUERY_TIMEOUT
    return EffectiveListener(
        name=name,
        binds=[parse_bind(bind) for bind in listener.bind],
        pool=listener.pool or "",
        max_connections=look("max_connections", 0),
        idle_timeout_ms=duration_ms(look("idle_timeout", show_ms(idle.default))),
        backlog=look("backlog", limits.BACKLOG.default),
        tcp_nodelay=look("tcp_nodelay", limits.TCP_NODELAY.default),
        keepalive=_keepalive(look("keepalive", limits.KEEPALIVE.default)),
        buffer_size=size_bytes(look("buffer_size", show_bytes(limits.BUFFER_SIZE.default))),
        bulk_buffer_size=size_bytes(
            look("bulk_buffer_size", show_bytes(limits.BULK_BUFFER_SIZE.default))
        ),
        reuse_port=listener.reuse_port,
        mode=int(listener.mode, 8) if listener.mode is not None else None,
        scheme=scheme,
        tls=effective_tls(listener.tls, scheme) if listener.tls is not None else None,
        http=replace(effective_http(name, listener, look, config),
                     shutdown_idle_ms=duration_ms(config.shutdown_idle_timeout))
        if scheme == "http" else None,
        udp=effective_udp(name, listener) if scheme == "udp" else None,
        policy=effective_policy(listener.policy) if listener.policy is not None else None,
        sniffing=effective_sniffing(listener, written, config.pools) if scheme == "tcp" else None,
        proxy_protocol=effective_proxy_protocol(listener.proxy_protocol)
        if listener.proxy_protocol is not None else None,
        deny=effective_rule(listener.deny),
        allow=effective_rule(listener.allow),
        source_max=listener.max_connections_per_source,
        source_rate=effective_connection_rate(
            f"{name}:connections", listener.max_connection_rate_per_source),
        tarpit=effective_tarpit(listener.tarpit),
        ban=effective_ban(listener.ban),
        speeds=effective_speeds(listener),
        origins=look.origins,
    )


def _pool(name: str, pool: Pool, defaults: Defaults, dns: EffectiveDns) -> EffectivePool:
    look = _Chain("pool", pool, defaults)
    hashes = pool.balance in HASHES
    keys = plain_numbers(Pool, look)
    for key in Pool.model_fields:
        if key not in Defaults.model_fields:
            look.origins[key] = "pool" if key in pool.model_fields_set else "built in"
    if hashes:
        look.origins["hash_on"] = "pool" if pool.hash_on else "built in"
    return EffectivePool(
        name=name,
        balance=pool.balance,
        hash_on=(pool.hash_on or limits.HASH_ON.default) if hashes else "",
        keys=keys,
        tcp_nodelay=look("tcp_nodelay", limits.TCP_NODELAY.default),
        keepalive=_keepalive(look("keepalive", limits.KEEPALIVE.default)),
        servers=[effective_server(server, dns) for server in pool.servers],
        bounded_load=pool.bounded_load or 0.0,
        table_size=pool.table_size,
        slow_start_ms=duration_ms(pool.slow_start),
        sticky=effective_sticky(pool.sticky) if pool.sticky is not None else None,
        subset=_subset(pool.subset) if pool.subset is not None else None,
        nearest=effective_nearest(pool.nearest),
        health=effective_health(pool.health, pool.protocol, pool.proxy_protocol)
        if pool.health is not None else None,
        outliers=effective_outliers(pool.outliers),
        retry=effective_retry(pool.retry),
        limits=effective_limits(pool.limits),
        hedge=effective_hedge(pool.hedge) if pool.hedge is not None else None,
        fallback=pool.fallback or "",
        unavailable=effective_respond(pool.unavailable) if pool.unavailable is not None else None,
        tls=effective_server_tls(pool.tls, pool.protocol),
        protocol=pool.protocol,
        proxy_protocol=pool.proxy_protocol or "",
        request_headers=edits_of(pool.request_headers),
        response_headers=edits_of(pool.response_headers),
        origins=look.origins,
    )


def effective_server(server: Server, dns: EffectiveDns) -> EffectiveServer:
    where = server.address if server.address is not None else server.dns
    assert where is not None            # check.py has seen to it
    refresh_ms = dns.refresh_ms
    if server.refresh is not None:
        refresh_ms = _refresh(server.refresh)
    return EffectiveServer(
        address=parse_server(where),
        refresh_ms=refresh_ms,
        weight=server.weight,
        max_connections=server.max_connections or 0,
        priority=server.priority,
        zone=server.zone or "",
        state=server.state,
    )


def _subset(subset: Subset) -> EffectiveSubset:
    instance = subset.instance
    return EffectiveSubset(subset.size, socket.gethostname() if instance is None else instance)


def _refresh(text: str) -> int | None:
    return None if text == "ttl" else duration_ms(text)


def _dns(dns: Dns) -> EffectiveDns:
    return EffectiveDns(
        nameservers=tuple(parse_nameserver(text) for text in dns.nameservers),
        timeout_ms=duration_ms(dns.timeout),
        refresh_ms=_refresh(dns.refresh),
        origins=_given(dns, "nameservers", "timeout", "refresh"),
    )
