"""What is made of a request's line: methods, slashes, and the variables of its target."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tests.flow.conftest import wait_until
from tests.flow.http.conftest import HttpSite
from tests.flow.http.peers import HttpOrigin, Message, get

pytestmark = pytest.mark.h2

Web = Callable[..., HttpSite]
Origins = Callable[..., HttpOrigin]


# --- methods ---

@pytest.mark.parametrize("method", [
    "LIST", "BAN", "BASELINE-CONTROL", "VERSION-CONTROL", "PROPFIND", "PATCH", "GETT", "G",
    "M-SEARCH", "X_Y.Z!1", "A" * 64,
])
def test_any_method_is_passed_on_and_matched(web: Web, origins: Origins, method: str) -> None:
    origin = origins()
    site = web([origin.address], routes=[
        {"name": "this", "match": {"method": [method]}, "pool": "pool",
         "request_headers": {"set": {"x-method": "{request.method}"}}},
        {"name": "others", "respond": {"status": 404}}])
    for body in (b"", b"hello"):
        assert site.ask(get("/a?b", method=method, body=body)).status == 200
        got = origin.requests[-1]
        assert (got.method, got.target, got["x-method"]) == (method, "/a?b", method)
        assert got.body == body
    said = site.site.balancer.explain(method, "/a")
    assert said.route == "this"


def test_an_unknown_method_may_come_in_pieces(web: Web, origins: Origins) -> None:
    origin = origins()
    wire = web([origin.address]).client()
    for piece in (b"\r\n", b"LI", b"ST", b" /a", b" HTTP/1.1\r\nHost: ", b"a\r\n\r", b"\n"):
        wire.send(piece)
    assert wire.response().status == 200
    assert origin.requests[0].line == "LIST /a HTTP/1.1"


def test_a_listener_can_restrict_methods(web: Web, origins: Origins) -> None:
    origin = origins()
    site = web([origin.address], methods=["GET", "BAN"])
    for method in ("GET", "BAN"):
        assert site.ask(get("/", method=method)).status == 200
    for method in ("POST", "HEAD", "LIST", "GE", "BANG"):
        got = site.ask(get("/", method=method), method)
        assert (got.status, got["x-fastlb-error"]) == (501, "bad_request")
    assert [one.method for one in origin.requests] == ["GET", "BAN"]


# --- empty lines ---

@pytest.mark.http1
def test_empty_lines_behind_a_body_begin_no_request(web: Web, origins: Origins) -> None:
    """RFC 9112, 2.2. The request timer, which is the shorter one here, would answer with 408."""
    site = web([origins().address], request_header_timeout="10m", keepalive_timeout="1h")
    wires = [site.client() for _ in range(3)]
    for wire, rest in zip(wires, (b"\r\n", b"\r\n\r\n", b"\n"), strict=True):
        wire.send(get("/", method="POST", body=b"x") + rest)
        assert wire.response().status == 200
        wire.send(b"\r\n")              # (and one that comes by itself)
    slow = site.client()
    slow.send(b"GET")
    wait_until(lambda: site.totals()["accepted"] == 4)
    site.advance("11m")
    assert slow.response().status == 408        # by now the others would have been, too
    for wire in wires:
        wire.send(get("/"))
        assert wire.response().status == 200


# --- slashes ---

@pytest.mark.parametrize(("how", "routed", "sent"), [
    ({}, True, "//img///https://host//"),
    ({"merge_slashes": "match"}, True, "//img///https://host//"),
    ({"merge_slashes": True}, True, "//img///https://host//"),
    ({"merge_slashes": "rewrite"}, True, "/img/https:/host/"),
    ({"merge_slashes": "off"}, False, "//img///https://host//"),
    ({"merge_slashes": False}, False, "//img///https://host//"),
])
def test_slashes_are_merged_for_routes_and_come_through(
    web: Web, origins: Origins, how: dict[str, Any], routed: bool, sent: str
) -> None:
    origin = origins()
    site = web([origin.address], **how, routes=[
        {"name": "img", "match": {"path": "/img/*"}, "pool": "pool",
         "request_headers": {"set": {"x-rest": "{path.rest}", "x-path": "{request.path}"}}}])
    assert site.ask(get("//img///https://host//?a//b")).status == 200
    got = origin.requests[0]
    assert got.target == f"{sent}?a//b"
    assert ("x-rest" in got) == routed
    if routed:
        rest = "https:/host/" if "rewrite" in how.values() else "https://host//"
        assert (got["x-rest"], got["x-path"]) == (rest, "/" + sent.lstrip("/"))


def test_dot_segments_are_resolved_as_servers_do(web: Web, origins: Origins) -> None:
    origin = origins()
    site = web([origin.address], routes=[
        {"name": "no", "match": {"path": "/admin/*"}, "respond": {"status": 403}},
        {"name": "yes", "pool": "pool"}])
    for path in ("/admin//../x", "//admin/x", "/a/..//admin//x", "/admin///"):
        assert site.ask(get(path)).status == 403, path
    assert site.ask(get("/admin/..//x")).status == 200
    assert origin.requests[0].target == "//x"


# --- redirects, and variables ---

def location(web: Web, redirect: Any, target: str, *fields: str, path: str = "/old/*") -> str:
    site = web(["127.0.0.1:1"], routes=[
        {"name": "moved", "match": {"path": path}, "redirect": redirect}])
    got: Message = site.ask(get(target, *fields))
    assert got.status == 302
    said = site.site.balancer.explain("GET", target, headers=[("Host", "site.test")])
    assert said.answer is not None and said.answer.location == got["location"]
    return got["location"]


@pytest.mark.parametrize(("redirect", "target", "to"), [
    ("https://new.test{request.path}", "/old/a?b=c&d", "https://new.test/old/a?b=c&d"),
    ("https://new.test{request.path}", "/old/a", "https://new.test/old/a"),
    ("https://new.test{request.path}", "/old/a?", "https://new.test/old/a"),
    ("/new/{path.rest}", "/old/a?b=%20", "/new/a?b=%20"),
    ({"to": "/new", "keep_query": False}, "/old/a?b", "/new"),
    ("/new?x=1", "/old/a?b", "/new?x=1"),
    ("/new#top", "/old/a?b", "/new#top"),
    ("/new?x=1&{request.query}", "/old/a?b=c", "/new?x=1&b=c"),
    ("https://new.test{request.uri}", "/old/a?b=c", "https://new.test/old/a?b=c"),
    ("https://new.test{request.uri}", "/old/a", "https://new.test/old/a"),
    ("https://{request.hostname}:8443{request.uri}", "/old/?q", "https://site.test:8443/old/?q"),
    ("{request.path}", "//old//a", "/old//a"),
    ("/{path.rest}", "/old//evil.test/a", "/evil.test/a"),
])
def test_redirects_keep_the_query(web: Web, redirect: Any, target: str, to: str) -> None:
    assert location(web, redirect, target) == to


@pytest.mark.http1
def test_a_host_has_its_port_or_not(web: Web, origins: Origins) -> None:
    origin = origins()
    edits = {"x-host": "{request.host}", "x-name": "{request.hostname}",
             "x-query": "<{request.query}>", "x-uri": "{request.uri}"}
    site = web([origin.address], routes=[
        {"name": "all", "pool": "pool", "request_headers": {"set": edits}}])
    for host, name in (("a.test:81", "a.test"), ("a.test", "a.test"), ("[::1]:81", "[::1]")):
        site.ask(f"GET /x?y=1 HTTP/1.1\r\nHost: {host}\r\n\r\n".encode())
        got = origin.requests[-1]
        assert (got["x-host"], got["x-name"]) == (host, name)
        assert (got["x-query"], got["x-uri"]) == ("<y=1>", "/x?y=1")


# --- an order by hand ---

def test_routes_can_be_ordered_by_hand(web: Web, origins: Origins) -> None:
    routes: list[dict[str, Any]] = [
        {"name": "exact", "match": {"host": "site.test", "path": "/api/users"}},
        {"name": "prefix", "match": {"host": "site.test", "path": "/api/*"}},
        {"name": "writes", "order": -1,
         "match": {"path_regex": "/api/.*users.*", "method": "POST"}},
        {"name": "wild", "match": {"host": "*.test", "path": "/api/x/{y}"}, "order": -2},
        {"name": "last", "match": {"host": "site.test", "path": "/late/*"}, "order": 5},
        {"name": "any"},
    ]
    site = web([origins().address], routes=[
        {**route, "redirect": f"/{route['name']}/{{path.rest}}"} for route in routes])

    def taken(path: str, method: str = "GET") -> str:
        got = site.ask(get(path, method=method))
        assert site.site.balancer.explain(
            method, path, headers=[("Host", "site.test")]).route == got["location"].split("/")[1]
        return got["location"]

    assert taken("/api/users") == "/exact/"
    assert taken("/api/users", "POST") == "/writes/"
    assert taken("/api/a/users", "POST") == "/writes/"
    assert taken("/api/a") == "/prefix/a"
    assert taken("/api/x/1") == "/wild/"
    assert taken("/api/x/users", "POST") == "/wild/"
    assert taken("/late/a") == "/any/"


def test_several_slashes_and_a_named_segment(web: Web) -> None:
    assert location(web, "/to/{path.id}", "//old///7", path="/old/{id}") == "/to/7"
