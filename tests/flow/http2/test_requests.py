"""Requests of HTTP/2 go where those of HTTP/1.1 would, and their answers come back whole."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import subprocess
import threading

import pytest

from tests.flow.conftest import BUILD, DEADLINE_S, wait_until
from tests.flow.http.peers import HttpOrigin, Message, Wire, answer
from tests.flow.http2.conftest import Open, Origins

GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"     # RFC 6455, 1.3


def test_a_request_and_its_answer(h2: Open, origins: Origins) -> None:
    origin = origins(lambda wire, request: wire.send(answer(b"hello", "200 OK", "X-Name: value")))
    _, client = h2([origin.address])
    got = client.get("/path?q=1", ("x-mine", "1"), ("cookie", "a=1"), ("cookie", "b=2"))
    assert got.status == 200
    assert bytes(got.body) == b"hello"
    assert got.fields["x-name"] == "value"
    assert "connection" not in got.fields
    assert "transfer-encoding" not in got.fields
    asked = origin.requests[0]
    assert asked.line == "GET /path?q=1 HTTP/1.1"
    assert asked["host"] == "site.test"
    assert asked["x-mine"] == "1"
    assert asked["cookie"] == "a=1; b=2"
    assert asked["x-forwarded-proto"] == "https"


@pytest.mark.parametrize("size", [0, 1, 100, 16384, 65535, 65536, 1 << 20])
@pytest.mark.parametrize("says", [True, False], ids=["length", "chunked"])
def test_bodies_both_ways(h2: Open, origins: Origins, size: int, says: bool) -> None:
    def serve(wire: Wire, request: Message) -> None:
        if says:
            wire.send(answer(request.body))
        else:
            wire.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
            for at in range(0, len(request.body), 5000):
                piece = request.body[at : at + 5000]
                wire.send(b"%x\r\n%s\r\n" % (len(piece), piece))
            wire.send(b"0\r\n\r\n")

    origin = origins(serve)
    _, client = h2([origin.address])
    body = bytes(range(256)) * (size // 256) + bytes(size % 256)
    fields = [("content-length", str(size))] if says else []
    got = client.get("/", *fields, method="POST", body=body)
    assert got.status == 200
    assert bytes(got.body) == body
    assert ("transfer-encoding" in origin.requests[0]) != says


def test_many_at_once(h2: Open, origins: Origins) -> None:
    origin = origins()
    _, client = h2([origin.address])
    for _ in range(3):
        streams = [client.ask(f"/{i}", method="POST", body=b"x" * i * 10) for i in range(60)]
        for i, stream in enumerate(streams):
            got = client.answer(stream)
            assert bytes(got.body) == f"origin POST /{i} HTTP/1.1\n".encode() + b"x" * i * 10


@pytest.mark.parametrize(("method", "status"), [("HEAD", 200), ("GET", 204), ("GET", 304)])
def test_answers_without_a_body(h2: Open, origins: Origins, method: str, status: int) -> None:
    length = b"Content-Length: 5\r\n" if method == "HEAD" else b""
    head = b"HTTP/1.1 %d X\r\n%s\r\n" % (status, length)
    origin = origins(lambda wire, request: wire.send(head))
    _, client = h2([origin.address])
    got = client.get(method=method)
    assert got.status == status
    assert got.body == b""
    assert client.get(method=method).status == status


def test_an_end_that_is_the_connections(h2: Open, origins: Origins) -> None:
    def serve(wire: Wire, request: Message) -> bool:
        wire.send(b"HTTP/1.1 200 OK\r\n\r\nto the end")
        return False

    _, client = h2([origins(serve).address])
    assert bytes(client.get().body) == b"to the end"


def test_an_answer_that_breaks_off_is_reset(h2: Open, origins: Origins) -> None:
    def serve(wire: Wire, request: Message) -> bool:
        body = b"Content-Length: 100\r\n\r\nhalf" if request.target == "/length" else \
            b"Transfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n"
        wire.send(b"HTTP/1.1 200 OK\r\n" + body)
        return False

    _, client = h2([origins(serve).address])
    for path in ("/length", "/chunked"):
        got = client.get(path)
        assert got.reset is not None
        assert not got.ended
    assert client.goaway is None


def test_trailers(h2: Open, origins: Origins) -> None:
    def serve(wire: Wire, request: Message) -> None:
        wire.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n"
                  b"Grpc-Status: 0\r\nContent-Length: 7\r\n\r\n")

    _, client = h2([origins(serve).address])
    got = client.get("/", ("te", "trailers"))
    assert bytes(got.body) == b"hello"
    assert got.trailers == [("grpc-status", "0")]


def test_our_own_answers(h2: Open, origins: Origins) -> None:
    site, client = h2([origins().address], routes=[
        {"name": "own", "match": {"path": "/own"}, "respond": {"status": 418, "body": "teapot"}},
        {"name": "moved", "match": {"path": "/moved"}, "redirect": {"to": "/there"}},
    ])
    assert (client.get("/own").status, bytes(client.get("/own").body)) == (418, b"teapot")
    moved = client.get("/moved")
    assert moved.fields["location"] == "/there"
    assert client.get("/own", method="POST", body=b"x" * 100_000).status == 418
    wait_until(lambda: site.totals()["requests"] == 4)


def test_no_server(h2: Open) -> None:
    _, client = h2(["127.0.0.1:1"])
    assert client.get().status == 503


def test_the_host_is_one(h2: Open, origins: Origins) -> None:
    origin = origins()
    _, client = h2([origin.address])
    client.h2.config.validate_outbound_headers = False
    assert client.get("/", ("host", "site.test")).status == 200
    assert client.get("/", ("host", "SITE.Test")).status == 200         # (RFC 9110, 4.2.3)
    assert client.get("/", ("host", "other.test")).reset is not None
    assert client.get("/", ("host", "alone.test"), authority="").status == 200
    assert [one["host"] for one in origin.requests] == ["site.test", "site.test", "alone.test"]


def test_a_client_that_cancels(h2: Open, origins: Origins) -> None:
    gone = threading.Event()

    def serve(wire: Wire, request: Message) -> None:
        if request.target == "/slow":
            with contextlib.suppress(ConnectionResetError):
                assert wire.sock.recv(1) == b""
            gone.set()
            raise EOFError
        wire.send(answer(b"ok"))

    origin = origins(serve)
    _, client = h2([origin.address])
    stream = client.ask("/slow")
    wait_until(lambda: len(origin.requests) == 1)
    client.h2.reset_stream(stream)
    client.flush()
    assert gone.wait(DEADLINE_S)
    assert client.get("/").status == 200


def test_a_slow_client_stops_its_origin_and_nobody_elses(h2: Open, origins: Origins) -> None:
    sent = [0]

    def serve(wire: Wire, request: Message) -> None:
        if request.target != "/much":
            wire.send(answer(b"ok"))
            return
        size = 64 << 20
        wire.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % size)
        while sent[0] < size:
            wire.send(bytes(1 << 16))
            sent[0] += 1 << 16

    origin = origins(serve)
    _, client = h2([origin.address])
    client.reads = False
    much = client.ask("/much")
    while len(client.answers[much].body) < 65535:
        client.look()
    before = -1
    while sent[0] != before:
        before = sent[0]
        threading.Event().wait(0.3)
    assert sent[0] < 32 << 20           # what lies in between: two sockets' buffers, and ours
    client.h2.increment_flow_control_window(1 << 20)    # (the connection's, not the stream's)
    client.flush()
    assert client.get("/").status == 200
    client.h2.reset_stream(much)
    client.flush()


@pytest.mark.skipif(BUILD == "asan", reason="curl can't be loaded with its runtime")
def test_curl(h2: Open, origins: Origins, pair: tuple[str, str]) -> None:
    site, _ = h2([origins().address])
    url = site.site.listener.url.replace("127.0.0.1", "site.test")
    port = url.rsplit(":", 1)[1]
    ran = subprocess.run(
        ["curl", "-s", "--http2", "--cacert", pair[0], "--resolve", f"site.test:{port}:127.0.0.1",
         "-w", " %{http_version} %{http_code}", "-d", "x" * 100_000, f"{url}/a"],
        capture_output=True, text=True, timeout=DEADLINE_S, check=True)
    assert ran.stdout.endswith(" 2 200")
    assert ran.stdout.startswith("origin POST /a HTTP/1.1\n" + "x" * 1000)


def test_its_version_is_logged(h2: Open, origins: Origins) -> None:
    site, client = h2([origins().address])
    with site.site.balancer.records() as records:
        client.get("/logged", method="POST", body=b"12345")
        record = next(iter(records))
    assert (record.version, record.method, record.path) == ("2.0", "POST", "/logged")
    assert (record.status, record.bytes_in) == (200, 5)


def test_a_retry(h2: Open, origins: Origins) -> None:
    def close(wire: Wire, request: Message) -> bool:
        return False

    bad: HttpOrigin = origins(close)
    good = origins()
    site, client = h2([bad.address, good.address])
    assert [client.get("/").status for _ in range(4)] == [200] * 4
    assert site.totals()["retries"] >= 1


def test_a_websocket(h2: Open, origins: Origins) -> None:
    """RFC 8441: the server is asked as by RFC 6455."""
    def serve(wire: Wire, request: Message) -> bool:
        made = hashlib.sha1(request["sec-websocket-key"].encode() + GUID).digest()
        wire.send(b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\n"
                  b"Upgrade: websocket\r\nSec-WebSocket-Protocol: chat\r\n"
                  b"Sec-WebSocket-Accept: " + base64.b64encode(made) + b"\r\n\r\nfirst")
        while data := wire.some():
            wire.send(data.upper())
        wire.send(b"end")
        return False

    origin = origins(serve)
    _site, client = h2([origin.address])
    while not client.h2.remote_settings.enable_connect_protocol:
        client.look()
    stream = client.ask(
        "/chat", (":protocol", "websocket"), ("sec-websocket-version", "13"),
        ("sec-websocket-protocol", "chat"), method="CONNECT", ends=False)
    answer = client.answers[stream]
    while bytes(answer.body) != b"first":
        assert client.look()
    assert answer.status == 200
    assert answer.fields["sec-websocket-protocol"] == "chat"
    assert not {"upgrade", "connection", "sec-websocket-accept"} & set(answer.fields)
    for size in (1, 20_000, 200_000):
        answer.body.clear()
        client.give(stream, b"x" * size, ends=False)
        while len(answer.body) < size:
            assert client.look()
        assert bytes(answer.body) == b"X" * size
    client.h2.end_stream(stream)
    client.flush()
    answer.body.clear()
    assert bytes(client.answer(stream).body) == b"end"
    asked = origin.requests[0]
    assert asked.line == "GET /chat HTTP/1.1"
    assert asked["upgrade"] == "websocket"


@pytest.mark.parametrize("head", [
    b"200 OK\r\nContent-Length: 2", b"204 No Content", b"206 Partial Content\r\nContent-Length: 2",
])
def test_a_server_that_does_not_switch_opens_no_websocket(
    h2: Open, origins: Origins, head: bytes
) -> None:
    """A status of 2xx would tell the client that its WebSocket is open (RFC 8441, 5)."""
    def serve(wire: Wire, request: Message) -> None:
        wire.send(b"HTTP/1.1 " + head + b"\r\n\r\n" + b"no" * (b"Length" in head))

    _site, client = h2([origins(serve).address])
    while not client.h2.remote_settings.enable_connect_protocol:
        client.look()
    stream = client.ask("/chat", (":protocol", "websocket"), ("sec-websocket-version", "13"),
                        method="CONNECT", ends=False)
    while not client.answers[stream].fields:
        assert client.look()
    assert client.answers[stream].status == 502


def test_a_server_that_refuses_a_websocket_is_heard(h2: Open, origins: Origins) -> None:
    _site, client = h2([origins(
        lambda wire, request: wire.send(answer(b"no", "403 Forbidden"))).address])
    while not client.h2.remote_settings.enable_connect_protocol:
        client.look()
    stream = client.ask("/chat", (":protocol", "websocket"), ("sec-websocket-version", "13"),
                        method="CONNECT", ends=False)
    while bytes(client.answers[stream].body) != b"no":
        assert client.look()
    assert client.answers[stream].status == 403


def test_an_answer_before_its_request_has_ended(h2: Open, origins: Origins) -> None:
    """The client is told that the rest isn't needed (RFC 9113, 8.1), and its stream is free."""
    site, client = h2([origins().address], routes=[
        {"name": "own", "match": {"path": "/own"}, "respond": {"status": 403, "body": "no"}}])
    streams = [client.ask("/own", method="POST", ends=False) for _ in range(3)]
    for stream in streams:
        client.give(stream, b"x" * 15_000, ends=False)
    for stream in streams:
        answer = client.answers[stream]
        while not answer.ended:
            assert client.look()
    for _ in range(2):                  # (streams on which nothing moves are looked at at times)
        site.site.advance("30s")
    for stream in streams:
        answer = client.answers[stream]
        while answer.reset is None:
            assert client.look()
        assert (answer.status, bytes(answer.body), answer.reset) == (403, b"no", 0)
    assert client.get("/").status == 200
    wait_until(lambda: site.site.counts()["h2_streams"] == 0)


