"""What values of an http listener say about each other, and about pools."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from fastlb._core.base.balancing import BALANCES
from fastlb.config.address import OVER_TLS, SCHEMES
from fastlb.config.check_sniffing import (
    as_http,
    check_http_route,
    check_tcp_route,
    conditions,
)
from fastlb.config.check_variables import check_variables
from fastlb.config.compare import Compare
from fastlb.config.effective_tls import HTTP_PROTOCOLS
from fastlb.config.hints import no_pool
from fastlb.config.http import HttpKeys, HttpListener
from fastlb.config.patterns import OTHER_KINDS, fact_of
from fastlb.config.positions import Path
from fastlb.config.sniffing import SniffKeys
from fastlb.config.speeds import SpeedKeys
from fastlb.config.udp import KEYS as UDP_KEYS
from fastlb.config.units import show

Found = tuple[Path, str, tuple[str, ...]]
ACTIONS = {"http": ("pool", "split", "redirect", "respond"), "tcp": ("pool", "split", "listener")}
HASHES = tuple(name for name, method in BALANCES.items() if method.by_key)
# Keys that one of them hasn't.
TCP_POLICY = ("an http route", ("cache_on", "cache_ttl", "body"))
UDP_POLICY = (
    "an http route or a tcp listener", (*TCP_POLICY[1], "first_bytes", "first_bytes_timeout"),
)
HTTP_POLICY = ("a tcp listener", ("first_bytes", "first_bytes_timeout"))
NOT_OF_UDP = (
    "tls", "max_connections", "max_connections_per_source", "max_connection_rate_per_source",
    "tarpit", "ban", "backlog", "buffer_size", "bulk_buffer_size", "mode", "tcp_nodelay",
    "keepalive",
)
INSTEAD = {"max_connections": "max_sessions",
           "max_connections_per_source": "max_sessions_per_source",
           "max_connection_rate_per_source": "max_session_rate_per_source"}
NAME = "^[A-Za-z0-9_.-]+$"


def _written_scheme(listener: Mapping[str, Any]) -> str:
    binds = listener.get("bind")
    first = binds[0] if isinstance(binds, (list, tuple)) and binds else binds
    return first.partition("://")[0] if isinstance(first, str) else ""


def scheme_of(listener: Mapping[str, Any]) -> str:
    """"tcp" or "http", be it over TLS, or "udp"; "" where it can't be said."""
    scheme = _written_scheme(listener)
    return OVER_TLS.get(scheme, scheme if scheme in SCHEMES else "")


def check_listener(
    name: str, listener: Mapping[str, Any], pools: Mapping[str, Mapping[str, Any]],
    listeners: Mapping[str, Mapping[str, Any]], from_file: bool,
) -> Iterator[Found]:
    path: Path = ("listeners", name)
    scheme, written = scheme_of(listener), _written_scheme(listener)
    binds = listener.get("bind")
    for i, bind in enumerate(binds if isinstance(binds, (list, tuple)) else ()):
        other = bind.partition("://")[0] if isinstance(bind, str) else written
        if scheme and other in SCHEMES and other != written:
            yield (*path, "bind", i), (
                f"a listener has one scheme, and this one begins with {written}://; write two"
            ), ()
    yield from _tls(path, written, listener)
    if written == "https":
        yield from _alpn((*path, "tls", "alpn"), listener.get("tls"))
    if scheme == "tcp":
        for key in (*HttpListener.model_fields, *HttpKeys.model_fields):
            if key in listener and key != "routes":
                yield (*path, key), (
                    f"{key} belongs to an http listener, and bind is {written}://{as_http(written)}"
                ), ()
        yield from _policy((*path, "policy"), listener, pools, TCP_POLICY)
    elif scheme == "udp":
        yield from _udp(path, listener, pools)
    elif scheme == "http" and "policy" in listener:
        yield (*path, "policy"), (
            "the policy of an http listener belongs to a route: routes ="
            ' [{ name = "all", policy = ... }]'
        ), ()
    for whose, wanted, keys in (("udp://", "udp", UDP_KEYS),
                                ("a tcp listener", "tcp",
                                 (*SniffKeys.model_fields, *SpeedKeys.model_fields))):
        for key in keys if scheme not in ("", wanted) else ():
            if key in listener:
                yield (*path, key), f"{key} belongs to {whose}, and bind is {written}://", ()
    if "pool" not in listener and not listener.get("routes"):
        if scheme == "http" and not from_file:
            pass                # a program adds routes later, by `Listener.route`
        elif scheme == "http":
            yield path, "an http listener needs a pool or routes", ("pool", "routes")
        else:
            yield (*path, "pool"), "this key is missing", ()
    routes = listener.get("routes")
    seen: set[str] = set()
    for i, route in enumerate(routes if isinstance(routes, (list, tuple)) else ()):
        if not isinstance(route, Mapping):
            continue
        where = (*path, "routes", i)
        yield from _route(where, route, pools, seen, "tcp" if scheme == "tcp" else "http")
        if scheme == "tcp":
            schemes = {one: _written_scheme(keys) for one, keys in listeners.items()}
            yield from check_tcp_route(where, route, written, schemes)
        elif scheme == "http":
            yield from check_http_route(where, route, written)


