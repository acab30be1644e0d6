"""The typed model of a configuration. Names of fields are the keys of TOML and of Python.

Values stay as they were written ("500ms"); `effective` makes numbers of them.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field, WithJsonSchema

from fastlb._core.base.balancing import BALANCES
from fastlb.config import limits as bounds  # `limits` is a pool's key
from fastlb.config.address import (
    BIND,
    DNS_NAME,
    NAMESERVER,
    SERVER,
    parse_bind,
    parse_nameserver,
    parse_server,
)
from fastlb.config.admin import Admin
from fastlb.config.base import Duration, Mode, Model, Size, Switch, Whole, as_list
from fastlb.config.failing import Hedge, Limits, Outliers, Retry
from fastlb.config.geography import Geo, Nearest
from fastlb.config.health import Health
from fastlb.config.http import HashKey, HttpKeys, HttpListener, HttpPool, PoolName, Unavailable
from fastlb.config.keepalive import Keepalive
from fastlb.config.networks import Networks
from fastlb.config.observing import AccessLog, Tracing
from fastlb.config.plain import Plain
from fastlb.config.policy import AnyPolicy
from fastlb.config.proxy_protocol import Outgoing, ProxyProtocol
from fastlb.config.rate_limits import RateLimit
from fastlb.config.sniffing import SniffKeys
from fastlb.config.sources import SourceKeys
from fastlb.config.speeds import SpeedKeys
from fastlb.config.sticky import Sticky
from fastlb.config.tls import ListenerTls, PoolTls
from fastlb.config.udp import UdpListener
from fastlb.config.units import DURATION, duration_ms, show, show_bytes, show_ms, size_bytes

if TYPE_CHECKING:
    Balance = str
else:
    Balance = Literal[tuple(BALANCES)]          # (those that have registered)


def _within(limit: bounds.Limit) -> Any:
    """A whole number that the limit allows."""
    return Field(strict=True, ge=limit.low, le=limit.high)


def _check_buffer(value: str) -> str:
    n = size_bytes(value)
    if n & (n - 1):
        raise ValueError(f"{value!r} is not a power of two; the next is {_next_power(n)}")
    return value


def _next_power(n: int) -> str:
    return show_bytes(min(1 << n.bit_length(), bounds.BUFFER_SIZE.high))


def _refresh(value: Any) -> str:
    if isinstance(value, str) and value == "ttl":
        return value
    n = duration_ms(value)
    low, high = bounds.DNS_REFRESH.low, bounds.DNS_REFRESH.high
    if not low <= n <= high:
        raise ValueError(f'{show(value)} is not "ttl", or from {show_ms(low)} to {show_ms(high)}')
    return str(value)


def _bind(value: str) -> str:
    parse_bind(value)
    return value


def _binds(value: Any) -> Any:
    if type(value) is int:
        parse_bind(show(value))         # says what to write
    return [value] if isinstance(value, str) else as_list(value)


def _server(value: str) -> str:
    parse_server(value)
    return value


def _named(value: str) -> str:
    address = parse_server(value)
    if address.host is None or re.fullmatch(r"[0-9.]+|.*:.*", address.host):
        raise ValueError(f'{value!r} is not a name with a port; write it like "api.internal:7000"')
    return value


def _nameserver(value: str) -> str:
    parse_nameserver(value)
    return value


def _servers(value: Any) -> Any:
    return [{"address": item} if isinstance(item, str) else item for item in as_list(value)]


def _threads(value: Any) -> Any:
    if isinstance(value, str) and value == "auto":
        return value
    if type(value) is int and 1 <= value <= bounds.THREADS_MAX:
        return value
    raise ValueError(f'{show(value)} is not "auto" or a number from 1 to {bounds.THREADS_MAX}')


Refresh = Annotated[
    str, BeforeValidator(_refresh),
    WithJsonSchema({"type": "string", "pattern": rf"^ttl$|{DURATION}"}),
]
MaxConnections = Annotated[
    int,
    _within(bounds.MAX_CONNECTIONS),
    bounds.MAX_CONNECTIONS,
]
BufferSize = Annotated[str, Size(bounds.BUFFER_SIZE), AfterValidator(_check_buffer)]
BulkBufferSize = Annotated[str, Size(bounds.BULK_BUFFER_SIZE), AfterValidator(_check_buffer)]
Binds = Annotated[
    list[Annotated[str, AfterValidator(_bind)]],
    BeforeValidator(_binds),
    Field(min_length=1),
    WithJsonSchema(
        {
            "anyOf": [
                {"type": "string", "pattern": BIND},
                {"type": "array", "minItems": 1, "items": {"type": "string", "pattern": BIND}},
            ]
        }
    ),
]
ServerAddress = Annotated[
    str, AfterValidator(_server), WithJsonSchema({"type": "string", "pattern": SERVER})
]
DnsName = Annotated[
    str, AfterValidator(_named), WithJsonSchema({"type": "string", "pattern": DNS_NAME})
]
NameServer = Annotated[
    str, AfterValidator(_nameserver), WithJsonSchema({"type": "string", "pattern": NAMESERVER})
]
Threads = Annotated[
    int | str, BeforeValidator(_threads),
    WithJsonSchema(
        {
            "anyOf": [
                {"const": "auto"},
                {"type": "integer", "minimum": 1, "maximum": bounds.THREADS_MAX},
            ]
        }
    ),
]
Text = Annotated[str, Field(min_length=1, max_length=bounds.NAME_MAX)]
ZoneName = Text


class Server(Model):
    """One server of a pool: an `address`, or a `dns` name of which every address is a server."""

    address: ServerAddress | None = None
    """`HOST:PORT`, `[v6]:PORT` or `unix:/PATH`. A name is resolved as `dns` says."""
    dns: DnsName | None = None
    """`NAME:PORT`; every address that the name has is a server."""
    refresh: Annotated[Refresh, bounds.SERVER_REFRESH] | None = None
    """How often the name is asked for: "ttl", or a duration."""
    weight: Annotated[int, _within(bounds.WEIGHT), bounds.WEIGHT] = bounds.WEIGHT.default
    """Its share of new connections, next to the other servers' weights; 0 gets none."""
    max_connections: MaxConnections | None = None
    """Connections at a time, exact over all threads; no limit if not given."""
    priority: Annotated[
        int, _within(bounds.SERVER_PRIORITY), bounds.SERVER_PRIORITY
    ] = bounds.SERVER_PRIORITY.default
    """Servers of priority 0 come first; those of the next get what the others are too few for."""
    zone: Annotated[ZoneName, bounds.SERVER_ZONE] | None = None
    """Where it is: those of our own `zone` come first among servers of the same priority."""
    state: Annotated[Literal["up", "draining", "maintenance"], bounds.SERVER_STATE] = "up"
    """A draining server keeps its connections and the clients that are bound to it, and gets no
    others; one in maintenance gets nobody, and isn't checked."""