def test_an_interim_answer_comes_first(h2: Open, origins: Origins) -> None:
    def serve(wire: Wire, request: Message) -> None:
        for link in ("a", "b"):
            wire.send(f"HTTP/1.1 103 Early Hints\r\nLink: {link}\r\nConnection: x\r\n\r\n".encode())
        wire.send(answer(b"whole"))

    _site, client = h2([origins(serve).address])
    for _ in range(2):
        got = client.get("/")
        assert (got.status, bytes(got.body)) == (200, b"whole")
        assert got.interims == [[(":status", "103"), ("link", link)] for link in ("a", "b")]


def test_an_answer_may_be_waited_for_before_the_body_is_sent(h2: Open, origins: Origins) -> None:
    """Expect: 100-continue."""
    def run(wire: Wire) -> None:
        wire.head()
        wire.send(b"HTTP/1.1 100 Continue\r\n\r\n")
        wire.send(answer(wire.exactly(5)))

    origin = origins()
    origin._run = run  # type: ignore[method-assign]
    _site, client = h2([origin.address])
    stream = client.ask("/", ("expect", "100-continue"), ("content-length", "5"), method="POST",
                        ends=False)
    while not client.answers[stream].interims:
        assert client.look()
    client.give(stream, b"hello")
    assert bytes(client.answer(stream).body) == b"hello"


def test_large_heads_of_answers_to_all_streams_at_once(h2: Open, origins: Origins) -> None:
    """A stream may hold the less the more there are: but its head as a whole."""
    together = threading.Barrier(100, timeout=DEADLINE_S)

    def serve(wire: Wire, request: Message) -> None:
        together.wait()
        wire.send(b"HTTP/1.1 103 Early Hints\r\nLink: " + b"y" * 6000 + b"\r\n\r\n")
        wire.send(answer(b"z" * 5000, "200 OK", f"X-Long: {'x' * 12_000}"))

    _site, client = h2([origins(serve).address])
    for stream in [client.ask(f"/{i}") for i in range(100)]:
        got = client.answer(stream)
        assert (got.status, len(got.fields["x-long"]), len(got.body)) == (200, 12_000, 5000)
        assert len(got.interims) == 1
