"""Routes of an http listener made into tables: pure functions of what `effective` says.

The order in which routes are tried is that of `effective`: the most specific first. Here, those of
one host and of one form of path share a hash table; the tables lie in the order of their first
routes, as a route of one may come between two of another.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from fastlb._core.tables.caller import Caller
from fastlb._core.tables.numbers import (
    ACTIONS,
    FORWARDED,
    MERGE_SLASHES,
    ON_CLIENT_CLOSE,
    OPS,
    UNDERSCORES,
)
from fastlb.compile.facts import FactSpec, fact_spec, unnamed
from fastlb.compile.filters import compile_filters
from fastlb.compile.networks import NetworksSpec, networks_spec
from fastlb.compile.templates import EditSpecs, Parts, Scope, compile_edits, template
from fastlb.config import limits
from fastlb.config.compare import any_of
from fastlb.config.effective_http import (
    Condition,
    EffectiveHttp,
    EffectiveRoute,
    Respond,
    over,
)
from fastlb.config.failing import DEADLINES_MS
from fastlb.config.pages import EffectivePage

PRIORITIES = ("high", "normal", "low")

if TYPE_CHECKING:
    from fastlb.config.captures import Captures
    from fastlb.config.failing import EffectiveRetry
    from fastlb.config.regex import Dfa


@dataclass(frozen=True)
class PatternSpec:
    """A path: literal segments, None for named ones; `open` ends with a star."""

    segments: tuple[bytes | None, ...]
    open: bool
    names: tuple[str, ...] = ()         # of all segments, "" for literal ones
    routes: list[int] = field(default_factory=list)

    @property
    def form(self) -> tuple[bool, tuple[bool, ...]]:
        """What patterns of one table have in common."""
        return self.open, tuple(segment is None for segment in self.segments)


@dataclass(frozen=True)
class ConditionSpec:
    of: FactSpec
    op: int
    negate: bool
    value: bytes = b""
    dfa: Dfa | None = None
    pattern: PatternSpec | None = None
    networks: NetworksSpec | None = None


@dataclass(frozen=True)
class ReplySpec:
    status: int
    content_type: bytes
    content: bytes
    lines: bytes                        # header fields, each with its end


@dataclass(frozen=True)
class PageSpec:
    status: int                         # or its first digit
    for_json: bool
    reply: ReplySpec


@dataclass(frozen=True)
class RouteSpec:
    name: bytes
    names: list[bytes]                  # of its path's segments, b"" for literal ones
    action: int
    status: int
    on_close: int
    pool: int                           # -1: none
    shares: list[tuple[int, int]]
    split_on: FactSpec
    hash_on: FactSpec
    conditions: list[ConditionSpec]
    location: Parts
    reply: ReplySpec | None
    rewrite_path: Parts
    rewrite_host: Parts
    request_edits: EditSpecs
    response_edits: EditSpecs
    errors: list[PageSpec]
    captures: Captures | None           # None: no template asks for any
    response_timeout_ms: int
    request_timeout_ms: int
    body_timeout_ms: int
    websocket_timeout_ms: int
    body_bytes_max: int
    retry: EffectiveRetry | None
    priority: int
    filters: Mapping[int, object]       # by FilterNumber


@dataclass(frozen=True)
class HostSpec:
    host: bytes
    shapes: list[list[PatternSpec]]
    regexes: list[tuple[Dfa, int]]
    any: list[int]


@dataclass(frozen=True)
class HttpSpec:
    header_bytes_max: int
    fields_max: int
    uri_bytes_max: int
    requests_max: int
    pace_ms: int                # how long clients are given that send slowly; 0: any time
    pace_bytes: int             # that they have to send in that time
    pace_reports: bool
    h2_window_max: int
    header_timeout_ms: int
    keepalive_timeout_ms: int
    leaving_timeout_ms: int
    stall_look_ms: int          # how often streams of HTTP/2 that nobody reads are looked for
    forwarded: int
    request_id: bool
    traceparent: bool
    merge_slashes: int
    underscores: int
    refuse_parameters: bool
    methods: bytes                      # b" GET HEAD "; b"": any
    kept_claims: int                    # a bit each
    by_hand: bool                       # routes have an order besides the most specific first
    h2c: bool
    match_body_max: int
    linger_bytes_max: int
    via: bytes
    error_header: bytes
    trusted: NetworksSpec
    request_edits: EditSpecs
    response_edits: EditSpecs      # of the defaults: routes have the others
    answer_edits: EditSpecs        # of answers without a route
    errors: list[PageSpec]
    routes: list[RouteSpec]
    hosts: list[HostSpec]
    linger_timeout_ms: int = 2_000      # for clients that still send; nginx takes 5 s, Apache 2 s
    deadlines_ms: tuple[int, ...] = DEADLINES_MS


# Streams of HTTP/2 are reset when two looks find that their client has taken nothing: so they wait
# for half of body_idle_timeout at most. A connection holds a hundred of them, one of HTTP/1.1 one.
STALL_LOOKS = 4


def dfa(pattern: str, *, whole: bool = False) -> Dfa:
    """Of a path the whole has to fit, of anything else a part that is anchored as it says."""
    from fastlb.config.regex import compile_regex  # few configurations need it

    return compile_regex(pattern, whole=whole)


def compared_by_dfa(condition: Condition) -> bool:
    """A regular expression, or a list of prefixes, suffixes or parts: one walk tells of all."""
    return condition.op == "regex" or (
        condition.op in ("prefix", "suffix", "contains") and "\n" in condition.value)


def parse_pattern(path: str) -> PatternSpec:
    """The segments of "/docs/{doc_id}/*"."""
    segments = path.removeprefix("/").split("/")
    is_open = segments[-1] == "*"
    if is_open:
        segments.pop()
    names = tuple(s[1:-1] if s.startswith("{") and s.endswith("}") else "" for s in segments)
    literals = tuple(None if n else s.encode() for s, n in zip(segments, names, strict=True))
    return PatternSpec(literals, is_open, names)


# What a condition looks at, where that is no fact by its own name.
LOOKS_AT = {
    "host": fact_spec("request.hostname"), "path": unnamed("matched_path"),
    "method": fact_spec("request.method"), "client": fact_spec("client.ip"),
}


def compile_condition(condition: Condition) -> ConditionSpec:
    value = condition.value
    kind = condition.kind if not condition.name else ""
    of = LOOKS_AT[kind] if kind else fact_spec(f"{condition.kind}.{condition.name}")
    if condition.op == "network":
        return ConditionSpec(LOOKS_AT["client"], OPS["network"], condition.negate,
                             networks=networks_spec(value.split()))
    if kind == "path" and condition.op == "regex":
        return ConditionSpec(of, OPS["regex"], condition.negate, dfa=dfa(value, whole=True))
    if kind == "path":
        return ConditionSpec(of, OPS["pattern"], condition.negate, pattern=parse_pattern(value))
    if compared_by_dfa(condition):
        compared = dfa(any_of(condition.op, value.split("\n")))
        return ConditionSpec(of, OPS["regex"], condition.negate, dfa=compared)
    op = OPS[condition.op]
    if kind == "host":
        op = OPS["suffix"] if value.startswith("*.") else OPS["equals"]
        value = value.removeprefix("*")
    elif kind == "method":
        value = f" {' '.join(value.split())} "
    elif condition.op in ("one_of", "names"):
        value += "\n"
    return ConditionSpec(of, op, condition.negate, value.encode())


def compile_pages(pages: Sequence[EffectivePage]) -> list[PageSpec]:
    return [
        PageSpec(one.status, one.for_json, ReplySpec(
            one.status, one.content_type.encode(), one.body, b""))
        for one in pages
    ]


def compile_reply(reply: Respond) -> ReplySpec:
    lines = "".join(f"{name}: {value}\r\n" for name, value in reply.headers)
    return ReplySpec(reply.status, reply.content_type.encode(), reply.body, lines.encode())


def names_of(route: EffectiveRoute) -> tuple[str, ...]:
    """Of its path's segments; "" for literal ones."""
    return tuple(parse_pattern(route.path).names) if route.path else ()