class Subset(Model):
    """Only some of very many servers, others for every process."""

    size: Annotated[int, _within(bounds.SUBSET_SIZE), bounds.SUBSET_SIZE]
    """How many servers this process uses."""
    instance: Annotated[
        int | Text, Field(union_mode="left_to_right"), bounds.SUBSET_INSTANCE
    ] | None = None
    """Which of the processes this is: a number from 0 on, with which the servers are shared out
    evenly (deterministic subsetting, as in Site Reliability Engineering, chapter 20), or any name,
    with which they are chosen by chance."""


class Shared(Model):
    """Keys that listeners and pools have, and `[defaults]` for all of them."""

    tcp_nodelay: Annotated[Switch, bounds.TCP_NODELAY] | None = None
    """Send small writes at once (TCP_NODELAY)."""
    keepalive: Annotated[Keepalive | Literal[False], bounds.KEEPALIVE] | None = None
    """TCP keepalive, or false."""


class Defaults(HttpKeys, Shared):
    """What listeners and pools have where they don't say otherwise."""

    idle_timeout: Annotated[str, Duration(bounds.IDLE_TIMEOUT)] | None = None
    """A relay on which nothing moves for this long, either way, is reset; 0s: never."""
    connect_timeout: Annotated[str, Duration(bounds.CONNECT_TIMEOUT)] | None = None
    """How long a server may take to accept before another one is tried."""
    buffer_size: BufferSize | None = None
    """What a relay reads at a time; a slow reader holds one such buffer. For HTTP, a WebSocket or
    another upgrade is a relay."""
    bulk_buffer_size: BulkBufferSize | None = None
    """What is read at a time from a flow that fills `buffer_size`, where it can't be spliced."""


