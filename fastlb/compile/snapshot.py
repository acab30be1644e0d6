"""Everything that an engine needs to know, gathered into one immutable snapshot."""

from __future__ import annotations

import itertools
from array import array
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from fastlb._core.base.balancing import BALANCES
from fastlb._core.tables.caller import Caller
from fastlb._core.tables.contexts import TlsContext
from fastlb._core.tables.live import Live
from fastlb._core.tables.numbers import SESSIONS
from fastlb._core.tables.snapshot import Snapshot
from fastlb.compile.certificates import Contexts, listener_spec, pool_spec
from fastlb.compile.facts import FactSpec, fact_spec
from fastlb.compile.networks import AccessSpec, NetworksSpec, access_spec, networks_spec
from fastlb.compile.policies import PolicySpec, compile_policy
from fastlb.compile.pools import ring, sequence
from fastlb.compile.routes import HttpSpec, ReplySpec, compile_http, compile_reply
from fastlb.compile.sniffing import SniffSpec, compile_sniffing
from fastlb.compile.sticky import StickySpec, compile_sticky
from fastlb.compile.subset import subset
from fastlb.compile.templates import EditSpecs, compile_edits
from fastlb.config.effective import EffectiveListener, EffectivePool
from fastlb.config.effective_http import EffectiveHttp, EffectiveRoute
from fastlb.config.failing import EffectiveHedge, EffectiveOutliers, EffectiveRetry
from fastlb.config.geography import EffectiveNearest
from fastlb.config.limits import CLOSING_MS
from fastlb.config.proxy_protocol import EffectiveProxyProtocol
from fastlb.config.speeds import SpeedsSpec, speeds_spec
from fastlb.config.udp import EffectiveUdp

SocketAddress = tuple[str, int] | str       # (IP address, port), or a unix socket's path


@dataclass(frozen=True)
class ServerSpec:
    """One address of a pool. `name` is what logs and the ring know it by."""

    name: str
    address: SocketAddress
    weight: int
    max_connections: int
    priority: int = 0           # 0 comes first
    local: bool = True          # in our zone, or there are no zones
    state: str = "up"           # draining, maintenance
    tls_name: str = ""          # what its certificate has to name
    other: tuple[str, int] | None = None    # of the same server, where `address` refuses
    zone: str = ""              # where its pool has an order of zones


@dataclass(frozen=True)
class GroupSpec:
    """Servers of a pool that are picked among: `count` of them, from `first` on."""

    first: int
    count: int
    sequence: array[int] | None
    ring: tuple[array[int], array[int]] | None


@dataclass(frozen=True)
class NearestSpec:
    """The orders in which clients get a pool's groups, by countries and continents."""

    countries: Sequence[tuple[bytes, Sequence[int]]]
    continents: Sequence[tuple[bytes, Sequence[int]]]
    others: Sequence[int]


@dataclass(frozen=True)
class PoolSpec:
    name: str
    balance: str
    slow_start_ms: int
    bounded_load: float         # 0: none
    table_size: int             # of maglev
    hash_key: FactSpec
    keys: Mapping[str, int]     # plain ones; timers in ms
    tcp_nodelay: bool
    keepalive: tuple[int, int, int] | None
    servers: Sequence[ServerSpec]
    groups: Sequence[GroupSpec]
    nearest: NearestSpec | None
    sticky: StickySpec | None
    hedge: EffectiveHedge | None
    retry: EffectiveRetry
    outliers: EffectiveOutliers
    fallback: int               # -1: none
    unavailable: ReplySpec | None
    in_flight_max: int          # 0: no limit
    pending_max: int            # 0: nobody waits
    retries_max: int            # 0: no limit
    pending_timeout_ms: int
    retry_after_s: int
    tls: TlsContext | None = None
    speaks_h2: bool = False
    proxy_protocol: int = 0     # the version; 0: none
    request_edits: EditSpecs = ()
    response_edits: EditSpecs = ()


@dataclass(frozen=True)
class ProxySpec:
    """Whose headers of the PROXY protocol are believed."""

    trusted: NetworksSpec
    required: bool
    timeout_ms: int


@dataclass(frozen=True)
class UdpSpec:
    kind: int                   # SessionKind of base/sessions
    moves: bool
    source_max: int             # 0: no limit
    closing_timeout_ms: int
    receive_buffer: int         # bytes
    coalesce_us: int = 0


