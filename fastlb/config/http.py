"""The part of the model that is about http: routes, and what a listener does with every request."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field, WithJsonSchema, create_model

from fastlb.config import limits
from fastlb.config.base import Duration, Model, Size, Switch, as_list
from fastlb.config.compare import TEXT, loose
from fastlb.config.conditions import Match, Method
from fastlb.config.failing import Retry
from fastlb.config.pages import Errors
from fastlb.config.parts import fields_of_listeners, fields_of_routes
from fastlb.config.patterns import (
    KEY,
    PLAIN_KEYS,
    check_edited_name,
    check_field_name,
    check_template,
    listed,
)
from fastlb.config.policy import AnyPolicy
from fastlb.config.proxy_protocol import check_network
from fastlb.config.sources import AnyRequestRate
from fastlb.config.units import show


def _merge(value: Any) -> Any:
    return {True: "match", False: "off"}.get(value, value) if isinstance(value, bool) else value


def _check_key(value: str) -> str:
    if not re.fullmatch(KEY, value):
        raise ValueError(f"{show(value)} is not a key to hash. One of: {listed(PLAIN_KEYS)}")
    return value


def _check_pseudonym(value: str) -> str:
    return check_field_name(value) if value else value


def _redirect(value: Any) -> Any:
    return {"to": value} if isinstance(value, str) else value


def _check_plain(value: str) -> str:
    if any((ord(c) < 32 and c != "\t") or ord(c) == 127 for c in value):
        raise ValueError(f"{show(value)} has a control character")
    return value


HashKey = Annotated[
    str, AfterValidator(_check_key), WithJsonSchema({"type": "string", "pattern": KEY})
]
Template = Annotated[str, AfterValidator(check_template)]
EditedName = Annotated[str, AfterValidator(check_edited_name)]
PoolName = Annotated[str, Field(min_length=1, max_length=limits.NAME_MAX)]


class Redirect(Model):
    """An answer that sends the client elsewhere."""

    to: Template
    """The location; may have variables."""
    status: Annotated[Literal[301, 302, 303, 307, 308], limits.REDIRECT_STATUS] = 302
    """Its status."""
    keep_query: Annotated[Switch, limits.KEEP_QUERY] = limits.KEEP_QUERY.default
    """Add the request's query to a location that has none, no fragment and no variable for it."""


class Respond(Model):
    """An answer without a server."""

    status: Annotated[
        int,
        Field(strict=True, ge=limits.RESPOND_STATUS.low, le=limits.RESPOND_STATUS.high),
        limits.RESPOND_STATUS,
    ] = limits.RESPOND_STATUS.default
    """Its status."""
    body: Annotated[str, Field(max_length=limits.RESPOND_BYTES_MAX), limits.RESPOND_BODY] = ""
    """Its content."""
    content_type: Annotated[
        str, AfterValidator(_check_plain), limits.RESPOND_TYPE
    ] = "text/plain; charset=utf-8"
    """What the content is."""
    headers: Annotated[
        dict[EditedName, Annotated[str, AfterValidator(_check_plain)]], limits.RESPOND_HEADERS
    ] = Field(default_factory=dict)
    """More header fields."""


class Unavailable(Respond):
    """What clients are told when no server of a pool can be had, instead of a bare 503."""

    status: Annotated[
        int,
        Field(strict=True, ge=limits.RESPOND_STATUS.low, le=limits.RESPOND_STATUS.high),
        limits.UNAVAILABLE_STATUS,
    ] = limits.UNAVAILABLE_STATUS.default
    """Its status; a 503 says when to come back, as `limits.retry_after` has it."""


class Rewrite(Model):
    """What the server gets instead of what the client asked for."""

    path: Annotated[Template, limits.REWRITE] | None = None
    """The path; may have variables, such as `{path.rest}` for what `*` matched."""
    host: Annotated[Template, limits.REWRITE] | None = None
    """The host; may have variables."""


class HeaderEdits(Model):
    """Changes of header fields; values may have variables."""

    set: Annotated[dict[EditedName, Template], limits.EDITS] = Field(default_factory=dict)
    """Fields that replace any of their name."""
    add: Annotated[dict[EditedName, Template], limits.EDITS] = Field(default_factory=dict)
    """Fields beside any of their name."""
    remove: Annotated[
        list[EditedName], BeforeValidator(as_list), limits.EDITS
    ] = Field(default_factory=list)
    """Fields that go."""