class Listener(HttpListener, UdpListener, HttpKeys, SniffKeys, SpeedKeys, SourceKeys, Shared):
    """Addresses that connections are accepted on, and the pool they go to."""

    bind: Binds
    """`tcp://HOST:PORT`, `http://`, `tls://` and `https://` of the same over TLS, and `udp://`;
    `[v6]:PORT`, `unix:/PATH`, or a list. Port 0: any."""
    tls: Annotated[ListenerTls, bounds.TLS] | None = None
    """For `tls://` and `https://`: certificates, and more about it."""
    proxy_protocol: Annotated[ProxyProtocol, bounds.PROXY_PROTOCOL] | None = None
    """Whose headers of the PROXY protocol are believed; none if not given."""
    pool: Annotated[str, Field(min_length=1, max_length=bounds.NAME_MAX), bounds.POOL] | None = None
    """The pool that connections go to, or what no route fits."""
    policy: Annotated[AnyPolicy, bounds.POLICY] | None = None
    """A Python function that decides where a connection or a session goes, or a table with more
    about it; `pool` is where it goes when that returns None. For HTTP, routes have policies."""
    max_connections: MaxConnections | None = None
    """Connections at a time, exact over all threads; the next ones wait in the queue."""
    idle_timeout: Annotated[str, Duration(bounds.IDLE_TIMEOUT)] | None = None
    """A relay on which nothing moves for this long, either way, is reset, and a session of UDP
    ends; 0s: never. For UDP with `answers = 1`, how long an answer is waited for. The default for
    UDP is 1m, and 5s with `answers`."""
    backlog: (
        Annotated[int, _within(bounds.BACKLOG), bounds.BACKLOG]
        | None
    ) = None
    """The length of the queue of connections that wait to be accepted."""
    buffer_size: BufferSize | None = None
    """What a relay reads at a time; a slow reader holds one such buffer. For HTTP, a WebSocket or
    another upgrade is a relay."""
    bulk_buffer_size: BulkBufferSize | None = None
    """What is read at a time from a flow that fills `buffer_size`, where it can't be spliced."""
    reuse_port: Annotated[Switch, bounds.REUSE_PORT] = bounds.REUSE_PORT.default
    """Share the address with other processes that do the same (SO_REUSEPORT)."""
    mode: Annotated[Mode, bounds.MODE] | None = None
    """The file mode of a unix socket, such as "0660"."""