@dataclass(frozen=True)
class BindSpec:
    """One address of a listener, with one socket an engine, or one that they share."""

    id: int
    listener: str
    pool: int                   # -1: none
    http: HttpSpec | None
    shared: bool
    max_connections: int
    idle_timeout_ms: int
    buffer_size: int
    bulk_buffer_size: int
    fds: Sequence[int]
    policy: PolicySpec | None = None    # of tcp
    sniff: SniffSpec | None = None      # of tcp
    tls: TlsContext | None = None
    handshake_timeout_ms: int = 0
    udp: UdpSpec | None = None
    proxy: ProxySpec | None = None
    access: AccessSpec | None = None
    speeds: SpeedsSpec | None = None    # None: any speed


@dataclass(frozen=True)
class Opened:
    """The listening sockets of one address: what compile needs to know of them."""

    id: int
    listener: str
    shared: bool
    fds: Sequence[int]


def rank(server: ServerSpec) -> tuple[int, bool, str]:
    """Those that come first are smaller; those of equal rank make a group."""
    return server.priority, not server.local, server.zone


def groups(balance: str, servers: Sequence[ServerSpec]) -> list[GroupSpec]:
    """The groups of servers that are sorted by rank."""
    found: list[GroupSpec] = []
    for _, members in itertools.groupby(servers, key=rank):
        part = list(members)
        weights = [server.weight for server in part]
        names = [server.name for server in part]
        found.append(GroupSpec(
            first=sum(group.count for group in found),
            count=len(part),
            sequence=sequence(weights) if BALANCES[balance].in_turn else None,
            ring=ring(names, weights) if balance == "ring_hash" else None,
        ))
    return found


def compile_nearest(nearest: EffectiveNearest, servers: Sequence[ServerSpec]) -> NearestSpec:
    """The orders of the groups of servers that are sorted by rank: by priority, then as zones are
    listed; those that aren't come last, our own first."""
    ranks = [key for key, _ in itertools.groupby(servers, key=rank)]

    def order(zones: Sequence[str]) -> tuple[int, ...]:
        place = {zone: i for i, zone in enumerate(zones)}
        return tuple(sorted(range(len(ranks)), key=lambda i: (
            ranks[i][0], place.get(ranks[i][2], len(place)), ranks[i])))

    return NearestSpec(
        tuple((code.encode(), order(zones)) for code, zones in nearest.countries.items()),
        tuple((code.encode(), order(zones)) for code, zones in nearest.continents.items()),
        order(nearest.others))


def chosen(pool: EffectivePool, servers: list[ServerSpec]) -> list[ServerSpec]:
    """Those of a pool's servers that this process uses: of each rank so many as its subset has."""
    if pool.subset is None:
        return servers
    names: set[str] = set()
    for _, part in itertools.groupby(sorted(servers, key=rank), key=rank):
        names |= subset([s.name for s in part], pool.subset.size, pool.subset.instance)
    return [server for server in servers if server.name in names]


def compile_pool(
    pool: EffectivePool, servers: Sequence[ServerSpec], index: dict[str, int],
    contexts: Contexts | None = None,
) -> PoolSpec:
    servers = sorted(servers, key=rank)
    if pool.tls is not None and pool.tls.server_name:
        servers = [replace(server, tls_name=pool.tls.server_name) for server in servers]
    return PoolSpec(
        name=pool.name,
        balance=pool.balance,
        slow_start_ms=pool.slow_start_ms,
        bounded_load=pool.bounded_load,
        table_size=pool.table_size,
        hash_key=fact_spec(pool.hash_on or "client.ip"),
        keys=pool.keys,
        tcp_nodelay=pool.tcp_nodelay,
        keepalive=pool.keepalive,
        servers=servers,
        groups=groups(pool.balance, servers),
        nearest=compile_nearest(pool.nearest, servers) if pool.nearest is not None else None,
        sticky=compile_sticky(pool.sticky, pool.name, [server.name for server in servers])
        if pool.sticky is not None else None,
        hedge=pool.hedge,
        retry=pool.retry,
        outliers=pool.outliers,
        fallback=index[pool.fallback] if pool.fallback else -1,
        unavailable=compile_reply(pool.unavailable) if pool.unavailable is not None else None,
        tls=(contexts or Contexts()).of(
            pool_spec(pool.name, pool.tls), f"pools.{pool.name}")
        if pool.tls is not None else None,
        speaks_h2=pool.protocol == "h2",
        proxy_protocol=int(pool.proxy_protocol[1:] or 0),
        request_edits=compile_edits(pool.request_headers),
        response_edits=compile_edits(pool.response_headers),
        **vars(pool.limits),
    )