def _udp(
    path: Path, listener: Mapping[str, Any], pools: Mapping[str, Mapping[str, Any]]
) -> Iterator[Found]:
    """Datagrams need no connections, and have no buffers."""
    yield from _policy((*path, "policy"), listener, pools, UDP_POLICY)
    for key in (*HttpListener.model_fields, *HttpKeys.model_fields, *NOT_OF_UDP):
        if key in listener:
            better = f"; write {INSTEAD[key]}" if key in INSTEAD else ""
            yield (*path, key), f"{key} is not for UDP{better}", ()
    if listener.get("answers") is not None and listener.get("pick") == "session":
        yield (*path, "pick"), (
            "with answers = 0 or 1 there are no sessions: a server is picked for each datagram"
        ), ("datagram",)
    pool = pools.get(str(listener.get("pool")))
    servers = pool.get("servers") if pool is not None else None
    for i, server in enumerate(servers if isinstance(servers, (list, tuple)) else ()):
        address = server.get("address") if isinstance(server, Mapping) else server
        if isinstance(address, str) and address.startswith("unix:"):
            yield ("pools", str(listener["pool"]), "servers", i), (
                "a unix socket gets no datagrams, and listeners."
                f"{path[1]} sends them to this pool"), ()
    if pool is not None and pool.get("tls"):
        yield ("pools", str(listener["pool"]), "tls"), (
            f"tls is not for UDP, and listeners.{path[1]} sends datagrams to this pool"), ()
    if pool is not None and pool.get("proxy_protocol") == "v1":
        yield ("pools", str(listener["pool"]), "proxy_protocol"), (
            f"v1 knows no datagrams, and listeners.{path[1]} sends them to this pool"), ("v2",)


def _tls(path: Path, written: str, listener: Mapping[str, Any]) -> Iterator[Found]:
    if written in OVER_TLS and listener.get("tls") is None:
        yield (*path, "tls"), (
            f"{written}:// needs a certificate: tls = {{ certificates = [{{ cert = \"FILE\","
            ' key = "FILE" }] }'
        ), ()
    elif listener.get("tls") is not None and written in OVER_TLS.values():
        better = next(over for over, scheme in OVER_TLS.items() if scheme == written)
        yield (*path, "tls"), f"tls belongs to {better}://, and bind is {written}://", ()


def _alpn(path: Path, tls: Any) -> Iterator[Found]:
    """What clients may choose has to be spoken."""
    found = tls.get("alpn") if isinstance(tls, Mapping) else None
    for name in [found] if isinstance(found, str) else found or ():
        if name == "h2" and "h2" not in HTTP_PROTOCOLS:
            yield path, "this fastlb was built without HTTP/2; see fastlb version -v", ()
        elif isinstance(name, str) and name and name not in HTTP_PROTOCOLS:
            spoken = f"{', '.join(HTTP_PROTOCOLS[:-1])} and {HTTP_PROTOCOLS[-1]}"
            yield path, f"an https listener speaks {spoken}, and not {show(name)}", HTTP_PROTOCOLS


def check_ticket_keys(listeners: Mapping[str, Mapping[str, Any]]) -> Iterator[Found]:
    """All listeners of a process make their tickets with the same keys."""
    first: tuple[str, Any] | None = None
    for name, listener in listeners.items():
        tls = listener.get("tls")
        tickets = tls.get("tickets") if isinstance(tls, Mapping) else None
        keys = tickets.get("keys") if isinstance(tickets, Mapping) else None
        if keys and first is not None and list(keys) != list(first[1]):
            yield ("listeners", name, "tls", "tickets", "keys"), (
                f"a process has one set of keys, and listeners.{first[0]} has other ones"
            ), ()
        first = first or ((name, keys) if keys else None)


def _route(
    path: Path, route: Mapping[str, Any], pools: Mapping[str, Mapping[str, Any]], seen: set[str],
    scheme: str,
) -> Iterator[Found]:
    name = route.get("name")
    if isinstance(name, str):
        if not re.fullmatch(NAME, name):
            yield (*path, "name"), (
                f"{show(name)} is not a name: letters, digits, '-', '_' and '.'"
            ), ()
        if name in seen:
            yield (*path, "name"), f"{show(name)} is taken by an earlier route", ()
        seen.add(name)
    actions = ACTIONS[scheme]
    given = [action for action in actions if action in route]
    if "policy" in route:
        yield from _policy(
            (*path, "policy"), route, pools, TCP_POLICY if scheme == "tcp" else HTTP_POLICY)
        for action in given:
            if action not in ("pool", "split"):
                yield (*path, action), (
                    f"a policy decides, or leaves it to pool or split: {action} can't be beside it"
                ), ()
    if len(given) > 1 or (not given and "policy" not in route):
        has = " and ".join(given) if given else "none"
        yield path, f"a route has exactly one of {', '.join(actions)}; this one has {has}", actions
    yield from _targets(path, route, pools)
    for where, condition in conditions(path, route):
        yield from _condition(where, condition)
    yield from check_variables(path, route)