class Pool(HttpPool, Shared):
    """Servers that do the same job, and how one of them is picked."""

    servers: Annotated[
        list[Server], BeforeValidator(_servers), Field(max_length=bounds.SERVERS_MAX)
    ] = Field(default_factory=list)
    """Addresses (`HOST:PORT`, `[v6]:PORT`, `unix:/PATH`), or tables with more about each."""
    balance: Annotated[Balance, bounds.BALANCE] = "round_robin"
    """How a server is picked: in turns, by chance, by what servers are doing, or by a hash, so that
    a client stays. See docs/policies.md."""
    hash_on: Annotated[HashKey, bounds.HASH_ON] | None = None
    """What a hashing method hashes: a fact, such as `client.ip`, `tls.sni`, or of HTTP
    `cookie.NAME` and `path.NAME`. All of them are listed at the end of this page."""
    bounded_load: Annotated[
        float,
        Field(ge=bounds.BOUNDED_LOAD_MIN, le=bounds.BOUNDED_LOAD_MAX),
        bounds.BOUNDED_LOAD,
    ] | None = None
    """Where a key is hashed: no server gets more than so many times its share of what is in flight;
    its keys go to the next one."""
    table_size: Annotated[
        int, _within(bounds.TABLE_SIZE), bounds.TABLE_SIZE,
    ] = bounds.TABLE_SIZE.default
    """Of `maglev`: places in its table, a prime number, some 100 times the servers."""
    slow_start: Annotated[str, Duration(bounds.SLOW_START)] = show_ms(bounds.SLOW_START.default)
    """For how long a server that came up, or is new, gets less: from 10 % of its share, evenly
    more. Not of hash policies; 0s: at once."""
    sticky: Annotated[Sticky, bounds.STICKY] | None = None
    """Clients come back to the server that they had."""
    nearest: Annotated[Nearest, bounds.NEAREST] | None = None
    """The zones whose servers come first, by where a client is. See docs/geography.md."""
    subset: Annotated[Subset, bounds.SUBSET] | None = None
    """Of very many servers, those that this process uses."""
    health: Annotated[Health, bounds.HEALTH] | None = None
    """Checks that find out whether a server is up; none if not given."""
    outliers: Annotated[Outliers, bounds.OUTLIERS] = Field(default_factory=Outliers)
    """When a server is left out for what it does."""
    retry: Annotated[Retry, bounds.RETRY] = Field(default_factory=Retry)
    """When another server is tried."""
    hedge: Annotated[Hedge, bounds.HEDGE] | None = None
    """When a second server is asked too."""
    fallback: Annotated[PoolName, bounds.FALLBACK] | None = None
    """The pool that is used when no server of this one can be."""
    unavailable: Annotated[Unavailable, bounds.UNAVAILABLE] | None = None
    """An answer of our own for when no server can be had; that of the last `fallback`."""
    max_idle_connections: Annotated[
        int, _within(bounds.MAX_IDLE_CONNECTIONS), bounds.MAX_IDLE_CONNECTIONS, Plain("HTTP/1.1"),
    ] = bounds.MAX_IDLE_CONNECTIONS.default
    """Connections to a server that each thread keeps for the next request."""
    max_response_header_size: Annotated[
        str, Size(bounds.MAX_RESPONSE_HEADER_SIZE), Plain("HTTP")
    ] = "32KiB"
    """Of a response's head, and of its trailers. A larger head is answered with 502 and logged;
    larger trailers end the response."""
    idle_connection_timeout: Annotated[
        str, Duration(bounds.IDLE_CONNECTION_TIMEOUT), Plain("HTTP", zero="none", timer=True)
    ] = show_ms(bounds.IDLE_CONNECTION_TIMEOUT.default)
    """How long such a connection is kept; 0s: as long as the server does."""
    max_connection_age: Annotated[
        str, Duration(bounds.CONNECTION_AGE), Plain("HTTP", zero="no limit")
    ] = "0s"
    """A connection that is older is not used again; 0s: no limit."""
    max_connection_requests: Annotated[
        int, Whole(0, 0, 1_000_000_000, "servers that count say so by closing"),
        Plain("HTTP", zero="no limit"),
    ] = 0
    """Requests on one connection to a server; 0: no limit."""
    max_h2_window: Annotated[str, Size(bounds.MAX_H2_WINDOW), Plain("HTTP/2")] = "16MiB"
    """How far windows of a connection of HTTP/2 may grow, for responses: bytes held at most."""
    connect_timeout: Annotated[
        Annotated[str, Duration(bounds.CONNECT_TIMEOUT)] | None, Plain("connections", timer=True)
    ] = None
    """How long a server may take to accept before another one is tried."""
    tls: Annotated[PoolTls, bounds.POOL_TLS] | None = None
    """true: speak TLS to its servers; a table with more about it."""
    protocol: Annotated[Literal["http/1.1", "h2"], bounds.SERVER_PROTOCOL] = "http/1.1"
    """What its servers speak; h2: requests share connections of HTTP/2, by TLS's ALPN or
    without TLS by prior knowledge."""
    proxy_protocol: Outgoing | None = None
    """Tell servers of each client in a header of the PROXY protocol, of this version. An http
    connection is then for one client alone, and is kept as long as that one's."""
    limits: Annotated[Limits, bounds.LIMITS] = Field(default_factory=Limits)
    """How much it gets at a time, and who waits."""