def conditions_of(route: EffectiveRoute) -> list[Condition]:
    """In the order in which they are looked at: the methods first, and bodies only where all else
    fits. Host and path are none of them, but for those that must not fit."""
    conditions = list(route.conditions)
    if route.methods:
        conditions.insert(0, Condition("method", "", "equals", " ".join(route.methods), False))
    return sorted(conditions, key=lambda c: c.kind in ("json", "form"))


def _route(
    route: EffectiveRoute, pool_index: Callable[[str], int], callers: Mapping[str, Caller]
) -> RouteSpec:
    names = names_of(route)
    scope = Scope(route, names)
    conditions = [compile_condition(c) for c in conditions_of(route)]
    action, status, location = "pool" if route.pool else "none", 0, ""
    if route.split:
        action = "split"
    elif route.redirect is not None:
        action, (status, location) = "redirect", route.redirect
    elif route.respond is not None:
        action = "respond"
    made = RouteSpec(
        name=route.name.encode(),
        names=[name.encode() for name in names],
        action=ACTIONS[action],
        status=status,
        on_close=ON_CLIENT_CLOSE[route.on_client_close],
        pool=pool_index(route.pool) if action == "pool" else -1,
        shares=[(pool_index(name), weight) for name, weight in route.split],
        split_on=fact_spec(route.split_on, names),
        hash_on=fact_spec(route.hash_on, names),
        conditions=conditions,
        location=[*template(location, scope), *_kept_query(route, location)],
        reply=compile_reply(route.respond) if route.respond is not None else None,
        rewrite_path=template(route.rewrite_path, scope),
        rewrite_host=template(route.rewrite_host, scope),
        request_edits=compile_edits(route.request_headers, scope),
        response_edits=compile_edits(route.response_headers, scope),
        errors=compile_pages(route.errors),
        captures=None,
        response_timeout_ms=route.response_header_timeout_ms,
        request_timeout_ms=route.request_timeout_ms,
        body_timeout_ms=route.body_idle_timeout_ms,
        websocket_timeout_ms=route.websocket_timeout_ms,
        body_bytes_max=route.max_body_bytes,
        retry=route.retry,
        priority=PRIORITIES.index(route.priority),
        filters=compile_filters(route, names, pool_index, callers),
    )
    return replace(made, captures=scope.captures)