class Forwarded(Model):
    """What servers are told of the client, and by whom it is believed."""

    trusted: Annotated[
        list[Annotated[str, AfterValidator(check_network)]],
        BeforeValidator(as_list),
        limits.TRUSTED,
    ] = Field(default_factory=list)
    """Networks of proxies before us, whose forwarded headers are kept; others' are replaced."""
    keep: Annotated[
        list[Literal[
            "x-real-ip", "x-forwarded-port", "x-forwarded-prefix", "x-forwarded-server",
            "x-forwarded-ssl", "x-forwarded-scheme", "x-forwarded-client-cert", "x-original-url",
            "x-rewrite-url", "x-client-cert", "true-client-ip", "x-cluster-client-ip",
        ]],
        BeforeValidator(as_list),
        limits.KEPT_CLAIMS,
    ] = Field(default_factory=list)
    """Header fields that servers believe of proxies, and are removed from the requests of anybody
    who isn't trusted; those named here pass."""
    headers: Annotated[
        list[Literal["x-forwarded-for", "x-forwarded-proto", "x-forwarded-host", "forwarded"]],
        BeforeValidator(as_list),
        limits.FORWARDED_HEADERS,
    ] = Field(default_factory=lambda: list(limits.FORWARDED_HEADERS.default))
    """Which are written."""


class _Route(Model):
    """A match on a request, and what to do with it: one of pool, split, redirect and respond, or a
    policy that says it. Of tcp a match on a connection: one of pool, split and listener, or a
    policy."""

    name: Annotated[str, Field(min_length=1, max_length=limits.NAME_MAX)]
    """Seen in logs and metrics; unique in its listener."""
    match: Match = Field(default_factory=Match)
    """What a request must have; without it, every one fits."""
    order: Annotated[
        int,
        Field(strict=True, ge=limits.ROUTE_ORDER.low, le=limits.ROUTE_ORDER.high),
        limits.ROUTE_ORDER,
    ] = limits.ROUTE_ORDER.default
    """Routes with a lower number are tried before others, whatever is more specific."""
    pool: Annotated[PoolName, limits.ACTION] | None = None
    """The pool that the request goes to."""
    split: Annotated[
        dict[str, Annotated[int, Field(strict=True, ge=0, le=10_000)]], limits.ACTION
    ] | None = None
    """Pools with their shares of the requests."""
    listener: Annotated[PoolName, limits.ACTION] | None = None
    """The HTTP listener that goes on with the connection, as if it had accepted it."""
    redirect: (
        Annotated[
            Redirect,
            BeforeValidator(_redirect),
            loose({"anyOf": [TEXT, {"type": "object"}]}),
            limits.ACTION,
        ]
        | None
    ) = None
    """Where the client is sent to, or a table."""
    respond: Annotated[Respond, limits.ACTION] | None = None
    """An answer of our own."""
    policy: Annotated[AnyPolicy, limits.POLICY] | None = None
    """A Python function that decides, or a table with more about it; beside it, `pool` or `split`
    is what is done when it returns None, and the listener's pool where neither is given."""
    split_on: Annotated[HashKey, limits.SPLIT_ON] | None = None
    """What a split is decided by, so that a client stays."""
    hash_on: Annotated[HashKey, limits.ROUTE_HASH_ON] | None = None
    """What is hashed, instead of what the pool says."""
    rewrite: Annotated[Rewrite, limits.REWRITE] = Field(default_factory=Rewrite)
    """Another path or host for the server."""
    request_headers: Annotated[HeaderEdits, limits.EDITS] = Field(default_factory=HeaderEdits)
    """Changes of the request's header fields."""
    response_headers: Annotated[HeaderEdits, limits.EDITS] = Field(default_factory=HeaderEdits)
    """Changes of the response's header fields, and of those of answers that fastlb makes itself."""
    errors: Errors | None = None
    """Pages for errors that fastlb answers with, by status, as of the listener."""
    priority: Annotated[Literal["high", "normal", "low"], limits.PRIORITY] = "normal"
    """Whose turn it is where requests wait for a place in a pool (`limits`)."""
    retry: Annotated[Retry, limits.ROUTE_RETRY] | None = None
    """When another server is tried, instead of what the pool says; the budget is the pool's."""
    response_header_timeout: (
        Annotated[str, Duration(limits.RESPONSE_HEADER_TIMEOUT)] | None
    ) = None
    """As of the listener."""
    request_timeout: Annotated[str, Duration(limits.REQUEST_TIMEOUT)] | None = None
    """As of the listener."""
    body_idle_timeout: Annotated[str, Duration(limits.BODY_IDLE_TIMEOUT)] | None = None
    """As of the listener."""
    websocket_timeout: Annotated[str, Duration(limits.WEBSOCKET_TIMEOUT)] | None = None
    """As of the listener."""
    max_body_size: Annotated[str, Size(limits.MAX_BODY_SIZE)] | None = None
    """As of the listener."""
    on_client_close: (
        Annotated[Literal["cancel", "cancel_on_fin", "drain"], limits.ON_CLIENT_CLOSE] | None
    ) = None
    """As of the listener."""


