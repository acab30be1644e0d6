"""What values of a tcp listener's routes say about each other, and about pools and listeners."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from fastlb.config.address import OVER_TLS
from fastlb.config.compare import Secured
from fastlb.config.conditions import Match
from fastlb.config.hints import Found, hint
from fastlb.config.http import Route
from fastlb.config.patterns import OTHER_KINDS, fact_of
from fastlb.config.positions import Path
from fastlb.config.sniffing import PROTOCOLS
from fastlb.config.units import show

ACTIONS = ("pool", "split", "listener")
ROUTE_KEYS = ("name", "match", *ACTIONS, "split_on", "hash_on", "policy")
MATCH_KEYS = ("protocol", "tls", "proxy", "mqtt", "client_ip", *OTHER_KINDS)
# What is in a hello, while nobody has ended its TLS.
HELLO_FACTS = ("sni", "alpn")
# (What is no key at all is told otherwise.)
_OF_MATCH = frozenset(field.alias or name for name, field in Match.model_fields.items())

Table = Mapping[str, Any]


def check_tcp_route(
    path: Path, route: Table, written: str, schemes: Mapping[str, str]
) -> Iterator[Found]:
    """What is wrong with it besides what can be wrong with any route. `written` is the scheme of
    its listener, and `schemes` are those of all listeners."""
    whose = f"bind is {written}://{as_http(written)}"
    for key in route:
        if key not in ROUTE_KEYS and key in Route.model_fields:
            yield (*path, key), f"{key} belongs to a route of an http listener, and {whose}", ()
    for where, match in conditions(path, route):
        for key in match:
            if key not in (*MATCH_KEYS, "not") and key in _OF_MATCH:
                yield (*where, key), f"{key} is for HTTP only, and {whose}", MATCH_KEYS
        tls = match.get("tls")
        for key in tls if isinstance(tls, Mapping) and written == "tcp" else ():
            if key not in HELLO_FACTS and key in Secured.model_fields:
                yield (*where, "tls", key), (
                    f"{key} is known only where TLS ends, and bind is {written}://"), HELLO_FACTS
    yield from _protocols(path, route)
    for key in ("hash_on", "split_on"):
        value = route.get(key)
        fact = fact_of(value) if isinstance(value, str) else None
        if fact is not None and not fact.of_connections:
            yield (*path, key), f"{value} is for HTTP only, and {whose}", ()
    target = route.get("listener")
    if isinstance(target, str):
        yield from _target((*path, "listener"), target, written, schemes)


def as_http(written: str) -> str:
    """What to write where something of HTTP was meant: the end of a sentence."""
    better = "https" if written in OVER_TLS else "http"
    return f"; write {better}:// there if its clients speak HTTP"


def check_http_route(path: Path, route: Table, written: str) -> Iterator[Found]:
    """What only routes of tcp have."""
    whose = f"a route of a tcp listener, and bind is {written}://"
    if "listener" in route:
        yield (*path, "listener"), f"listener belongs to {whose}", ()
    for where, match in conditions(path, route):
        for key in ("protocol", "mqtt"):
            if key in match:
                yield (*where, key), f"{key} belongs to {whose}", ()
        if isinstance(match.get("tls"), Mapping) and "alpn" in match["tls"]:
            yield (*where, "tls", "alpn"), f"alpn belongs to {whose}", ()
    for key in ("hash_on", "split_on"):
        value = route.get(key)
        fact = fact_of(value) if isinstance(value, str) else None
        if fact is not None and fact.in_bytes:
            yield (*path, key), f"{value} is for TCP only, and bind is {written}://", ()


def conditions(path: Path, route: Table) -> Iterator[tuple[Path, Table]]:
    match = route.get("match")
    if isinstance(match, Mapping):
        yield (*path, "match"), match
        if isinstance(match.get("not"), Mapping):
            yield (*path, "match", "not"), match["not"]


def _protocols(path: Path, route: Table) -> Iterator[Found]:
    found = [_listed(match.get("protocol")) for _, match in conditions(path, route)]
    if len(found) == 2 and found[1]:
        left = set(found[0] or PROTOCOLS) - set(found[1])
        if not left:
            yield (*path, "match", "not", "protocol"), "no protocol is left for this route", ()


def _listed(value: Any) -> tuple[str, ...]:
    if isinstance(value, str):
        return (value,)
    return tuple(one for one in value or () if isinstance(one, str)) \
        if isinstance(value, (list, tuple)) else ()


def _target(
    path: Path, name: str, written: str, schemes: Mapping[str, str]
) -> Iterator[Found]:
    valid = tuple(one for one, scheme in schemes.items() if scheme in ("http", "https"))
    if name not in schemes:
        more = hint(name, valid) if valid else f"; write a [listeners.{name}] with an http:// bind"
        yield path, f"there is no listener {show(name)}{more}", valid
    elif name not in valid:
        yield path, (
            f"listener {show(name)} is none of http: a connection that stays one of tcp goes to a"
            " pool"
        ), valid
    elif written == "tls" and schemes[name] in OVER_TLS:
        yield path, (
            f"listener {show(name)} wants TLS, which ends at this one already: hand it over to one"
            " of http://, or bind tcp:// here"
        ), ()
