"""Functions that decide about requests: what they see, what they can say, and that it is done."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

import fastlb
from fastlb.policy import Forward, Redirect, Request, Response
from tests.flow.conftest import Site, wait_until
from tests.flow.http.conftest import HttpSite
from tests.flow.http.peers import answer
from tests.flow.http.policies import Decided, add, get, of_kind

pytestmark = pytest.mark.modes("inline")

# --- what it can say ---


def test_it_names_a_pool(decided: Decided, kind: str) -> None:
    add(decided, kind, lambda r: decided.pool_b if r.headers.get("x-tier") == "b" else None)
    web = decided.start()
    assert web.ask(get(b"/1", b"X-Tier: b")).body == b"b GET /1 HTTP/1.1\n"
    assert web.ask(get(b"/2")).body == b"a GET /2 HTTP/1.1\n"
    assert decided.totals() == {
        "calls": 2, "failures": 0, "late": 0, "refused": 0, "cached": 0, "pending": 0,
    }


def test_it_names_a_pool_by_its_name(decided: Decided, kind: str) -> None:
    add(decided, kind, lambda r: "b")
    assert decided.start().ask(get()).body == b"b GET /x HTTP/1.1\n"


def test_it_names_a_server(decided: Decided, kind: str) -> None:
    add(decided, kind, lambda r: decided.pool_b.servers[decided.b.address])
    assert decided.start().ask(get()).body == b"b GET /x HTTP/1.1\n"


def test_it_names_one_server_of_many(origins: Any, kind: str) -> None:
    several = [origins(name=str(i)) for i in range(3)]
    lb = fastlb.Balancer(threads=1)
    pool = lb.pool("p", [one.address for one in several])
    listener = lb.listen("http://127.0.0.1:0", pool=pool)
    function, more = of_kind(kind, lambda r: pool.servers[several[int(r.path[1:])].address])
    listener.route("/{n}", **more)(function)
    with lb.background():
        web = HttpSite(Site(lb, listener))
        for n in (2, 0, 0, 1, 2, 2):
            assert web.ask(get(b"/%d" % n)).body == b"%d GET /%d HTTP/1.1\n" % (n, n)
        web.wait_idle()


def test_a_key_stays_with_its_server(origins: Any, kind: str) -> None:
    several = [origins(name=str(i)) for i in range(4)]
    lb = fastlb.Balancer(threads=1)
    pool = lb.pool("p", [one.address for one in several], balance="ring_hash")
    listener = lb.listen("http://127.0.0.1:0", pool=pool)
    function, more = of_kind(kind, lambda r: pool.hash(r.query_params["key"]))
    listener.route(**more)(function)
    with lb.background():
        web = HttpSite(Site(lb, listener))
        by_key = {
            key: {web.ask(get(b"/?key=%d" % key)).body[:1] for _ in range(4)} for key in range(20)
        }
        web.wait_idle()
    assert all(len(servers) == 1 for servers in by_key.values())
    assert len(set().union(*by_key.values())) > 1


def test_it_answers_with_json(decided: Decided, kind: str) -> None:
    unknown = Response(401, json={"error": "who are you?"}, headers={"WWW-Authenticate": "Bearer"})
    add(decided, kind, lambda r: unknown)
    got = decided.start().ask(get())
    assert (got.line, got.body) == ("HTTP/1.1 401 Unauthorized", b'{"error": "who are you?"}')
    assert got["content-type"] == "application/json"
    assert got["www-authenticate"] == "Bearer"


@pytest.mark.parametrize(
    ("made", "status", "content_type", "body"),
    [
        (Response(200, "grün"), 200, "text/plain; charset=utf-8", "grün".encode()),
        (Response(418, b"\0\1"), 418, "application/octet-stream", b"\0\1"),
        (Response(200, "<p>", content_type="text/html"), 200, "text/html", b"<p>"),
        (Response(200, "a{}", headers={"Content-Type": "text/css"}), 200, "text/css", b"a{}"),
        (Response(200, "x" * 262_144), 200, "text/plain; charset=utf-8", b"x" * 262_144),
        (Response(), 200, "application/octet-stream", b""),
    ],
    ids=["text", "bytes", "type", "header", "largest", "empty"],
)
def test_it_answers(
    decided: Decided, made: Response, status: int, content_type: str, body: bytes
) -> None:
    add(decided, "sync", lambda r: made)
    got = decided.start().ask(get())
    assert (got.status, got["content-type"], got.body) == (status, content_type, body)


def test_an_answer_without_a_body(decided: Decided) -> None:
    add(decided, "sync", lambda r: Response(204))
    wire = decided.start().client()
    wire.send(get() + get(b"/y"))
    assert wire.response().line == "HTTP/1.1 204 No Content"
    assert wire.response().line == "HTTP/1.1 204 No Content"
    wire.close()


def test_head_gets_the_head_of_an_answer(decided: Decided, kind: str) -> None:
    add(decided, kind, lambda r: Response(200, r.method))
    wire = decided.start().client()
    wire.send(b"HEAD /x HTTP/1.1\r\nHost: a\r\n\r\n" + get())
    assert wire.response("HEAD")["content-length"] == "4"
    assert wire.response().body == b"GET"
    wire.close()


def test_it_redirects(decided: Decided, kind: str) -> None:
    add(decided, kind, lambda r: Redirect(f"https://new.test{r.target}", 308))
    got = decided.start().ask(get(b"/a?b=c"))
    assert (got.status, got["location"], got.body) == (308, "https://new.test/a?b=c", b"")


def test_it_changes_header_fields(decided: Decided, kind: str) -> None:
    add(decided, kind, lambda r: Forward(
        decided.pool_b, headers={"X-User": "ann", "Cookie": None, "X-Many": "one"},
        response_headers={"X-Decided": "yes", "Content-Type": None},
    ))
    web = decided.start()
    decided.b.serve = lambda wire, request: wire.send(
        answer(b"", "200 OK", "Content-Type: text/plain", "X-Decided: no"))
    got = web.ask(get(b"/x", b"x-user: bob", b"X-User: eve", b"Cookie: a=b", b"X-Many: 1"))
    (request,) = decided.b.requests
    assert request.all("x-user") == ["ann"]
    assert request.all("x-many") == ["one"]
    assert "cookie" not in request
    assert got.all("x-decided") == ["yes"]
    assert "content-type" not in got


def test_what_it_changes_comes_after_what_the_route_changes(decided: Decided) -> None:
    add(decided, "sync", lambda r: Forward(headers={"x-a": "policy", "x-b": None}),
        request_headers={"set": {"x-a": "route", "x-b": "route", "x-c": "route"}})
    web = decided.start()
    assert web.ask(get()).status == 200
    (request,) = decided.a.requests
    assert (request.all("x-a"), request.all("x-b"), request.all("x-c")) == (
        ["policy"], [], ["route"])


def test_what_it_changes_ends_with_the_request(decided: Decided) -> None:
    add(decided, "sync", lambda r: Forward(headers={"x-user": "ann"}), path="/user")
    wire = decided.start().client()
    wire.send(get(b"/user") + get(b"/other"))
    assert wire.response().status == wire.response().status == 200
    assert [request.all("x-user") for request in decided.a.requests] == [["ann"], []]
    wire.close()


# --- what it sees ---


def test_it_sees_the_request(decided: Decided, kind: str) -> None:
    seen: list[Any] = []

    def look(r: Request) -> None:
        seen.append((
            r.method, r.path, r.query, r.host, r.authority, r.scheme, r.http_version, r.listener,
            r.route, r.url, r.client.host, r.path_params, r.query_params, r.cookies,
            dict(r.headers.items()), r.headers.getlist("X-A"), r.body,
        ))

    add(decided, kind, look, "/docs/{doc_id}/*")
    client = decided.start()
    wire = client.client()
    wire.send(b"POST /docs/%37/a/../b?q=1%202&q=2&e= HTTP/1.1\r\nHost: A.test:80\r\nX-A: 1\r\n"
              b"x-a: 2\r\nCookie: s=\"1\"; t=2\r\nCookie: s=3\r\nContent-Length: 2\r\n\r\nhi")
    assert wire.response().status == 200
    assert seen == [(
        "POST", "/docs/7/b", "q=1%202&q=2&e=", "a.test", "A.test:80", "http", "1.1", "web",
        "r", "http://A.test:80/docs/7/b?q=1%202&q=2&e=", "127.0.0.1", {"doc_id": "7"},
        {"q": "1 2", "e": ""}, {"s": "1", "t": "2"},
        {"host": "A.test:80", "x-a": "1", "cookie": 's="1"; t=2', "content-length": "2"},
        ["1", "2"], b"",
    )]
    wire.close()


def test_a_path_that_is_normalised_is_seen_so(decided: Decided) -> None:
    seen: list[Any] = []
    add(decided, "sync", lambda r: seen.append((r.path, r.query, r.headers["x-a"])))
    web = decided.start()
    assert web.ask(get(b"/" + b"%3c%7e" * 500 + b"?" + b"x" * 400, b"X-A: \xe9")).status == 200
    assert seen == [("/" + "%3C~" * 500, "x" * 400, "\xe9")]


def test_it_sees_as_much_of_the_body_as_it_asks_for(decided: Decided, kind: str) -> None:
    seen: list[bytes] = []
    add(decided, kind, lambda r: seen.append(r.body), body="4B")
    web = decided.start()
    wire = web.client()
    wire.send(b"POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\n012")
    wait_until(lambda: web.totals()["accepted"] == 1)
    wire.send(b"3456789" + get(b"/next"))
    assert wire.response().body == b"a POST /x HTTP/1.1\n0123456789"
    assert wire.response().body == b"a GET /next HTTP/1.1\n"
    assert seen == [b"0123", b""]
    wire.close()


@pytest.mark.parametrize("most", ["4B", "64KiB"])
def test_it_sees_a_chunked_body_without_its_framing(
    decided: Decided, kind: str, most: str
) -> None:
    seen: list[bytes] = []
    add(decided, kind, lambda r: seen.append(r.body), body=most)
    web = decided.start()
    wire = web.client()
    wire.send(b"POST /x HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3;a=b\r\n01")
    wait_until(lambda: web.totals()["accepted"] == 1)
    wire.send(b"2\r\n7\r\n3456789\r\n0\r\n\r\n" + get(b"/next"))
    assert wire.response().body == b"a POST /x HTTP/1.1\n0123456789"
    assert wire.response().body == b"a GET /next HTTP/1.1\n"
    assert seen == [b"0123" if most == "4B" else b"0123456789", b""]
    wire.close()


def test_a_decorator_without_parentheses_is_an_error(decided: Decided) -> None:
    with pytest.raises(TypeError, match=r"write @web\.route\(\) or"):
        decided.listener.route(lambda request: "a")  # type: ignore[arg-type]
    assert decided.start().ask(get()).status == 200


def test_it_sees_nothing_of_the_next_request(decided: Decided, kind: str) -> None:
    seen: list[bytes] = []
    add(decided, kind, lambda r: seen.append(r.body), body="64KiB")
    wire = decided.start().client()
    wire.send(b"POST /1 HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nab" + get(b"/2")
              + b"POST /3 HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
              b"3\r\nxyz\r\n0\r\n\r\n" + get(b"/4"))
    got = [wire.response().body for _ in range(4)]
    assert got == [b"a POST /1 HTTP/1.1\nab", b"a GET /2 HTTP/1.1\n",
                   b"a POST /3 HTTP/1.1\nxyz", b"a GET /4 HTTP/1.1\n"]
    assert seen == [b"ab", b"", b"xyz", b""]
    wire.close()


def test_a_large_body_is_seen_and_passed_on(decided: Decided) -> None:
    body = bytes(range(256)) * 1024
    seen: list[bytes] = []
    add(decided, "sync", lambda r: seen.append(r.body), body="64KiB")
    wire = decided.start().client()
    wire.send(b"POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
    assert wire.response().body == b"a POST /x HTTP/1.1\n" + body
    assert seen == [body[:65536]]
    wire.close()


def test_a_client_that_waits_is_told_to_send_the_body_that_is_wanted(decided: Decided) -> None:
    add(decided, "async", lambda r: Response(200, r.body), body="4B")
    wire = decided.start().client()
    wire.send(b"POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\n")
    assert wire.response().line == "HTTP/1.1 100 Continue"
    wire.send(b"ok")
    assert wire.response().body == b"ok"
    wire.close()


def test_a_websocket_is_routed_by_a_policy(decided: Decided, kind: str) -> None:
    add(decided, kind, lambda r: Forward(decided.pool_b, headers={"x-user": "ann"}))
    web = decided.start()

    def upgrade(wire: Any, request: Any) -> bool:
        assert request["x-user"] == "ann"
        wire.send(b"HTTP/1.1 101 Switching Protocols\r\n"
                  b"Connection: Upgrade\r\nUpgrade: echo\r\n\r\n")
        wire.send(wire.exactly(4))
        return False

    decided.b.serve = upgrade
    wire = web.client()
    wire.send(get(b"/x", b"Connection: Upgrade", b"Upgrade: echo"))
    assert wire.head().status == 101
    wire.send(b"ping")
    assert wire.exactly(4) == b"ping"
    wire.close()


def test_a_request_that_is_tried_again_is_decided_once(origins: Any, kind: str) -> None:
    bad = origins(lambda wire, request: False)
    good = origins(name="good")
    lb = fastlb.Balancer(threads=1)
    lb.pool("first", [good.address])
    pool = lb.pool("p", [bad.address, good.address], retry={"on": ["reset"], "attempts": 2,
                                                          "budget": "100%"})
    listener = lb.listen("http://127.0.0.1:0", pool="first")
    asked: list[str] = []
    function, more = of_kind(kind, lambda r: (asked.append(r.path), pool)[1])
    listener.route(**more)(function)
    with lb.background():
        web = HttpSite(Site(lb, listener))
        for i in range(4):
            assert web.ask(get(b"/%d" % i)).body == b"good GET /%d HTTP/1.1\n" % i
        assert web.totals()["retries"] >= 1
        web.wait_idle()
    assert asked == ["/0", "/1", "/2", "/3"]


def test_many_requests_at_a_time(decided: Decided, kind: str) -> None:
    add(decided, kind, lambda r: decided.pool_b if int(r.path[1:]) % 2 else decided.pool_a)
    web = decided.start()
    wires = [web.client() for _ in range(20)]
    for turn in range(5):
        for i, wire in enumerate(wires):
            wire.send(get(b"/%d" % (turn * 20 + i)))
        for i, wire in enumerate(wires):
            n = turn * 20 + i
            assert wire.response().body == b"%b GET /%d HTTP/1.1\n" % (b"b" if n % 2 else b"a", n)
    assert decided.totals()["calls"] == 100
    for wire in wires:
        wire.close()


def test_a_reload_while_it_is_asked_changes_nothing_for_the_request(decided: Decided) -> None:
    begun = asyncio.Event()
    go: list[bool] = []

    @decided.listener.route("/*", name="r", deadline="60s")
    async def slow(request: Request) -> Any:
        begun.set()
        while not go:
            await asyncio.sleep(0.001)
        return decided.pool_b

    web = decided.start()
    wire = web.client()
    wire.send(get())
    wait_until(begun.is_set)
    runtime = decided.lb._instance.running()
    assert runtime.loop is not None
    for _ in range(3):
        runtime.loop.call_soon_threadsafe(runtime.update)
    before = runtime.snapshot
    wait_until(lambda: runtime.snapshot is not before)
    go.append(True)
    assert wire.response().body == b"b GET /x HTTP/1.1\n"
    assert decided.totals()["calls"] == 1
    wire.close()


def test_it_is_kept_for_a_key(decided: Decided, kind: str) -> None:
    add(decided, kind, lambda r: Response(200, r.headers.get("authorization", "nobody")),
        cache_on="header.authorization", cache_ttl="1h")
    wire = decided.start().client()         # (each thread keeps its own)
    for name in (b"ann", b"bob", b"ann", b"ann", b"bob"):
        wire.send(get(b"/x", b"Authorization: " + name))
        assert wire.response().body == name
    for _ in range(2):                      # without a key, it is asked
        wire.send(get())
        assert wire.response().body == b"nobody"
    totals = decided.totals()
    assert (totals["calls"], totals["cached"]) == (4, 3)
    wire.close()


def test_it_is_asked_again_after_its_time(decided: Decided) -> None:
    add(decided, "sync", lambda r: Response(200, "yes"), cache_on="header.k", cache_ttl="1ms")
    wire = decided.start().client()

    def asked_again() -> bool:
        wire.send(get(b"/x", b"k: 1"))
        assert wire.response().body == b"yes"
        return decided.totals()["calls"] >= 3

    wait_until(asked_again)
    wire.close()


def test_failures_are_not_kept(decided: Decided, kind: str) -> None:
    asked: list[int] = []

    def fails_first(r: Request) -> Any:
        asked.append(1)
        if len(asked) == 1:
            raise RuntimeError("not yet")
        return decided.pool_b

    add(decided, kind, fails_first, cache_on="header.k", cache_ttl="1h")
    wire = decided.start().client()
    statuses = []
    for _ in range(3):
        wire.send(get(b"/x", b"k: 1"))
        statuses.append(wire.response().status)
    assert statuses == [503, 200, 200]
    assert len(asked) == 2
    wire.close()


def test_more_keys_than_are_kept(decided: Decided) -> None:
    add(decided, "sync", lambda r: Response(200, r.headers["k"]), cache_on="header.k",
        cache_ttl="1h")
    wire = decided.start().client()
    for i in range(3000):
        wire.send(get(b"/x", b"k: %d" % (i % 1500)))
        assert wire.response().body == b"%d" % (i % 1500)
    assert decided.totals()["calls"] + decided.totals()["cached"] == 3000
    wire.close()


# --- what is kept of it ---


def test_a_request_outlives_its_call(decided: Decided, kind: str) -> None:
    kept: list[Request] = []
    add(decided, kind, lambda r: kept.append(r), body="8B")
    web = decided.start()
    for i in range(20):
        head = (b"POST /%%7e/%d?q=%d HTTP/1.1\r\nHost: A%d.test:80\r\n"
                b"Content-Length: 12\r\n" % (i, i, i))
        assert web.ask(head + b"X-Number: n%d\r\n\r\n0123456789ab" % i).status == 200
    for i, request in enumerate(kept):
        assert (request.method, request.path, request.query) == ("POST", f"/~/{i}", f"q={i}")
        assert (request.authority, request.host) == (f"A{i}.test:80", f"a{i}.test")
        assert request.headers["x-NUMBER"] == f"n{i}"
        assert "x-num" not in request.headers and "x-n\xfcmber" not in request.headers
        assert request.body == b"01234567"
        assert request.client.host == "127.0.0.1"
    assert len(kept) == 20


@pytest.mark.parametrize("read", [
    lambda r: r.path, lambda r: r.headers.get("a"), lambda r: r.listener, lambda r: r.body,
    lambda r: r.fields(),
], ids=["path", "headers", "listener", "body", "fields"])
def test_a_request_that_nobody_sent_has_nothing(read: Any) -> None:
    with pytest.raises((ValueError, AttributeError)):
        read(Request())