class Dns(Model):
    """How names of servers are resolved. The hosts file comes first."""

    nameservers: Annotated[list[NameServer], BeforeValidator(as_list), bounds.NAMESERVERS] = Field(
        default_factory=list
    )
    """`IP` or `IP:PORT` of name servers; those of /etc/resolv.conf if not given."""
    timeout: Annotated[str, Duration(bounds.DNS_TIMEOUT)] = show_ms(bounds.DNS_TIMEOUT.default)
    """For one name, all tries together. The last good answer is kept after a failure."""
    refresh: Annotated[Refresh, bounds.DNS_REFRESH] = "ttl"
    """How often names are asked for: "ttl" (as long as an answer says it holds), or a duration."""


class Config(Model):
    """A whole configuration."""

    threads: Annotated[Threads, bounds.THREADS] = "auto"
    """Engine threads; "auto" is the lesser of the CPUs allowed and the cgroup's quota."""
    shutdown_timeout: Annotated[str, Duration(bounds.SHUTDOWN_TIMEOUT)] = show_ms(
        bounds.SHUTDOWN_TIMEOUT.default
    )
    """How long relays may go on after a stop was asked for; then they are reset."""
    shutdown_delay: Annotated[str, Duration(bounds.SHUTDOWN_DELAY)] = show_ms(
        bounds.SHUTDOWN_DELAY.default
    )
    """How long connections are still accepted after a stop was asked for, while `/readyz` says no.
    `shutdown_timeout` begins after it. An upgrade needs none."""
    shutdown_idle_timeout: Annotated[str, Duration(bounds.SHUTDOWN_IDLE_TIMEOUT)] = show_ms(
        bounds.SHUTDOWN_IDLE_TIMEOUT.default
    )
    """How long idle connections of HTTP clients may still bring a request while the process stops;
    its response closes the connection. A stop with no more time than this closes them at once."""
    max_connections: Annotated[MaxConnections, bounds.PROCESS_MAX_CONNECTIONS] | None = None
    """Connections at a time, of the whole process."""
    max_sessions: Annotated[MaxConnections, bounds.PROCESS_MAX_SESSIONS] | None = None
    """Of these, sessions of UDP. A new one ends the oldest that no server has answered."""
    busy_poll: Annotated[Switch, bounds.BUSY_POLL] = bounds.BUSY_POLL.default
    """Where one or two peers answer each other at once, wait for the next message awake, for up
    to 60 us; after a wait in vain not for a while."""
    zone: Annotated[ZoneName, bounds.ZONE] | None = None
    """Where this process is. Servers of the same zone come first, until too few of them are up."""
    admin: Annotated[Admin | Literal[False], bounds.ADMIN] | None = None
    """Where the admin API, the metrics and the dashboard are; false: nowhere."""
    access_log: Annotated[AccessLog, bounds.ACCESS_LOG] | None = None
    """A line for each request, and each session of tcp."""
    tracing: Annotated[Tracing, bounds.TRACING] | None = None
    """Spans for OpenTelemetry."""
    dns: Dns = Field(default_factory=Dns)
    """How names of servers are resolved."""
    defaults: Defaults = Field(default_factory=Defaults)
    """What listeners and pools have where they don't say otherwise."""
    listeners: dict[str, Listener] = Field(default_factory=dict)
    """By name: `[listeners.NAME]`."""
    pools: dict[str, Pool] = Field(default_factory=dict)
    """By name: `[pools.NAME]`."""
    rate_limits: Annotated[dict[str, RateLimit], bounds.RATE_LIMITS] = Field(default_factory=dict)
    """By name: `[rate_limits.NAME]`, for `rate_limit` of listeners and routes."""
    networks: Annotated[dict[str, Networks], bounds.NETWORKS] = Field(default_factory=dict)
    """By name: `[networks.NAME]`, for `deny`, `allow` and `match.client.network`."""
    geo: Annotated[Geo, bounds.GEO] | None = None
    """Databases of where clients are, for `client.country` and its like."""

    @classmethod
    def build(cls, raw: Mapping[str, Any]) -> Config:
        """A configuration of Python values. ConfigError has all that is wrong with it.

        Unlike one of a file, a pool may be empty, to be filled while running.
        """
        from fastlb.config.check import checked

        return checked(raw)

    @classmethod
    def from_file(cls, path: str | os.PathLike[str]) -> Config:
        """The configuration of a TOML file. ConfigError has all that is wrong with it."""
        from fastlb.config.reader import load

        return load(path)
