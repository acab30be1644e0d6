"""Requests for policies alone: no balancer, no socket."""

from __future__ import annotations

import json as _json
from collections.abc import Callable, Iterable, Mapping
from typing import Any
from urllib.parse import urlsplit

from fastlb._core.policy.request import request_of
from fastlb._core.tables.caller import Caller
from fastlb._core.tables.live import Live
from fastlb.compile.routes import parse_pattern
from fastlb.policy import Proxied, Request, Tls, path_of
from fastlb.process.machine import PIP_LINE, bind_llhttp

HOST = "testserver"         # as in Starlette's tests


def request(
    method: str, url: str, *,
    headers: Mapping[str, str] | Iterable[tuple[str, str]] = (),
    cookies: Mapping[str, str] | None = None,
    body: bytes | str = b"", json: Any = None,
    client: tuple[str, int] | str = ("127.0.0.1", 50_000),
    route: Callable[..., Any] | str | None = None,
    path_params: Mapping[str, str] | None = None,
    listener: str = "test", tls: Tls | None = None, proxy: Proxied | None = None,
) -> Request:
    """A Request as a policy gets it: `by_tier(request("GET", "/sync/1", headers={"X-Tier": "a"}))`.

    `url` is a path with or without a query, or has scheme and host too. Header names may be in any
    case. `path_params` come from the path by `route`: a function that has one, or a pattern such as
    "/sync/{doc_id}"; or are given. `tls` is what TLS knows of the client, `proxy` what a trusted
    proxy told of it. Raises ValueError for what no client could have sent, or the balancer would
    have refused.
    """
    parts = urlsplit(url)
    if not parts.path.startswith("/") or parts.fragment:
        raise ValueError(f"{url!r} is not a path like /docs/1, nor an address like http://a/docs/1")
    content = body.encode() if isinstance(body, str) else body
    fields = list(headers.items() if isinstance(headers, Mapping) else headers)
    if json is not None:
        content = _json.dumps(json).encode()
        fields.append(("content-type", "application/json"))
    if cookies:
        fields.append(("cookie", "; ".join(f"{name}={value}" for name, value in cookies.items())))
    named = {name.lower() for name, _ in fields}
    if "host" not in named:
        fields.insert(0, ("host", parts.netloc or HOST))
    if content and not named & {"content-length", "transfer-encoding"}:
        fields.append(("content-length", str(len(content))))
    target = f"{parts.path}?{parts.query}" if parts.query else parts.path
    lines = [f"{method} {target} HTTP/1.1", *(f"{name}: {value}" for name, value in fields), "", ""]
    head = "\r\n".join(lines).encode("latin-1")
    if len(head.split(b"\r\n")) != len(lines):
        raise ValueError("a line break in a header field, or in the url")
    pattern = path_of(route) if callable(route) else route
    host, port = (client, 50_000) if isinstance(client, str) else client
    made = request_of(
        _caller(pattern, listener, parts.scheme), head, content, host, port, tls, proxy)
    assert isinstance(made, Request)
    if path_params is not None:
        made.known["path_params"] = dict(path_params)
    elif pattern is not None:
        _must_match(made.path, pattern)
    return made


def _caller(pattern: str | None, listener: str, scheme: str) -> Caller:
    failure = bind_llhttp()         # (once)
    if failure:
        raise RuntimeError(f"http needs llhttp, and {failure}; run: {PIP_LINE}")
    live = Live(1)
    live.close()            # nobody waits for it
    names = tuple(parse_pattern(pattern).names) if pattern is not None else ()
    return Caller(None, Request, live, listener, "test", scheme or "http", names, True)


def _must_match(path: str, pattern: str) -> None:
    wanted, found = pattern[1:].split("/"), path[1:].split("/")
    rest = wanted[-1] == "*"
    if rest:
        wanted.pop()
    fits = len(found) == len(wanted) or (rest and len(found) > len(wanted))
    if not fits or any(
        not one.startswith("{") and one != other for one, other in zip(wanted, found, strict=False)
    ):
        raise ValueError(f"{path!r} doesn't match the route's {pattern!r}")
