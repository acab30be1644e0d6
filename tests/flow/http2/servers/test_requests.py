"""Requests to servers of HTTP/2, from clients of either version: what is said, both ways."""

from __future__ import annotations

import base64
import threading
from collections.abc import Callable
from typing import Any

import h2.settings
import pytest

from tests.flow import secure
from tests.flow.conftest import DEADLINE_S, wait_until
from tests.flow.http.conftest import HttpSite
from tests.flow.http.peers import get
from tests.flow.http2.peers import Client
from tests.flow.http2.servers.conftest import Farm, Front
from tests.flow.http2.servers.origin import Call
from tests.flow.http2.servers.talk import Talk

pytestmark = pytest.mark.modes("tls-servers")

Speak = Callable[[HttpSite], Talk]
BODY = bytes(range(256)) * 1200


def test_a_request(front: Front, farm: Farm, talk: Speak) -> None:
    origin = farm()
    site = front([origin])
    asks = talk(site)
    for i in range(3):
        got = asks.ask(f"/{i}?q=1", ("x-mine", "a b"), ("x-mine", "c"))
        assert (got.status, got.body) == (200, f"origin GET /{i}?q=1\n".encode())
    call = origin.requests[0]
    scheme = "http" if secure.of_servers is None else "https"
    assert call.all[:4] == [(":method", "GET"), (":scheme", scheme), (":path", "/0?q=1"),
                            (":authority", "site.test")]
    assert [value for name, value in call.all if name == "x-mine"] == ["a b", "c"]
    assert call.fields["x-forwarded-for"] == "127.0.0.1"
    assert not {"host", "connection", "keep-alive", "transfer-encoding"} & set(call.fields)
    assert all(name == name.lower() for name in call.fields)
    assert site.totals()["requests"] == 3


@pytest.mark.parametrize("says", [True, False], ids=["length", "chunks"])
@pytest.mark.parametrize("size", [0, 1, 100, 16_384, 65_535, 65_536, 307_200])
def test_bodies_both_ways(front: Front, farm: Farm, talk: Speak, size: int, says: bool) -> None:
    def serve(call: Call) -> None:
        if says:
            call.answer(bytes(call.body))
        else:
            call.head(200)
            for at in range(0, len(call.body), 5000):
                call.data(bytes(call.body[at : at + 5000]))
            call.end()

    origin = farm(serve)
    got = talk(front([origin])).ask("/", method="POST", body=BODY[:size], says=says)
    assert (got.status, got.whole) == (200, True)
    assert got.body == BODY[:size]
    assert bytes(origin.requests[0].body) == BODY[:size]
    assert ("content-length" in origin.requests[0].fields) == says


@pytest.mark.parametrize(("method", "status"), [("HEAD", 200), ("GET", 204), ("GET", 304)])
def test_answers_without_a_body(
    front: Front, farm: Farm, talk: Speak, method: str, status: int
) -> None:
    origin = farm(lambda call: call.answer(b"12345", status))
    asks = talk(front([origin]))
    for _ in range(2):
        got = asks.ask(method=method)
        assert (got.status, got.body, got.whole) == (status, b"", True)
        assert got.fields.get("content-length") == (None if status == 204 else "5")
    assert origin.connections <= 2              # (one an engine)


def test_an_answer_without_a_length_or_a_body(front: Front, farm: Farm, talk: Speak) -> None:
    def serve(call: Call) -> None:
        call.head(200, ends=call.path == "/at-once")
        if call.path != "/at-once":
            call.end()

    asks = talk(front([farm(serve)]))
    for path in ("/at-once", "/later", "/at-once"):
        got = asks.ask(path)
        assert (got.status, got.body, got.whole) == (200, b"", True)


