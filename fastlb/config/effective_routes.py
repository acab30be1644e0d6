"""Routes with what they take over from their listener, in the order in which they are tried."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import Any

from fastlb.config import http as model
from fastlb.config import limits
from fastlb.config.compare import Compare, written_names
from fastlb.config.conditions import Conditions
from fastlb.config.effective_http import (
    Condition,
    EffectiveHttp,
    EffectiveRoute,
    HeaderOp,
    Respond,
    over,
)
from fastlb.config.failing import effective_retry
from fastlb.config.http import HeaderEdits, Route
from fastlb.config.limits import Limit
from fastlb.config.model import Config, Listener
from fastlb.config.pages import effective_pages
from fastlb.config.part import Place
from fastlb.config.parts import PARTS, Services
from fastlb.config.patterns import OTHER_KINDS, PROXY_FACTS, TLS_FACTS
from fastlb.config.policy import effective_policy
from fastlb.config.proxy_protocol import parse_network
from fastlb.config.sources import effective_request_rate
from fastlb.config.units import duration_ms, show_ms, size_bytes

Look = Callable[[str, Any], Any]        # a key of the listener or the defaults, or what is built in

TIMEOUTS = {
    "request_header_timeout": limits.REQUEST_HEADER_TIMEOUT,
    "response_header_timeout": limits.RESPONSE_HEADER_TIMEOUT,
    "request_timeout": limits.REQUEST_TIMEOUT,
    "body_idle_timeout": limits.BODY_IDLE_TIMEOUT,
    "keepalive_timeout": limits.KEEPALIVE_TIMEOUT,
    "websocket_timeout": limits.WEBSOCKET_TIMEOUT,
}


# Of hosts; a star stands for all that is below one.
NAMES = (("tls", "sni"), ("proxy", "authority"))
IN_NETWORK = ("client", "network")      # sets of networks, by their names


def effective_http(name: str, listener: Listener, look: Look, config: Config) -> EffectiveHttp:
    """What an http listener needs to know, as numbers."""
    defaults = config.defaults
    timeouts: dict[str, Any] = {
        f"{key}_ms": _ms(look, key, limit) for key, limit in TIMEOUTS.items()
    }
    for key in ("max_header_size", "min_request_rate", "max_headers", "max_uri_length",
                "max_body_size", "max_requests", "max_h2_window", "request_id", "traceparent",
                "via", "error_header", "on_client_close", "max_discard_size", "h2c",
                "merge_slashes", "underscores", "path_parameters", "methods", "max_match_body",
                "forwarded", "request_headers", "response_headers", "errors"):
        look(key, None)
    body_bytes_max = size_bytes(listener.max_body_size)
    base = EffectiveHttp(
        **timeouts,
        header_bytes_max=size_bytes(listener.max_header_size),
        headers_max=listener.max_headers,
        request_rate=effective_request_rate(listener.min_request_rate),
        uri_bytes_max=size_bytes(listener.max_uri_length),
        body_bytes_max=body_bytes_max,
        requests_max=listener.max_requests,
        h2_window_max=size_bytes(listener.max_h2_window),
        trusted=tuple(parse_network(n) for n in listener.forwarded.trusted),
        forwarded=tuple(listener.forwarded.headers),
        request_id=listener.request_id,
        traceparent=listener.traceparent,
        via=listener.via,
        error_header=listener.error_header,
        on_client_close=listener.on_client_close,
        discard_bytes_max=size_bytes(listener.max_discard_size),
        merge_slashes=listener.merge_slashes,
        underscores=listener.underscores,
        refuse_parameters=listener.path_parameters == "refuse",
        methods=tuple(listener.methods),
        kept_claims=tuple(listener.forwarded.keep),
        h2c=listener.h2c,
        match_body_bytes=size_bytes(listener.max_match_body),
        request_headers=over(
            edits_of(defaults.request_headers), edits_of(listener.request_headers)),
        default_response_headers=edits_of(defaults.response_headers),
        response_headers=edits_of(listener.response_headers),
        errors=(*effective_pages(listener.errors), *effective_pages(defaults.errors)),
        services=_services(
            {key: look(key, None) for key, part in PARTS.items() if not part.routes_only}, (),
            Place(f"{name}/*", config)),
    )
    routes = [one for route in listener.routes
              for one in _routes(route, base, Place(f"{name}/{route.name}", config))]
    routes.sort(key=specificity)
    return EffectiveHttp(**{**vars(base), "routes": tuple(routes)})


def effective_respond(given: model.Respond) -> Respond:
    headers = tuple(given.headers.items())
    return Respond(given.status, given.content_type, headers, given.body.encode())


def _ms(look: Look, key: str, limit: Limit) -> int:
    return duration_ms(look(key, show_ms(limit.default)))


def _routes(route: Route, http: EffectiveHttp, place: Place) -> Iterator[EffectiveRoute]:
    """One for each of its hosts and paths, by the same name: they are found one by one."""
    match = route.match
    made = _route(route, http, place)
    for host in match.host or ("",):
        for path in match.path or ("",):
            for regex in match.path_regex or ("",):
                yield replace(made, host=host, path=path, path_regex=regex)


def _route(route: Route, http: EffectiveHttp, place: Place) -> EffectiveRoute:
    match = route.match
    own: dict[str, Any] = {
        f"{key}_ms": duration_ms(value)
        for key in TIMEOUTS
        if (value := getattr(route, key, None)) is not None
    }
    timeouts: dict[str, Any] = {
        f"{key}_ms": getattr(http, f"{key}_ms")
        for key in ("response_header_timeout", "request_timeout", "body_idle_timeout",
                    "websocket_timeout")
    }
    return EffectiveRoute(
        name=route.name,
        order=route.order,
        methods=tuple(match.method or ()),
        conditions=(*_named(match, False), *_negated(match.not_)),
        pool=route.pool or "",
        split=tuple((route.split or {}).items()),
        split_on=route.split_on or "",
        redirect=(route.redirect.status, route.redirect.to) if route.redirect else None,
        keep_query=route.redirect.keep_query if route.redirect else True,
        respond=effective_respond(route.respond) if route.respond is not None else None,
        hash_on=route.hash_on or "",
        rewrite_path=route.rewrite.path or "",
        rewrite_host=route.rewrite.host or "",
        request_headers=edits_of(route.request_headers),
        response_headers=over(http.response_headers, edits_of(route.response_headers)),
        errors=effective_pages(route.errors),
        max_body_bytes=http.body_bytes_max if route.max_body_size is None
        else size_bytes(route.max_body_size),
        services=_services({key: getattr(route, key) for key in PARTS}, http.services, place),
        priority=route.priority,
        policy=effective_policy(route.policy) if route.policy is not None else None,
        retry=effective_retry(route.retry) if route.retry is not None else None,
        on_client_close=route.on_client_close or http.on_client_close,
        **{**timeouts, **own},
    )


def _services(written: Mapping[str, Any], inherited: Services, place: Place) -> Services:
    """What is written, and where nothing is, what the listener has."""
    above = dict(inherited)
    found = {
        key: above.get(key) if value is None else PARTS[key].effective(value, place)
        for key, value in written.items()
    }
    return tuple((key, value) for key, value in found.items() if value is not None)


def edits_of(edits: HeaderEdits | None) -> tuple[HeaderOp, ...]:
    return tuple(_edits(edits)) if edits is not None else ()


def _edits(edits: HeaderEdits) -> Iterator[HeaderOp]:
    for name in edits.remove:
        yield HeaderOp("remove", name, "")
    for name, value in edits.set.items():
        yield HeaderOp("set", name, value)
    for name, value in edits.add.items():
        yield HeaderOp("add", name, value)


def _named(match: Conditions, negate: bool) -> Iterator[Condition]:
    tables = (
        ("header", match.headers), ("query", match.query), ("cookie", match.cookies),
        ("json", match.json_), ("form", match.form),
    )
    if match.client_ip:
        yield Condition("client", "", "network", " ".join(match.client_ip), negate)
    for fact in TLS_FACTS:
        compared = getattr(match.tls, fact)
        if compared is not None:
            yield condition_of("tls", fact, compared, negate)
    yield from told_conditions(match, negate)
    for kind, table in tables:
        for name, value in table.items():
            yield condition_of(kind, name, value, negate)


def told_conditions(match: Conditions, negate: bool) -> Iterator[Condition]:
    """What is asked of a client beside TLS."""
    for kind, facts in {"proxy": PROXY_FACTS, **OTHER_KINDS}.items():
        for fact in facts:
            compared = getattr(getattr(match, kind), fact)
            if compared is not None:
                yield condition_of(kind, fact, compared, negate)


def condition_of(kind: str, name: str, value: Compare, negate: bool) -> Condition:
    if (kind, name) == IN_NETWORK:
        return Condition(kind, name, "network", " ".join(written_names(value)), negate)
    if (kind, name) in NAMES:
        names = written_names(value)
        if any(one.startswith("*.") for one in names):
            below = "\n".join(one.removeprefix("*") for one in names)
            return Condition(kind, name, "names", below, negate)
    if value.present is not None:
        return Condition(kind, name, "present", "", negate == value.present)
    if value.equals is not None:
        return Condition(kind, name, "equals", value.equals, negate)
    for op in ("one_of", "prefix", "suffix", "contains", "regex"):
        texts = getattr(value, op)
        if texts is not None:
            return Condition(kind, name, op, "\n".join(texts), negate)
    raise AssertionError("check.py has seen to it")


def _negated(match: Conditions) -> Iterator[Condition]:
    for host in match.host or ():
        yield Condition("host", "", "equals", host, True)
    for path in match.path or ():
        yield Condition("path", "", "pattern", path, True)
    for regex in match.path_regex or ():
        yield Condition("path", "", "regex", regex, True)
    if match.method:
        yield Condition("method", "", "equals", " ".join(match.method), True)
    yield from _named(match, True)


def specificity(route: EffectiveRoute) -> tuple[Any, ...]:
    """Sorts by `order`, and then the most specific first: by host, path, method, and the number of
    conditions. What is equal stays in the order of writing."""
    host = (0,) if route.host and not route.host.startswith("*") else (
        (1, -len(route.host)) if route.host else (2,)
    )
    return (route.order, host, _path_rank(route), not route.methods, -len(route.conditions))


def _path_rank(route: EffectiveRoute) -> tuple[int, ...]:
    if route.path_regex:
        return (3,)
    if not route.path:
        return (4,)
    segments = route.path[1:].split("/")
    is_open = segments[-1] == "*"
    named = sum(segment.startswith("{") for segment in segments)
    size = len(segments) - is_open
    if named:
        return (1, is_open, -(size - named), -size)
    return (2, -size) if is_open else (0,)
