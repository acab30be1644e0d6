"""Requests that mean two things: refused, or repaired so that there is one reading left."""

from __future__ import annotations

import random
import zlib
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.flow.http.conftest import HttpSite
from tests.flow.http.hostile.conftest import Innocent
from tests.flow.http.hostile.rules import RULES, Rule, table
from tests.flow.http.peers import HttpOrigin, Wire, get

pytestmark = [pytest.mark.h2, pytest.mark.modes("h2")]

Web = Callable[..., HttpSite]
Origins = Callable[..., HttpOrigin]
Beside = Callable[[HttpSite], Innocent]


def send_somehow(wire: Wire, data: bytes, choose: random.Random) -> None:
    """In one piece, or cut at two places."""
    cuts = sorted(choose.sample(range(len(data) + 1), 2)) if choose.random() < 0.6 else []
    try:
        for start, end in zip([0, *cuts], [*cuts, len(data)], strict=True):
            wire.send(data[start:end])
    except OSError:
        pass                            # refused before its end


def rest_of(wire: Wire) -> bytes:
    try:
        return wire.to_end()
    except ConnectionResetError:        # our bytes met a closed socket
        return b""


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.name)
@pytest.mark.http1
def test_what_can_be_read_in_two_ways_is_refused(
    web: Web, origins: Origins, innocent: Beside, rule: Rule
) -> None:
    origin = origins()
    site = web([origin.address])
    beside = innocent(site)
    choose = random.Random(zlib.crc32(rule.name.encode()))
    for request in rule.requests:
        beside.check()
        wire = site.client()
        send_somehow(wire, request + get("/evil/smuggled"), choose)
        beside.check()
        try:
            got = wire.response()
        except ConnectionResetError:    # it went on to send after the refusal
            got = None
        if got is not None:
            assert got.status == rule.status, (request[:200], got)
            assert got["connection"] == "close"
            assert "127.0.0.1" not in got.body.decode()
        assert rest_of(wire) == b"", request[:200]
        wire.close()
    beside.check()
    whole = [r for r in origin.requests if "evil" in r.line]
    assert not whole, [(r.line, r.fields, r.body) for r in whole]


def test_there_are_some_hundred_of_them() -> None:
    assert sum(len(rule.requests) for rule in RULES) >= 250


PATHS = {
    "/%7Euser/%41": "/~user/A",
    "/a/./b/../c": "/a/c",
    "/a/..": "/",
    "/a/.": "/a/",
    "//a///b": "//a///b",
    "/%2E/a": "/a",
    "/b/.%2e/a": "/a",
    "/b/%2E%2e/a": "/a",
    "/a%2fb": "/a%2Fb",
    "/a%5cb": "/a%5Cb",
    "/%c3%a9": "/%C3%A9",
    "/a;x=1/b": "/a;x=1/b",
    "/a:b@c!$&'()*+,=": "/a:b@c!$&'()*+,=",
    "/%3f%23": "/%3F%23",
    "/%0a": "/%0A",
    "/...": "/...",
    "/a..b": "/a..b",
    "http://site.test/x/../y": "/y",
    "http://SITE.test": "/",
    "/?a=../%2e%2e//b": "/?a=../%2e%2e//b",
    "/x/../?q": "/?q",
    "/?": "/",
}


def test_a_path_is_decided_on_once(web: Web, origins: Origins, innocent: Beside) -> None:
    origin = origins()
    site = web([origin.address])
    beside = innocent(site)
    for sent, seen in PATHS.items():
        beside.check()
        assert site.ask(get(sent)).status == 200
        got = origin.requests[-1]
        assert got.target in (seen, seen + "?" if sent.endswith("?") else seen), sent
        assert got["host"].lower() == "site.test"


SPELLINGS = [
    "/admin", "/admin/", "/admin/x", "//admin", "/./admin", "/x/../admin", "/%61dmin", "/admi%6E",
    "/%61%64%6d%69%6e", "/x/%2e%2e/admin", "/x/.%2E/admin", "///admin//x", "/admin/.",
    "/admin/..;/",
    "/x/..//admin", "/../admin", "/%2e/admin", "/x/../../../admin", "/admin?x", "/admin;x",
    "/admin%2f", "/admin%2fx", "/.//admin", "/admin/./", "http://site.test/admin",
    "http://site.test//admin", "http://site.test/x/../admin", "/x/..%2fadmin", "/x%2f..%2fadmin",
    "/x/..\\admin", "/x%5c..%5cadmin", "/\\admin", "/%5cadmin", "/admin%00", "/admin%",
    "\\admin", "/%2fadmin", "/%2f/admin",
]