def test_interim_answers(front: Front, farm: Farm, talk: Speak) -> None:
    def serve(call: Call) -> None:
        call.head(103, ("link", "</a.css>; rel=preload"))
        call.head(103, ("link", "</b.css>; rel=preload"))
        call.answer(b"after")

    got = talk(front([farm(serve)])).ask()
    assert (got.status, got.body, got.interim) == (200, b"after", [103, 103])


@pytest.mark.parametrize("body", [b"", b"hello", b"x" * 100_000])
def test_trailers(front: Front, farm: Farm, talk: Speak, body: bytes) -> None:
    def serve(call: Call) -> None:
        call.head(200)
        call.data(body)
        call.end(("grpc-status", "0"), ("x-sum", "12"))

    origin = farm(serve)
    got = talk(front([origin])).ask("/", ("te", "trailers"))
    assert (got.body, got.whole) == (body, True)
    assert got.trailers == [("grpc-status", "0"), ("x-sum", "12")]
    assert origin.requests[0].fields["te"] == "trailers"


def test_an_answer_that_is_all_trailers(front: Front, farm: Farm, talk: Speak) -> None:
    """As gRPC has it: a head that ends the stream."""
    origin = farm(lambda call: call.head(200, ("grpc-status", "5"), ends=True))
    got = talk(front([origin])).ask("/", ("te", "trailers"), method="POST", body=b"x")
    assert (got.fields["grpc-status"], got.body, got.whole) == ("5", b"", True)


def test_nothing_is_held_back(front: Front, farm: Farm) -> None:
    """Each part of a body is answered before the next is sent."""
    def serve(call: Call) -> None:
        call.head(200)
        while part := call.part():
            call.data(part.upper())
        call.end()

    client = Client(front([farm(serve, early=True)]).site.connect())
    stream = client.ask("/", method="POST", ends=False)
    answer = client.answers[stream]
    for i in range(300):
        client.give(stream, b"part%d " % i, ends=False)
        want = b"PART%d " % i
        while not answer.body.endswith(want):
            assert client.look()
    client.h2.end_stream(stream)
    client.flush()
    assert client.answer(stream).body.count(b"PART") == 300


def test_an_answer_before_its_request_has_ended(front: Front, farm: Farm) -> None:
    """The server needs no more of it, and its stream is free."""
    origin = farm(lambda call: call.answer(b"no", 403), early=True)
    site = front([origin])
    client = Client(site.site.connect())
    for stream in [client.ask("/", method="POST", ends=False) for _ in range(3)]:
        answer = client.answers[stream]
        while not answer.ended and answer.reset is None:
            assert client.look()
        assert (answer.status, bytes(answer.body)) == (403, b"no")
    for _ in range(2):                  # (streams on which nothing moves are looked at at times)
        site.site.advance("30s")
    wait_until(lambda: site.site.counts()["h2_streams"] == 0)
    assert origin.connections == 1


def test_many_at_once_share_connections(front: Front, farm: Farm) -> None:
    origin = farm()
    site = front([origin])
    client = Client(site.site.connect())
    for _ in range(3):
        streams = [client.ask(f"/{i}", method="POST", body=b"x" * i * 10) for i in range(60)]
        for i, stream in enumerate(streams):
            got = client.answer(stream)
            assert bytes(got.body) == f"origin POST /{i}\n".encode() + b"x" * i * 10
    assert origin.connections == 1


def test_clients_of_both_versions_share_connections(front: Front, farm: Farm) -> None:
    origin = farm()
    site = front([origin])
    client = Client(site.site.connect())
    assert client.get("/").status == 200
    assert site.ask(get("/")).status == 200
    assert origin.connections <= 2              # (one an engine)


