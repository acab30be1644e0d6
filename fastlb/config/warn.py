"""What is allowed and probably not meant."""

from __future__ import annotations

import time
from collections.abc import Iterator

from fastlb.config.covering import Covering
from fastlb.config.effective import Effective, EffectiveListener
from fastlb.config.effective_http import EffectiveRoute
from fastlb.config.effective_sniffing import SniffRoute
from fastlb.config.effective_tls import EffectiveCertificate, EffectiveTls
from fastlb.config.effects import without_effect
from fastlb.config.model import Config
from fastlb.config.ocsp import good_until
from fastlb.config.proxy_protocol import hears_proxies
from fastlb.config.reached import pools_of, targets
from fastlb.config.tls import day
from fastlb.config.warn_geography import geo_warnings
from fastlb.config.warn_regex import regex_warnings
from fastlb.config.warn_sniffing import sniffing_warnings

EXPIRES_SOON_DAYS = 30     # of the 90 that certificates mostly have: a renewal has failed by then


def warnings(config: Config, values: Effective) -> Iterator[str]:
    """A sentence each, with the key that it is about."""
    shared = config.max_connections
    if shared and config.max_sessions and config.max_sessions > shared:
        yield (f"max_sessions: {config.max_sessions} are never reached, as the process has"
               f" {shared} connections at most, sessions among them")
    for name, listener in config.listeners.items():
        if "max_sessions" in listener.model_fields_set \
                and 0 < values.sessions_max < listener.max_sessions:
            yield (f"listeners.{name}.max_sessions: {listener.max_sessions} are never reached, as"
                   f" the process has {values.sessions_max} at most (max_sessions)")
        most = listener.max_connections
        if most and config.max_connections and most > config.max_connections:
            yield (
                f"listeners.{name}.max_connections: {most} are never reached, as the process has"
                f" {config.max_connections} at most"
            )
    for each in values.listeners:
        yield from _unreachable(each)
        yield from regex_warnings(each)
        yield from _keyless(each, values)
        yield from _unsecured(each, values)
        if each.sniffing is not None:
            yield from sniffing_warnings(each, values)
        yield from _unproxied(each, values)
    yield from tls_warnings(values)
    yield from geo_warnings(values)
    used = {name for listener in values.listeners for name in pools_of(listener)}
    fallbacks = {pool.name: pool.fallback for pool in values.pools}
    new = set(used)
    while new:                              # a fallback may have one of its own
        new = {fallbacks[name] for name in new if name in fallbacks} - used
        used |= new
    asked = any(listener.policies for listener in values.listeners)
    for name, pool in config.pools.items():
        if name not in used and not asked:      # a policy may name any pool
            yield f"pools.{name}: no listener uses this pool"
        if pool.servers and all(server.weight == 0 for server in pool.servers):
            yield f"pools.{name}: every server has weight 0, so none is ever picked"
        if pool.servers and all(server.state != "up" for server in pool.servers):
            yield f"pools.{name}: no server's state is up, so none is ever picked"
    for key, why in without_effect(config, values):
        yield f"{key}: it has no effect: {why}"


def tls_warnings(values: Effective) -> Iterator[str]:
    """Those that a running process says too: some come with time."""
    for listener in values.listeners:
        if listener.tls is not None:
            yield from _tls(f"listeners.{listener.name}.tls", listener.tls)
    for pool in values.pools:
        if pool.tls is None:
            continue
        where = f"pools.{pool.name}.tls"
        if not pool.tls.verify:
            yield (f"{where}.verify: any certificate is taken: who is between us and the servers"
                   " can read and change everything")
        if pool.tls.certificate is not None:
            yield from _expires(f"{where}.certificate", pool.tls.certificate)
        yield from _key_log(where, pool.tls.key_log)


def _tls(where: str, tls: EffectiveTls) -> Iterator[str]:
    first: dict[str, list[EffectiveCertificate]] = {}   # by name: what is shown for it
    for one in tls.certificates:
        yield from _expires(f"{where}.certificates", one)
        for name in one.certificate.names:
            shown = first.setdefault(name, [])
            if shown and not _is_beside(shown, one):
                yield (f"{where}.certificates: '{name}' is in {shown[0].file} and in {one.file}:"
                       " clients that ask for it get the first one"
                       + ("" if _kind(one) in map(_kind, shown) else
                          " (keys of two kinds need certificates with the same names)"))
            else:
                shown.append(one)
    yield from _key_log(where, tls.key_log)


def _kind(one: EffectiveCertificate) -> str:
    return one.certificate.algorithm.split()[0]


def _is_beside(shown: list[EffectiveCertificate], one: EffectiveCertificate) -> bool:
    """Whether it is shown too, to clients that prefer its kind of key."""
    return set(shown[0].certificate.names) == set(one.certificate.names) \
        and _kind(one) not in map(_kind, shown)