def _kept_query(route: EffectiveRoute, location: str) -> Parts:
    """The request's query, behind a location that says nothing of one."""
    said = any(mark in location for mark in ("?", "#", "{request.query}", "{request.uri}"))
    return [] if said or not route.keep_query else [unnamed("kept_query")]


def _hosts(routes: Sequence[EffectiveRoute]) -> list[HostSpec]:
    """Routes by host, and within a host by the form of their path."""
    hosts: dict[bytes, HostSpec] = {}
    shapes: dict[object, list[PatternSpec]] = {}
    patterns: dict[object, PatternSpec] = {}
    for index, route in enumerate(routes):
        name = route.host.removeprefix("*").encode()
        host = hosts.setdefault(name, HostSpec(name, [], [], []))
        if route.path_regex:
            host.regexes.append((dfa(route.path_regex, whole=True), index))
        elif not route.path:
            host.any.append(index)
        else:
            pattern = parse_pattern(route.path)
            if (name, pattern.form) not in shapes:
                host.shapes.append(shapes.setdefault((name, pattern.form), []))
            known = patterns.setdefault((name, pattern.open, pattern.segments), pattern)
            if known is pattern:
                shapes[name, pattern.form].append(pattern)
            known.routes.append(index)
    for host in hosts.values():
        host.shapes.sort(key=lambda patterns: min(p.routes[0] for p in patterns))
    return list(hosts.values())


def compile_http(
    http: EffectiveHttp,
    fallback: EffectiveRoute | None,
    pool_index: Callable[[str], int],
    callers: Mapping[str, Caller],
) -> HttpSpec:
    """The tables of a listener. `fallback` is what is done where no route fits; `callers` are the
    policies, by their routes' names."""
    routes = [*http.routes, *([fallback] if fallback is not None else [])]
    pace = http.request_rate
    return HttpSpec(
        header_bytes_max=http.header_bytes_max,
        fields_max=http.headers_max,
        uri_bytes_max=http.uri_bytes_max,
        requests_max=http.requests_max,
        pace_ms=pace.grace_ms if pace is not None else 0,
        pace_bytes=max(pace.bytes_per_s * pace.grace_ms // 1000, 1) if pace is not None else 0,
        pace_reports=pace is not None and pace.report,
        h2_window_max=http.h2_window_max,
        header_timeout_ms=http.request_header_timeout_ms,
        keepalive_timeout_ms=http.keepalive_timeout_ms,
        leaving_timeout_ms=http.shutdown_idle_ms,
        stall_look_ms=-(-http.body_idle_timeout_ms // STALL_LOOKS),
        forwarded=sum(FORWARDED[name] for name in http.forwarded),
        request_id=http.request_id,
        traceparent=http.traceparent,
        merge_slashes=MERGE_SLASHES[http.merge_slashes],
        underscores=UNDERSCORES[http.underscores],
        refuse_parameters=http.refuse_parameters,
        methods=f" {' '.join(http.methods)} ".encode() if http.methods else b"",
        kept_claims=sum(1 << limits.CLAIMS.index(name) for name in http.kept_claims),
        by_hand=any(route.order for route in routes),
        h2c=http.h2c,
        match_body_max=http.match_body_bytes,
        linger_bytes_max=http.discard_bytes_max,
        via=f"Via: 1.1 {http.via}\r\n".encode() if http.via else b"",
        error_header=http.error_header.encode(),
        trusted=networks_spec(http.trusted),
        request_edits=compile_edits(http.request_headers),
        response_edits=compile_edits(http.default_response_headers),
        answer_edits=compile_edits(over(http.default_response_headers, http.response_headers)),
        errors=compile_pages(http.errors),
        routes=[_route(route, pool_index, callers) for route in routes],
        hosts=_hosts(routes),
    )