def test_a_server_says_how_many_at_once(front: Front, farm: Farm) -> None:
    """Further ones go over further connections."""
    settings = {h2.settings.SettingCodes.MAX_CONCURRENT_STREAMS: 1}
    go_on = threading.Event()

    def serve(call: Call) -> None:
        go_on.wait(DEADLINE_S)
        call.answer(call.path.encode())

    origin = farm(serve, settings=settings)
    client = Client(front([origin]).site.connect())
    streams = {client.ask(f"/{i}"): f"/{i}".encode() for i in range(8)}
    try:
        wait_until(lambda: len(origin.requests) == 8, lambda: f"{len(origin.requests)} have come")
    finally:
        go_on.set()
    for stream, body in streams.items():
        got = client.answer(stream)
        assert (got.status, bytes(got.body)) == (200, body)
    assert origin.connections >= 8
    assert all(link.most == 1 for link in origin.links if link.calls)


def test_cookies_are_one_again(front: Front, farm: Farm) -> None:
    origin = farm()
    client = Client(front([origin]).site.connect())
    assert client.get("/", ("cookie", "a=1"), ("cookie", "b=2")).status == 200
    cookies = [value for name, value in origin.requests[0].all if name == "cookie"]
    assert "; ".join(cookies) == "a=1; b=2"


def test_a_large_head(front: Front, farm: Farm, talk: Speak) -> None:
    """Of the server's in several frames (CONTINUATION): its package writes 13 bits for a tilde."""
    fields = [(f"x-{i}", "~" * 1000) for i in range(12)]
    origin = farm(lambda call: call.answer(b"ok", 200, *fields))
    site = front([origin])
    got = talk(site).ask("/", *fields)
    assert (got.status, got.body) == (200, b"ok")
    assert {name: got.fields[name] for name, _ in fields} == dict(fields)
    assert {name: origin.requests[0].fields[name] for name, _ in fields} == dict(fields)


@pytest.mark.parametrize("ahead", [b"", b"sent with the request"])
def test_a_websocket(front: Front, farm: Farm, talk: Speak, ahead: bytes) -> None:
    """RFC 8441 to the server, whatever the client speaks."""
    def serve(call: Call) -> None:
        assert (call.fields[":method"], call.fields[":protocol"]) == ("CONNECT", "websocket")
        assert not {"upgrade", "connection", "sec-websocket-key"} & set(call.fields)
        call.head(200, ("sec-websocket-protocol", "chat"))
        call.data(b"first")
        while part := call.part():
            call.data(part.upper())
        call.end()

    connect = {h2.settings.SettingCodes.ENABLE_CONNECT_PROTOCOL: 1}
    site = front([farm(serve, early=True, settings=connect)])
    wire: Any = talk(site)
    if wire.client is not None:
        _chat_by_h2(wire.client)
        return
    http1 = site.client()
    key = base64.b64encode(bytes(16)).decode()
    http1.send(get("/chat", "Connection: Upgrade", "Upgrade: websocket",
                   "Sec-WebSocket-Version: 13", f"Sec-WebSocket-Key: {key}",
                   "Sec-WebSocket-Protocol: chat") + ahead)
    head = http1.head()
    assert head.status == 101
    assert head["sec-websocket-accept"] == "ICX+Yqv66kxgM0FcWaLWlFLwTAI="
    assert head["sec-websocket-protocol"] == "chat"
    assert http1.exactly(5) == b"first"
    assert http1.exactly(len(ahead)) == ahead.upper()
    for size in (1, 20_000, 200_000):
        http1.send(b"x" * size)
        assert http1.exactly(size) == b"X" * size
    http1.close()


def _chat_by_h2(client: Client) -> None:
    while not client.h2.remote_settings.enable_connect_protocol:
        client.look()
    stream = client.ask(
        "/chat", (":protocol", "websocket"), ("sec-websocket-version", "13"),
        ("sec-websocket-protocol", "chat"), method="CONNECT", ends=False)
    answer = client.answers[stream]
    while bytes(answer.body) != b"first":
        assert client.look()
    assert (answer.status, answer.fields["sec-websocket-protocol"]) == (200, "chat")
    for size in (1, 20_000, 200_000):
        answer.body.clear()
        client.give(stream, b"x" * size, ends=False)
        while len(answer.body) < size:
            assert client.look()
        assert bytes(answer.body) == b"X" * size
    client.h2.end_stream(stream)
    client.flush()
    assert client.answer(stream).reset is None