def _expires(where: str, one: EffectiveCertificate) -> Iterator[str]:
    ends = one.certificate.not_after
    if ends < time.time() + EXPIRES_SOON_DAYS * 86400:
        yield f"{where}: {one.file} expires on {day(ends)}"
    until = good_until(one.ocsp) if one.ocsp else None
    if until is not None and until < time.time():
        yield (f"{where}: the OCSP response of {one.file} was good until {day(until)}, and clients"
               " may refuse it")


def _key_log(where: str, path: str) -> Iterator[str]:
    if path:
        yield f"{where}.key_log: who can read {path} can read all that is sent"


def _routes(listener: EffectiveListener) -> tuple[EffectiveRoute, ...]:
    return listener.http.routes if listener.http is not None else ()


def _unreachable(listener: EffectiveListener) -> Iterator[str]:
    routes = _routes(listener)
    before = Covering()
    for i, route in enumerate(routes):
        first = before.first(route)
        if first is not None:
            yield (
                f"listeners.{listener.name}: route '{route.name}' is never reached: all that fits"
                f" it fits '{routes[first].name}', which is tried before"
            )
        before.add(i, route)


def _keyless(listener: EffectiveListener, values: Effective) -> Iterator[str]:
    """Routes that lack the segment that their pool hashes."""
    keys = {
        pool.name: pool.hash_on.removeprefix("path.")
        for pool in values.pools
        if pool.hash_on.startswith("path.")
    }
    what = "client.ip is hashed instead"
    used = set(pools_of(listener)) if listener.http is not None else set()
    for pool in values.pools:
        if pool.name in used and pool.hash_on.startswith("mqtt."):
            yield (
                f"listeners.{listener.name}: pool '{pool.name}' hashes {pool.hash_on}, which no"
                f" request has: {what}"
            )
    for route in _routes(listener):
        names = set(_segments(route.path))
        for name in targets(route):
            if name in keys and not route.hash_on and keys[name] not in names:
                yield (
                    f"listeners.{listener.name}: route '{route.name}' has no segment"
                    f" {{{keys[name]}}}, which pool '{name}' hashes: {what}"
                )
    if listener.pool in keys and listener.http is not None:
        yield (
            f"listeners.{listener.name}.pool: what no route fits has no segment"
            f" {{{keys[listener.pool]}}}, which pool '{listener.pool}' hashes: {what}"
        )


def _unsecured(listener: EffectiveListener, values: Effective) -> Iterator[str]:
    """What asks for facts of TLS that no client of the listener has."""
    those = [one.tls for one in values.accepting(listener) if one.tls is not None]
    if any(tls.client_auth != "none" for tls in those):
        return
    tls = those[0] if those else None
    missing = "tls." if tls is None else "tls.client_"
    known = ("tls.sni",) if listener.sniffing is not None else ()       # of a hello
    why = "has no TLS" if tls is None else "asks clients for no certificates (client_auth)"
    where = f"listeners.{listener.name}"
    for route in _routes(listener):
        facts = {f"tls.{c.name}" for c in route.conditions if c.kind == "tls" and not c.negate}
        facts |= {route.hash_on, route.split_on}
        for fact in sorted(fact for fact in facts if fact.startswith(missing)):
            yield f"{where}: route '{route.name}' is about {fact}, and the listener {why}"
    used = set(pools_of(listener))
    for pool in values.pools:
        if pool.name in used and pool.hash_on.startswith(missing) and pool.hash_on not in known:
            yield (f"{where}: pool '{pool.name}' hashes {pool.hash_on}, and the listener {why}:"
                   " client.ip is hashed instead")


def _unproxied(listener: EffectiveListener, values: Effective) -> Iterator[str]:
    """What asks for facts of the PROXY protocol, which the listener doesn't hear."""
    if hears_proxies(listener, values):
        return
    where = f"listeners.{listener.name}"
    # (a route of a TCP listener is listed once for each name)
    asked: dict[str, set[str]] = {}
    sniffed = listener.sniffing.routes if listener.sniffing is not None else ()
    routes: tuple[EffectiveRoute | SniffRoute, ...] = (*_routes(listener), *sniffed)
    for route in routes:
        facts = {f"proxy.{c.name}" for c in route.conditions if c.kind == "proxy" and not c.negate}
        asked.setdefault(route.name, set()).update(f"is about {fact}" for fact in facts)
        asked[route.name] |= {f"hashes {key}" for key in (route.hash_on, route.split_on)
                              if key.startswith("proxy.")}
    for name, whats in asked.items():
        for what in sorted(whats):
            yield f"{where}: route '{name}' {what}, and proxy_protocol isn't given"
    used = set(pools_of(listener))
    for pool in values.pools:
        if pool.name in used and pool.hash_on.startswith("proxy."):
            yield (f"{where}: pool '{pool.name}' hashes {pool.hash_on}, and proxy_protocol isn't"
                   " given: client.ip is hashed instead")


def _segments(path: str) -> Iterator[str]:
    for segment in path.split("/"):
        if segment.startswith("{"):
            yield segment[1:-1]
