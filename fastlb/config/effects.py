"""When each key of a configuration has an effect. A key that is given where it has none is a
warning, and docs/config.md says of each key what it is for.

Every key of every model stands here once: among the keys that always have an effect, or with its
conditions, which are those of `needs`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from fastlb.config import needs
from fastlb.config.admin import Admin
from fastlb.config.base import Model
from fastlb.config.compare import Compare, Secured, Told
from fastlb.config.conditions import OTHER_TABLES, Conditions, Match
from fastlb.config.effective import Effective
from fastlb.config.failing import Hedge, Limits, Outliers, Retry
from fastlb.config.geography import Geo, Nearest, Override
from fastlb.config.health import Datagrams, Health
from fastlb.config.http import (
    Forwarded,
    HeaderEdits,
    HttpKeys,
    HttpListener,
    Redirect,
    Respond,
    Rewrite,
    Route,
    Unavailable,
)
from fastlb.config.keepalive import Keepalive
from fastlb.config.model import (
    Config,
    Defaults,
    Dns,
    Listener,
    Pool,
    Server,
    Subset,
)
from fastlb.config.needs import (
    CONNECTIONS,
    HTTP,
    HTTP_1,
    RELAYS,
    TCP,
    UDP,
    About,
    Condition,
    For,
    Place,
)
from fastlb.config.networks import Networks
from fastlb.config.observing import AccessLog, Tracing
from fastlb.config.pages import ErrorPage
from fastlb.config.parts import PARTS
from fastlb.config.patterns import OTHER_KINDS
from fastlb.config.plain import plain_keys
from fastlb.config.policy import Policy
from fastlb.config.positions import Path, dotted
from fastlb.config.proxy_protocol import ProxyProtocol
from fastlb.config.sniffing import Mqtt, SniffKeys
from fastlb.config.sources import Ban, ConnectionRate, RequestRate, Tarpit
from fastlb.config.speeds import SpeedKeys
from fastlb.config.sticky import Sticky
from fastlb.config.tls import Certificate, ServerTls, Tickets, Tls
from fastlb.config.udp import UdpListener

Table = dict[str, tuple[Condition, ...]]


def _always(names: str) -> Table:
    return dict.fromkeys(names.split(), ())


# Tables of which every key has an effect wherever the table has one.
WHOLE = (
    Tracing, Dns, Keepalive, Certificate, ProxyProtocol, Sticky, Subset, Nearest, Override, Hedge,
    Unavailable, Secured, Told, Mqtt, Compare, Redirect, Respond, Rewrite, HeaderEdits,
    Forwarded, Datagrams, ErrorPage, ConnectionRate, Tarpit, Ban, RequestRate,
    *OTHER_TABLES.values(),
    *(table for part in PARTS.values() for _, table in part.tables),
)
_CONDITIONS: Table = {
    **dict.fromkeys(Conditions.model_fields, (HTTP,)),
    **dict.fromkeys(("protocol", "mqtt"), (TCP,)),
    **dict.fromkeys(("client_ip", "tls", "proxy", *OTHER_KINDS), (CONNECTIONS,)),
}
_TLS: Table = {"ciphers": (needs.old_tls,), "cipher_suites": (needs.new_tls,),
               **_always("min_version max_version curves key_log")}
# What a plain key of a pool is for.
KINDS: dict[str, tuple[Condition, ...]] = {
    "": (), "HTTP": (HTTP,), "HTTP/1.1": (HTTP_1, needs.http_1), "HTTP/2": (HTTP, needs.h2),
    "connections": (CONNECTIONS,),
}
EFFECTS: dict[type[Model], Table] = {
    Config: {"zone": (needs.zone,), "max_sessions": (needs.udp_listener,), **_always(
        "threads shutdown_timeout shutdown_delay shutdown_idle_timeout max_connections busy_poll"
        " admin access_log tracing dns defaults listeners pools rate_limits networks geo")},
    Geo: {"refresh": (needs.geo_file,), **_always("country city asn overrides")},
    Networks: {"refresh": (needs.read_networks,), "ca": (needs.secured_networks,),
               **dict.fromkeys(("timeout", "saved_copy", "required"), (needs.fetched_networks,)),
               **_always("cidrs file url")},
    Admin: {"mode": (needs.admin_mode,), **_always("bind token default_socket")},
    AccessLog: {"fields": (needs.fields,), **_always("path format buffer")},
    Defaults: {
        **dict.fromkeys(HttpKeys.model_fields, (HTTP,)),
        **dict.fromkeys(("tcp_nodelay", "keepalive", "connect_timeout", "buffer_size",
                         "bulk_buffer_size"), (CONNECTIONS,)),
        "idle_timeout": (RELAYS,),
    },
    Listener: {
        **dict.fromkeys((*HttpListener.model_fields, *HttpKeys.model_fields), (HTTP,)),
        **dict.fromkeys(UdpListener.model_fields, (UDP,)),
        **dict.fromkeys(SniffKeys.model_fields, (TCP, needs.sniffs)),
        **dict.fromkeys(SpeedKeys.model_fields, (TCP,)),
        **_always("bind proxy_protocol pool deny allow"),
        "reuse_port": (needs.over_ip,),
        **dict.fromkeys(("tls", "max_connections", "backlog", "buffer_size", "bulk_buffer_size",
                         "routes", "max_connections_per_source", "tarpit", "ban",
                         "max_connection_rate_per_source"), (CONNECTIONS,)),
        **dict.fromkeys(("tcp_nodelay", "keepalive"), (CONNECTIONS, needs.over_ip)),
        "mode": (CONNECTIONS, needs.mode),
        "policy": (RELAYS,),
        "idle_timeout": (RELAYS,),
        **dict.fromkeys(("max_sessions_per_source", "max_session_rate_per_source"),
                        (UDP, needs.sources)),
        "pick": (UDP, needs.pick),
        "on_server_down": (UDP, needs.sessions),
        "h2c": (HTTP, needs.h2c),
        "max_h2_window": (HTTP, needs.h2_clients),
        "max_match_body": (HTTP, needs.match_body),
    },
    Tls: {**_TLS, "client_depth": (needs.client_auth,), **_always(
        "certificates alpn client_auth client_ca client_crl tickets unknown_name"
        " handshake_timeout max_handshakes max_handshakes_per_source")},
    Tickets: {"rotate": (needs.rotate,), **_always("keys")},
    Pool: {
        **_always("servers balance hash_on bounded_load table_size slow_start nearest subset health"
                  " outliers fallback proxy_protocol limits"),
        **{key.name: KINDS[key.plain.of] for key in plain_keys(Pool)},
        **dict.fromkeys(("sticky", "hedge", "unavailable", "protocol", "request_headers",
                         "response_headers"), (HTTP,)),
        **dict.fromkeys(("retry", "tls"), (CONNECTIONS,)),
        **dict.fromkeys(("tcp_nodelay", "keepalive"), (CONNECTIONS, needs.over_ip)),
    },
    Server: {"refresh": (needs.refresh,), "zone": (needs.server_zone,),
             **_always("address dns weight max_connections priority state")},
    ServerTls: {**_TLS, **_always("ca crl server_name verify certificate alpn")},
    Health: {"tls": (needs.plain_check,), **_always(
        "tcp http grpc expect send udp method host statuses body port interval timeout rise fall"
        " panic"), "fast_interval": (needs.faster,)},
    Outliers: {
        **_always("consecutive_failures error_rate"),
        "latency": (HTTP,),
        "statuses": (HTTP, needs.failures),
        **dict.fromkeys(("interval", "min_requests"), (needs.compares,)),
        **dict.fromkeys(("ejection_time", "max_ejection_time", "max_ejected"), (needs.ejects,)),
    },
    Retry: {
        **_always("attempts"),
        "on": (HTTP, needs.retries),
        "connect_failure": (needs.retries,),
        "non_idempotent": (HTTP, needs.retries, needs.repeats),
        "budget": (needs.own_budget, needs.retries),
    },
    Limits: {
        **_always("max_requests"),
        "max_pending": (CONNECTIONS, needs.limited),
        "pending_timeout": (CONNECTIONS, needs.waits),
        "max_retries": (CONNECTIONS, needs.retried),
        "retry_after": (HTTP,),
    },
    Route: {
        **_always("name match pool split policy split_on"),
        "hash_on": (needs.forwards,),
        "listener": (TCP,),
        "order": (HTTP,),
        **dict.fromkeys(("redirect", "respond", "max_body_size", "response_headers", "errors"),
                        (HTTP,)),
        **{key: (HTTP,) if part.answers else (HTTP, needs.forwards)
           for key, part in PARTS.items()},
        **dict.fromkeys(("rewrite", "request_headers", "retry",
                         "response_header_timeout", "request_timeout", "body_idle_timeout",
                         "websocket_timeout", "on_client_close"), (HTTP, needs.forwards)),
        "priority": (HTTP, needs.forwards, needs.queues),
    },
    Conditions: _CONDITIONS,
    Match: {**_CONDITIONS, "not_": ()},
    Policy: {
        **_always("call deadline on_error blocking max_pending"),
        **dict.fromkeys(("cache_on", "cache_ttl", "body"), (HTTP,)),
        **dict.fromkeys(("first_bytes", "first_bytes_timeout"), (TCP,)),
    },
}


def conditions_of(model: type[Model], key: str) -> tuple[Condition, ...]:
    return EFFECTS.get(model, {}).get(key, ())


def shown_for(model: type[Model], key: str) -> str:
    """What a key is for, as docs/config.md shows it: "HTTP", or "" for everything."""
    return next((one.shown for one in conditions_of(model, key) if isinstance(one, For)), "")


def without_effect(config: Config, values: Effective) -> Iterator[tuple[str, str]]:
    """Every key that is given and has no effect, and why. Keys inside of one aren't named too."""
    yield from _look(config, Place(config, About(config, values), (config,), ()))


def _look(table: Model, at: Place) -> Iterator[tuple[str, str]]:
    for name, field in type(table).model_fields.items():
        if name not in table.model_fields_set or getattr(table, name) is None:
            continue
        path = (*at.path, field.alias or name)
        why = next(filter(None, (one(at) for one in conditions_of(type(table), name))), "")
        if why:
            yield dotted(path), why
            continue
        for more, inner in _tables(getattr(table, name)):
            yield from _look(
                inner, replace(at, tables=(*at.tables, inner), path=(*path, *more)))


def _tables(value: object) -> Iterator[tuple[Path, Model]]:
    """The tables in a value, with where they are in it."""
    if isinstance(value, Model):
        yield (), value
    elif isinstance(value, dict):
        for name, one in value.items():
            yield from ((((name, *more)), inner) for more, inner in _tables(one))
    elif isinstance(value, list):
        for i, one in enumerate(value):
            yield from ((((i, *more)), inner) for more, inner in _tables(one))