def _policy(
    path: Path, part: Mapping[str, Any], pools: Mapping[str, Mapping[str, Any]],
    foreign: tuple[str, tuple[str, ...]],
) -> Iterator[Found]:
    policy = part.get("policy")
    if not isinstance(policy, Mapping):
        return
    whose, keys = foreign
    for key in keys:
        if key in policy:
            yield (*path, key), f"{key} belongs to the policy of {whose}", ()
    pool = policy.get("on_error")
    if isinstance(pool, str) and pool not in pools:
        yield no_pool((*path, "on_error"), pool, tuple(pools))
    if "cache_ttl" in policy and "cache_on" not in policy:
        yield (*path, "cache_ttl"), "cache_ttl belongs to cache_on, and there is none", ()


def _targets(
    path: Path, route: Mapping[str, Any], pools: Mapping[str, Mapping[str, Any]]
) -> Iterator[Found]:
    split = route.get("split")
    targets: list[tuple[Path, Any]] = []
    if isinstance(route.get("pool"), str):
        targets.append((("pool",), route["pool"]))
    if isinstance(split, Mapping):
        targets += [(("split", name), name) for name in split]
        weights = [w for w in split.values() if isinstance(w, int)]
        if not any(weights) and len(weights) == len(split):
            yield (*path, "split"), "a split needs a pool with a weight above 0", ()
    for where, target in targets:
        if target not in pools:
            yield no_pool((*path, *where), target, tuple(pools))
        elif "hash_on" in route and pools[target].get("balance", "round_robin") not in HASHES:
            yield (*path, "hash_on"), (
                f"hash_on belongs to a hashing method, and pool {show(target)} has another"
            ), HASHES
    if "split_on" in route and "split" not in route:
        yield (*path, "split_on"), "split_on belongs to a split", ()


FACTS = ("tls", "proxy", "mqtt", *OTHER_KINDS)     # tables of match


def _condition(path: Path, match: Mapping[str, Any]) -> Iterator[Found]:
    if "path" in match and "path_regex" in match and path[-1] == "match":
        yield (*path, "path_regex"), "a route has a path or a path_regex", ("path", "path_regex")
    for kind in ("headers", "query", "cookies", "json", "form", *FACTS):
        table = match.get(kind)
        for name, value in (table.items() if isinstance(table, Mapping) else ()):
            if isinstance(value, Mapping) and len(value) != 1:
                valid = tuple(Compare.model_fields)
                yield (*path, kind, name), f"give exactly one of {', '.join(valid)}", valid


def _relayed_to(listener: Mapping[str, Any]) -> set[Any]:
    """The pools of a tcp listener and its routes."""
    found = {listener["pool"]} if isinstance(listener.get("pool"), str) else set()
    routes = listener.get("routes")
    for route in routes if isinstance(routes, (list, tuple)) else ():
        if isinstance(route, Mapping) and isinstance(route.get("pool"), str):
            found.add(route["pool"])
        if isinstance(route, Mapping) and isinstance(route.get("split"), Mapping):
            found |= set(route["split"])
    return found


def check_pool_key(
    path: Path, pool: Mapping[str, Any], listeners: Mapping[str, Mapping[str, Any]], name: str
) -> Iterator[Found]:
    """A pool that hashes a part of a request, or has cookies, is for requests."""
    key = pool.get("hash_on")
    fact = fact_of(key) if isinstance(key, str) else None
    hashes = fact is not None and not fact.of_connections
    for user, listener in listeners.items():
        scheme = scheme_of(listener)
        if scheme not in ("tcp", "udp") or name not in _relayed_to(listener):
            continue
        if hashes:
            yield (*path, "hash_on"), (
                f"{key} is for HTTP only, and listeners.{user} relays {scheme} to this pool"
            ), ("client.ip", "client.address")
        if "hedge" in pool:
            yield (*path, "hedge"), (
                f"second tries are for HTTP only, and listeners.{user} relays {scheme} to this pool"
            ), ()
        if "unavailable" in pool:
            yield (*path, "unavailable"), (
                f"an answer is for HTTP only, and listeners.{user} relays {scheme} to this pool"
            ), ()
        for edited in ("request_headers", "response_headers"):
            if edited in pool:
                yield (*path, edited), (
                    f"header fields are for HTTP only, and listeners.{user} relays {scheme} to this"
                    " pool"
                ), ()
        if "sticky" in pool:
            yield (*path, "sticky"), (
                f"a cookie is for HTTP only, and listeners.{user} relays {scheme} to this pool;"
                ' use balance = "maglev", which keeps an address on its server'
            ), ()