if TYPE_CHECKING:
    Route = _Route
else:
    Route = create_model(
        "Route", __base__=_Route, __module__=__name__, __doc__=_Route.__doc__,
        **fields_of_routes())


class _HttpKeys(Model):
    """What http listeners have in common with `[defaults]`."""

    request_header_timeout: (
        Annotated[str, Duration(limits.REQUEST_HEADER_TIMEOUT)] | None
    ) = None
    """From a connection's begin, or a request's first byte, to the end of its head; then 408."""
    response_header_timeout: (
        Annotated[str, Duration(limits.RESPONSE_HEADER_TIMEOUT)] | None
    ) = None
    """From the end of a request to the head of its response; then 504."""
    request_timeout: Annotated[str, Duration(limits.REQUEST_TIMEOUT)] | None = None
    """For a whole exchange, but for upgrades; 0s: none."""
    body_idle_timeout: Annotated[str, Duration(limits.BODY_IDLE_TIMEOUT)] | None = None
    """How long a body may stand still."""
    keepalive_timeout: Annotated[str, Duration(limits.KEEPALIVE_TIMEOUT)] | None = None
    """How long a client's connection may wait for its next request."""
    websocket_timeout: Annotated[str, Duration(limits.WEBSOCKET_TIMEOUT)] | None = None
    """How long a WebSocket, or another upgrade, may be silent."""
    request_headers: Annotated[HeaderEdits, limits.EDITS] | None = None
    """Changes of the header fields of all requests. What a route or a pool says of a field comes
    before it."""
    response_headers: Annotated[HeaderEdits, limits.EDITS] | None = None
    """Changes of the header fields of all responses, those that fastlb makes itself among them.
    What a route says of a field comes before it."""
    errors: Errors | None = None
    """Pages for errors that fastlb answers with, by status or class: `{ 503 = { file = "503.html"
    }, 5xx = { body = "..." } }`. Each may be a list of two, one of them JSON."""


if TYPE_CHECKING:
    HttpKeys = _HttpKeys
else:
    HttpKeys = create_model(
        "HttpKeys", __base__=_HttpKeys, __module__=__name__, __doc__=_HttpKeys.__doc__,
        **fields_of_listeners())


class HttpPool(Model):
    """What pools have for http alone."""

    request_headers: Annotated[HeaderEdits, limits.EDITS] | None = None
    """Changes of the header fields of requests that are routed to this pool. What a route says of a
    field comes before it, and it comes before the listener's."""
    response_headers: Annotated[HeaderEdits, limits.EDITS] | None = None
    """Changes of the header fields of their responses. What a route or the listener says of a field
    comes before it."""