def _proxied(proxy: EffectiveProxyProtocol) -> ProxySpec:
    return ProxySpec(networks_spec(proxy.trusted), proxy.required, proxy.timeout_ms)


def _http(
    listener: EffectiveListener, http: EffectiveHttp, index: dict[str, int],
    callers: Mapping[str, Caller],
) -> HttpSpec:
    """The listener's own pool is where no route fits; without one, that is a 404."""
    fallback = None
    if listener.pool:
        fallback = EffectiveRoute(
            name="",
            pool=listener.pool,
            response_header_timeout_ms=http.response_header_timeout_ms,
            request_timeout_ms=http.request_timeout_ms,
            body_idle_timeout_ms=http.body_idle_timeout_ms,
            websocket_timeout_ms=http.websocket_timeout_ms,
            max_body_bytes=http.body_bytes_max,
            on_client_close=http.on_client_close,
            services=http.services,
            response_headers=http.response_headers,
        )
    routes = tuple(
        replace(route, pool=listener.pool)
        if route.policy is not None and not (route.pool or route.split) else route
        for route in http.routes
    )
    return compile_http(replace(http, routes=routes), fallback, index.__getitem__, callers)


def _udp(udp: EffectiveUdp) -> UdpSpec:
    kind = "client"
    if udp.each:
        kind = {0: "server", 1: "query"}.get(udp.answers, "pair")
    return UdpSpec(
        SESSIONS[kind], udp.moves, udp.source_max, CLOSING_MS, udp.receive_buffer, udp.coalesce_us)


def compile_snapshot(
    live: Live,
    listeners: Sequence[EffectiveListener],
    pools: Sequence[EffectivePool],
    servers: dict[str, list[ServerSpec]],
    opened: Sequence[Opened],
    max_connections: int,
    max_sessions: int,
    callers: Mapping[str, Mapping[str, Caller]],
    contexts: Contexts | None = None,
) -> Snapshot:
    """A snapshot of `pools` with these servers, and of the listeners whose sockets are opened.
    `callers` are the policies, by listener and route. `contexts` are what a process has for TLS, so
    that what stays the same isn't made again."""
    contexts = contexts or Contexts()
    index = {pool.name: i for i, pool in enumerate(pools)}
    by_name = {listener.name: listener for listener in listeners}
    https = {
        listener.name: _http(listener, listener.http, index, callers.get(listener.name, {}))
        for listener in listeners
        if listener.http is not None
    }
    first: dict[str, int] = {}              # by listener: its first bind
    for i, sockets in enumerate(opened):
        first.setdefault(sockets.listener, i)
    binds = []
    for sockets in opened:
        listener = by_name[sockets.listener]
        binds.append(
            BindSpec(
                id=sockets.id,
                listener=listener.name,
                pool=index[listener.pool] if listener.pool else -1,
                http=https.get(listener.name),
                shared=sockets.shared,
                max_connections=listener.udp.sessions_max if listener.udp is not None
                else listener.max_connections,
                idle_timeout_ms=listener.idle_timeout_ms,
                buffer_size=listener.buffer_size,
                bulk_buffer_size=listener.bulk_buffer_size,
                fds=sockets.fds,
                policy=compile_policy(
                    listener.policy, (), index.__getitem__, callers[listener.name][""])
                if listener.policy is not None else None,
                sniff=compile_sniffing(
                    listener.sniffing, index.__getitem__, first, callers.get(listener.name, {}))
                if listener.sniffing is not None else None,
                tls=contexts.of(
                    listener_spec(listener.name, listener.tls), f"listeners.{listener.name}")
                if listener.tls is not None else None,
                handshake_timeout_ms=listener.tls.handshake_timeout_ms if listener.tls else 0,
                udp=_udp(listener.udp) if listener.udp is not None else None,
                proxy=_proxied(listener.proxy_protocol)
                if listener.proxy_protocol is not None else None,
                access=access_spec(listener),
                speeds=speeds_spec(listener.speeds) if listener.speeds is not None else None,
            )
        )
    specs = [compile_pool(pool, servers[pool.name], index, contexts) for pool in pools]
    return Snapshot(live, specs, binds, max_connections, max_sessions)