def test_no_spelling_gets_past_a_route(site: Callable[..., object], origins: Origins) -> None:
    import fastlb

    origin = origins()
    config = fastlb.Config.build({
        "listeners": {"l": {"bind": "http://127.0.0.1:0", "pool": "open", "routes": [
            {"name": "a", "match": {"path": "/admin"}, "respond": {"status": 403}},
            {"name": "b", "match": {"path": "/admin/*"}, "respond": {"status": 403}},
        ]}},
        "pools": {"open": {"servers": [origin.address]}},
    })
    made = HttpSite(site([], config=config))  # type: ignore[arg-type]
    for spelling in SPELLINGS:
        got = made.ask(get(spelling))
        if got.status not in (400, 403):
            # What got through is, byte for byte, what was decided on, and no server reads it as
            # /admin: an escaped slash or a parameter is part of a segment's name.
            target = origin.requests[-1].target.split("?")[0]
            assert got.status == 200 and not target.startswith("/admin/") and target != "/admin"
            assert "/." not in target, (spelling, target)
            assert spelling in ("/admin;x", "/admin%2f", "/admin%2fx", "/%2fadmin", "/admin/..;/",
                                "/%2f/admin", "/%5cadmin"), (spelling, target)


@pytest.mark.http1
def test_names_that_shadow_ours_are_dropped(web: Web, origins: Origins) -> None:
    origin = origins()
    names = ["X_Forwarded_For", "X-Forwarded_For", "x_forwarded_proto", "Content_Length",
             "Transfer_Encoding", "HOST_", "X_Request_Id", "X_Own", "Via_", "Forwarded"]
    for how, left in (({}, []), ({"underscores": "drop"}, []),
                      ({"underscores": "keep"}, ["HOST_", "X_Own", "Via_"])):
        site = web([origin.address], **how)
        site.ask(get("/", *(f"{name}: 6.6.6.6" for name in names)))
        got = origin.requests[-1]
        assert [name for name, value in got.fields if "6.6.6.6" in value] == left


@pytest.mark.http1
def test_connection_cannot_remove_what_we_need(web: Web, origins: Origins) -> None:
    origin = origins()
    site = web([origin.address])
    request = get(
        "/", "Connection: close, Host, Content-Length, X-Forwarded-For, X-Request-Id, Cookie, X-A, "
        "X-Forwarded-Proto, traceparent", "Cookie: c=1", "X-A: 1", "X-B: 2", method="POST",
        body=b"hello",
    )
    assert site.ask(request).body.endswith(b"hello")
    got = origin.requests[-1]
    assert got["host"] == "site.test" and got["content-length"] == "5" and got.body == b"hello"
    assert got["x-forwarded-for"] == "127.0.0.1" and "x-request-id" in got
    assert "x-a" not in got and got["x-b"] == "2" and "connection" not in got


@pytest.mark.http1
def test_hop_by_hop_fields_stay_here(web: Web, origins: Origins) -> None:
    origin = origins()
    site = web([origin.address])
    fields = ["Connection: keep-alive", "Keep-Alive: timeout=5", "Proxy-Connection: keep-alive",
              "TE: trailers, gzip", "Trailer: X", "Upgrade: h2c", "HTTP2-Settings: AAMAAABk"]
    site.ask(get("/", *fields))
    got = origin.requests[-1]
    for field in fields:
        assert field.split(":")[0] not in got, got.fields


@pytest.mark.parametrize("upgrade", ["h2c", "h2c, websocket", "websocket, h2c", "H2C", "h2", ""])
@pytest.mark.http1
def test_an_upgrade_we_would_be_blind_behind_is_not_passed_on(
    web: Web, origins: Origins, upgrade: str
) -> None:
    origin = origins()
    site = web([origin.address])
    fields = ["Connection: Upgrade, HTTP2-Settings", f"Upgrade: {upgrade}", "HTTP2-Settings: AAMA"]
    assert site.ask(get("/", *fields)).status == 200
    got = origin.requests[-1]
    assert "upgrade" not in got and "connection" not in got and "http2-settings" not in got