class HttpListener(Model):
    """What only http listeners have, but for the routes."""

    routes: Annotated[list[Route], BeforeValidator(as_list), limits.ROUTES] = Field(
        default_factory=list
    )
    """`[[listeners.NAME.routes]]`: the most specific that fits is taken, then `pool`, then 404; of
    tcp, then `policy` or `pool`, or the connection is closed."""
    max_header_size: Annotated[str, Size(limits.MAX_HEADER_SIZE)] = "32KiB"
    """Of a request's head; then 431."""
    max_headers: Annotated[
        int,
        Field(strict=True, ge=limits.MAX_HEADERS.low, le=limits.MAX_HEADERS.high),
        limits.MAX_HEADERS,
    ] = limits.MAX_HEADERS.default
    """Header fields of a request; then 431."""
    min_request_rate: AnyRequestRate | None = None
    """How fast clients have to send heads and bodies that they have begun: a rate such as "1KiB/s",
    or a table. Slower ones get 408. A time in which the server takes nothing isn't counted."""
    max_uri_length: Annotated[str, Size(limits.MAX_URI_LENGTH)] = "8KiB"
    """Of a request's target; then 414."""
    max_body_size: Annotated[str, Size(limits.MAX_BODY_SIZE)] = "0B"
    """Of a request; then 413. 0B: no limit."""
    max_requests: Annotated[
        int,
        Field(strict=True, ge=limits.MAX_REQUESTS.low, le=limits.MAX_REQUESTS.high),
        limits.MAX_REQUESTS,
    ] = 0
    """On one connection; 0: no limit."""
    max_h2_window: Annotated[str, Size(limits.MAX_H2_WINDOW)] = "16MiB"
    """How far windows of a connection of HTTP/2 may grow, for uploads: bytes that its client may
    have under way, and that are held if the server doesn't take them."""
    forwarded: Annotated[Forwarded, limits.FORWARDED] = Field(default_factory=Forwarded)
    """What servers are told of the client."""
    request_id: Annotated[Switch, limits.REQUEST_ID] = limits.REQUEST_ID.default
    """Pass X-Request-Id on, or make one."""
    traceparent: Annotated[Switch, limits.TRACEPARENT] = limits.TRACEPARENT.default
    """Make a traceparent (W3C Trace Context) where there is none; else it is passed on."""
    via: Annotated[str, AfterValidator(_check_pseudonym), limits.VIA] = ""
    """The name that Via is given; none if empty."""
    error_header: Annotated[
        str, AfterValidator(_check_pseudonym), limits.ERROR_HEADER
    ] = limits.ERROR_HEADER.default
    """The header field that says why an answer is ours; none if empty."""
    max_discard_size: Annotated[str, Size(limits.MAX_DISCARD_SIZE)] = "64MiB"
    """How much of a request's body is read and thrown away, for 30 s at most, where it is answered
    before its end (413, say), so that the client gets to read the answer."""
    on_client_close: Annotated[
        Literal["cancel", "cancel_on_fin", "drain"], limits.ON_CLIENT_CLOSE
    ] = limits.ON_CLIENT_CLOSE.default
    """What becomes of a request whose client has gone. "cancel": it is cancelled when the client
    resets its connection or stream; one that only closes its sending side gets its answer.
    "cancel_on_fin": it is cancelled then too. "drain": it is carried through."""
    h2c: Annotated[Switch, limits.H2C] = limits.H2C.default
    """Let clients of `http://` speak HTTP/2 from their first byte on (prior knowledge; RFC 9113,
    3.3). Over https they choose it by ALPN."""
    merge_slashes: Annotated[
        Literal["match", "rewrite", "off"],
        BeforeValidator(_merge),
        loose({"anyOf": [{"type": "boolean"}, {"enum": ["match", "rewrite", "off"]}]}),
        limits.MERGE_SLASHES,
    ] = limits.MERGE_SLASHES.default
    """Let `//a///b` be `/a/b`: for routes, while servers get what came; with `"rewrite"` for both;
    or for nobody. `true` is `"match"` and `false` is `"off"`."""
    underscores: Annotated[
        Literal["drop", "keep", "refuse"], limits.UNDERSCORES
    ] = limits.UNDERSCORES.default
    """What becomes of header fields whose names have underscores: they are dropped before routes
    look, or kept, or the request is refused with 400."""
    path_parameters: Annotated[
        Literal["pass", "refuse"], limits.PATH_PARAMETERS
    ] = limits.PATH_PARAMETERS.default
    """Refuse requests with a `;` in their path with 400: servers in Java, among others, cut off
    what follows it in a segment, so that `/admin;x` is `/admin`, and `..;` is `..`."""
    methods: Annotated[
        list[Method],
        BeforeValidator(as_list),
        limits.METHODS,
    ] = Field(default_factory=list)
    """The methods that requests may have; others get 501. None given: any."""
    max_match_body: Annotated[str, Size(limits.MAX_MATCH_BODY)] = "64KiB"
    """Of a body that routes look at; a longer one fits no route that does."""