def test_a_websocket_that_the_server_has_no_way_for(
    front: Front, farm: Farm, talk: Speak
) -> None:
    """It hasn't said that it takes extended CONNECT: it isn't asked."""
    origin = farm()
    asks = talk(front([origin]))
    if asks.client is not None:
        while not asks.client.h2.remote_settings.enable_connect_protocol:
            asks.client.look()
        got = asks.client.get("/chat", (":protocol", "websocket"),
                              ("sec-websocket-version", "13"), method="CONNECT")
        assert got.reset is not None or got.status >= 500
    else:
        key = base64.b64encode(bytes(16)).decode()
        got1 = asks.ask("/chat", ("connection", "Upgrade"), ("upgrade", "websocket"),
                        ("sec-websocket-version", "13"), ("sec-websocket-key", key))
        assert got1.status >= 500
    assert origin.requests == []


def test_its_records(front: Front, farm: Farm) -> None:
    site = front([farm()])
    with site.site.balancer.records() as records:
        site.ask(get("/logged", method="POST", body=b"12345"))
        record = next(iter(records))
    assert (record.method, record.path, record.status) == ("POST", "/logged", 200)
    assert record.bytes_in == 5


def test_a_request_without_a_host_has_no_authority(front: Front, farm: Farm) -> None:
    """Of HTTP/1.0 (RFC 9113, 8.3.1)."""
    origin = farm()
    origin.strict = False
    wire = front([origin]).client()
    wire.send(b"GET /a HTTP/1.0\r\nX-Mine: 1\r\n\r\n")
    assert wire.response().status == 200
    assert ":authority" not in dict(origin.requests[0].all)
    assert origin.requests[0].fields["x-mine"] == "1"


def test_schemes_that_authenticate_connections_pass_neither_way(
    front: Front, farm: Farm, talk: Speak
) -> None:
    """All clients share the connection: none may be a user on it."""
    def serve(call: Call) -> None:
        call.head(401, ("www-authenticate", "Negotiate"), ("proxy-authenticate", "ntlm"),
                  ("www-authenticate", "NTLM abc"), ("www-authenticate", 'Basic realm="x"'),
                  ends=True)

    origin = farm(serve)
    asks = talk(front([origin]))
    for scheme in ("NTLM abc", "negotiate abc", "Basic abc"):
        got = asks.ask("/", ("authorization", scheme), ("proxy-authorization", scheme))
        assert (got.status, got.fields["www-authenticate"]) == (401, 'Basic realm="x"')
        assert "proxy-authenticate" not in got.fields
    for call in origin.requests[:2]:
        assert not {"authorization", "proxy-authorization"} & set(call.fields)
    assert origin.requests[2].fields["authorization"] == "Basic abc"


@pytest.mark.parametrize("size", [100, 9_000, 30_000])
def test_large_trailers(front: Front, farm: Farm, talk: Speak, size: int) -> None:
    def serve(call: Call) -> None:
        call.head(200)
        call.end(("x-sum", "s" * size))

    got = talk(front([farm(serve)])).ask("/", ("te", "trailers"))
    assert (got.status, got.trailers) == (200, [("x-sum", "s" * size)])


@pytest.mark.parametrize(("size", "status"), [(30_000, 200), (33_000, 502)])
def test_heads_have_the_limit_of_their_pool(
    front: Front, farm: Farm, talk: Speak, size: int, status: int
) -> None:
    def serve(call: Call) -> None:
        call.head(200, ("x-big", "b" * size), ends=True)

    got = talk(front([farm(serve)], pool={"retry": {"attempts": 1}})).ask("/")
    assert got.status == status
    assert got.fields.get("x-fastlb-error") == (None if status == 200 else "response_too_large")