@pytest.mark.http1
def test_a_body_that_is_owed_is_never_the_next_request(web: Web, origins: Origins) -> None:
    """We answer by ourselves while a body is still to come: its bytes aren't read as a request."""
    origin = origins()
    site = web([origin.address], routes=[{"name": "no", "match": {"path": "/no"},
                                          "respond": {"status": 403}}])
    wire = site.client()
    smuggled = get("/evil")
    wire.send(b"POST /no HTTP/1.1\r\nHost: site.test\r\nContent-Length: %d\r\n\r\n" % len(smuggled))
    assert wire.response().status == 403
    try:
        wire.send(smuggled)
    except OSError:
        pass
    assert rest_of(wire) == b""
    assert not origin.requests


@pytest.mark.http1
def test_expect_on_an_answer_of_our_own(web: Web, origins: Origins) -> None:
    site = web([origins().address], routes=[{"name": "no", "match": {"path": "/no"},
                                             "respond": {"status": 403}}])
    wire = site.client()
    wire.send(b"POST /no HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 9\r\n\r\n")
    got = wire.response()
    assert got.status == 403 and got["connection"] == "close"


@pytest.mark.parametrize(("fields", "query", "seen"), [
    (("X-T: acme",), "", "/t/acme//x"),
    (("X-T: a b",), "", "/t/a%20b//x"),
    (("X-T: a/b",), "", "/t/a%2Fb//x"),
    (("X-T: a HTTP/1.1",), "", "/t/a%20HTTP%2F1.1//x"),
    (("X-T: %2e%2e",), "", "/t/%252e%252e//x"),
    (("X-T: a?b#c",), "", "/t/a%3Fb%23c//x"),
    (("X-T: \xff",), "", "/t/%C3%BF//x"),
    ((), "q=a%20b", "/t//a%20b/x"),
    ((), "q=a/b", "/t//a%2Fb/x"),
    (("X-T: ..",), "", None),
    (("X-T: .",), "", None),
    (("X-T: ../x",), "", None),
    (("X-T: a/../..",), "", None),
    (("X-T: ..\\x",), "", None),
    ((), "q=%2e%2e", None),
    ((), "q=..%2fx", None),
    ((), "q=%zz", None),
])
def test_what_a_client_says_cannot_leave_its_place_in_a_rewritten_path(
    web: Web, origins: Origins, fields: tuple[str, ...], query: str, seen: str | None
) -> None:
    origin = origins()
    site = web([origin.address], routes=[{
        "name": "r", "match": {"path": "/r/*"}, "pool": "pool",
        "rewrite": {"path": "/t/{header.x-t}/{query.q}/{path.rest}"},
    }])
    got = site.ask(get("/r/x" + (f"?{query}" if query else ""), *fields))
    if seen is None:
        assert got.status == 400 and not origin.requests
    else:
        assert got.status == 200
        assert origin.requests[0].target.split("?")[0] == seen


@pytest.mark.parametrize(("value", "status"), [
    ("a.test", 200), ("a.test:81", 200), ("a b", 400), ("a/b", 400), ("a@b", 400), ("", 400),
])
def test_a_rewritten_host_is_a_host(web: Web, origins: Origins, value: str, status: int) -> None:
    origin = origins()
    site = web([origin.address], routes=[{
        "name": "r", "pool": "pool", "rewrite": {"host": "{header.x-h}"},
    }])
    assert site.ask(get("/", f"X-H: {value}")).status == status
    assert [r["host"] for r in origin.requests] == ([value] if status == 200 else [])


def test_the_table_of_rules_is_current() -> None:
    text = (Path(__file__).resolve().parents[4] / "docs" / "http.md").read_text()
    shown = text.partition("<!-- rules -->\n")[2].partition("<!-- /rules -->")[0]
    assert shown == table(), "write `python -m tests.flow.http.hostile.rules` into docs/http.md"
