"""Requests and responses, whatever frames them, on connections that stay."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable

import pytest

from tests.flow.conftest import DEADLINE_S, reset, wait_until
from tests.flow.http.conftest import HttpSite
from tests.flow.http.peers import HttpOrigin, Message, Wire, answer, get

pytestmark = [pytest.mark.h2, pytest.mark.modes("h2", "tls-both")]

Web = Callable[..., HttpSite]
Origins = Callable[..., HttpOrigin]


def test_requests_share_a_connection_on_both_sides(web: Web, origins: Origins) -> None:
    origin = origins()
    site = web([origin.address])
    client = site.client()
    for i in range(5):
        client.send(get(f"/{i}"))
        assert client.response().body == b"origin GET /%d HTTP/1.1\n" % i
    assert origin.connections == 1
    site.wait_for_idle(1)


def test_each_end_of_a_connection_is_counted_as_one(web: Web, origins: Origins) -> None:
    """And as nothing else: neither as a request nor as the end of another one."""
    site = web([origins().address], threads=1)
    for _ in range(3):
        assert site.ask(get()).status == 200
    site.wait_idle()

    def ended() -> dict[str, int]:
        return {name: n for name, n in site.totals().items() if name.startswith("ended_") and n}

    wait_until(lambda: sum(ended().values()) >= 3)
    assert sum(ended().values()) == 3, ended()
    assert site.totals()["requests"] == 3


def test_pipelined_requests_are_answered_in_order(web: Web, origins: Origins) -> None:
    site = web([origins().address])
    client = site.client()
    requests = [get(f"/{i}", method="POST", body=b"b" * i) for i in range(1, 40)]
    client.send(b"".join(requests))
    for i in range(1, 40):
        assert client.response().body == b"origin POST /%d HTTP/1.1\n" % i + b"b" * i


@pytest.mark.parametrize("size", [1, 1000, 16384, 20000, 3_000_000])
def test_bodies_of_a_length_go_both_ways(web: Web, origins: Origins, size: int) -> None:
    site = web([origins().address])
    body = random.Random(size).randbytes(size)
    client = site.client()
    for _ in range(3):
        client.send(get("/up", method="POST", body=body))
        got = client.response()
        assert got.body == b"origin POST /up HTTP/1.1\n" + body
        assert "transfer-encoding" not in got


def chunked(body: bytes, seed: int, end: bytes = b"0\r\n\r\n") -> bytes:
    choose = random.Random(seed)
    out = b""
    while body:
        n = choose.choice([1, 2, 15, 16, 17, 1000, 16000, 40000])
        piece, body = body[:n], body[n:]
        extension = choose.choice([b"", b";a=b", b";c"])
        out += b"%x%s\r\n%s\r\n" % (len(piece), extension, piece)
    return out + end


@pytest.mark.parametrize("seed", range(8))
def test_chunked_bodies_are_framed_anew(web: Web, origins: Origins, seed: int) -> None:
    choose = random.Random(seed)
    body = choose.randbytes(choose.choice([0, 1, 100, 20000, 300000]))

    def serve(wire: Wire, request: Message) -> None:
        assert request.body == body
        data = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + chunked(body, seed + 1)
        while data:                     # in pieces of any size
            n = choose.choice([1, 3, 100, 5000, 100000])
            wire.send(data[:n])
            data = data[n:]

    origin = origins(serve)
    site = web([origin.address])
    client = site.client()
    for _ in range(3):
        client.send(get("/", "Transfer-Encoding: chunked", method="POST"))
        client.send(chunked(body, seed))
        got = client.response()
        assert got.body == body
        assert "content-length" not in got
    assert origin.connections == 1


def test_every_byte_passes_at_once(web: Web, origins: Origins) -> None:
    """Server-Sent Events, long polling: nothing waits for more."""
    go_on = threading.Semaphore(0)

    def serve(wire: Wire, request: Message) -> None:
        wire.send(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n"
                  b"Transfer-Encoding: chunked\r\n\r\n")
        for i in range(5):
            go_on.acquire()
            event = b"data: %d\n\n" % i
            wire.send(b"%x\r\n%s\r\n" % (len(event), event))
        wire.send(b"0\r\n\r\n")

    site = web([origins(serve).address])
    client = site.client()
    client.send(get("/events"))
    assert client.head().status == 200
    for i in range(5):
        go_on.release()
        assert client.until(b"\n\n\r\n") == b"9\r\ndata: %d\n\n\r\n" % i
    assert client.until(b"\r\n\r\n") == b"0\r\n\r\n"


@pytest.mark.http1
def test_a_response_without_a_length_ends_with_the_connection(web: Web, origins: Origins) -> None:
    def serve(wire: Wire, request: Message) -> bool:
        wire.send(b"HTTP/1.1 200 OK\r\n\r\n" + b"x" * 50000)
        return False

    site = web([origins(serve).address])
    client = site.client()
    client.send(get())
    got = client.response()
    assert got.body == b"x" * 50000
    assert got["connection"] == "close"


@pytest.mark.http1
def test_http_1_0_on_either_side(web: Web, origins: Origins) -> None:
    def serve(wire: Wire, request: Message) -> bool:
        wire.send(b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok")
        return False

    origin = origins(serve)
    site = web([origin.address])
    client = site.client()
    for _ in range(2):
        client.send(get())
        assert client.response().line == "HTTP/1.1 200 OK"
    assert origin.connections == 2
    client.send(b"GET / HTTP/1.0\r\n\r\n")
    got = client.response()
    assert (got.body, got["connection"]) == (b"ok", "close")
    assert client.some() == b""
    assert origin.requests[-1]["host"] == ""


@pytest.mark.http1
def test_http_1_0_gets_no_chunks(web: Web, origins: Origins) -> None:
    def serve(wire: Wire, request: Message) -> None:
        wire.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
                  b"3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n")

    site = web([origins(serve).address])
    client = site.client()
    client.send(b"GET / HTTP/1.0\r\nHost: h\r\nConnection: keep-alive\r\n\r\n")
    got = client.response()
    assert got.body == b"abcde"
    assert "transfer-encoding" not in got


@pytest.mark.parametrize("status", ["204 No Content", "304 Not Modified"])
def test_responses_without_a_body(web: Web, origins: Origins, status: str) -> None:
    def serve(wire: Wire, request: Message) -> None:
        wire.send(f"HTTP/1.1 {status}\r\nETag: x\r\n\r\n".encode())

    origin = origins(serve)
    site = web([origin.address])
    client = site.client()
    for _ in range(3):
        client.send(get())
        assert client.response().line == f"HTTP/1.1 {status}"
    assert origin.connections == 1


def test_head_has_a_length_and_no_body(web: Web, origins: Origins) -> None:
    origin = origins()
    site = web([origin.address])
    client = site.client()
    for _ in range(3):
        client.send(get("/h", method="HEAD"))
        assert client.response("HEAD")["content-length"] == "24"
    assert origin.connections == 1


def test_expect_100_continue(web: Web, origins: Origins) -> None:
    def serve(wire: Wire, request: Message) -> None:
        wire.send(answer(request.body))

    def run(wire: Wire) -> None:
        request = wire.head()
        assert request["expect"] == "100-continue"
        wire.send(b"HTTP/1.1 100 Continue\r\n\r\n")
        wire.send(answer(wire.exactly(int(request["content-length"]))))

    origin = origins(serve)
    origin._run = run  # type: ignore[method-assign]
    site = web([origin.address])
    client = site.client()
    client.send(get("/", "Expect: 100-continue", "Content-Length: 5", method="POST"))
    assert client.response().status == 100
    client.send(b"hello")
    assert client.response().body == b"hello"


@pytest.mark.http1
def test_a_final_answer_before_the_requests_end(web: Web, origins: Origins) -> None:
    def run(wire: Wire) -> None:
        wire.head()
        wire.send(answer(b"no", "403 Forbidden"))

    origin = origins()
    origin._run = run  # type: ignore[method-assign]
    site = web([origin.address])
    client = site.client()
    client.send(get("/", "Content-Length: 1000000", method="POST") + b"x" * 1000)
    got = client.response()
    assert (got.status, got.body, got["connection"]) == (403, b"no", "close")
    assert client.some() == b""
    site.wait_idle()
    assert site.idle() == 0


def test_a_slow_reader_holds_one_buffer(web: Web, origins: Origins) -> None:
    size = 20_000_000

    def serve(wire: Wire, request: Message) -> None:
        wire.send(answer(b"z" * size))

    site = web([origins(serve).address])
    client = site.client()
    client.send(get())
    wait_until(lambda: site.site.counts()["chunks"] + site.site.counts()["pipes"] > 0)
    counts = site.site.counts()
    assert counts["chunks"] <= 2 and counts["pipes"] <= 1
    assert client.response().body == b"z" * size


def test_a_closed_idle_connection_is_not_used(web: Web, origins: Origins) -> None:
    def serve(wire: Wire, request: Message) -> bool:
        wire.send(answer(b"bye"))
        return False                    # without saying so

    origin = origins(serve)
    site = web([origin.address])
    client = site.client()
    for _ in range(20):
        client.send(get())
        assert client.response().body == b"bye"
    site.wait_for_idle(0)
    assert origin.connections == 20


def test_a_request_that_may_be_repeated_is_tried_again_once(web: Web, origins: Origins) -> None:
    """The server takes the request and closes, as if it had timed the connection out."""
    seen: list[str] = []

    def serve(wire: Wire, request: Message) -> bool | None:
        seen.append(request.method)
        if len(seen) % 2 == 0:
            return False                # without an answer
        wire.send(answer(b"ok"))
        return None

    origin = origins(serve)
    site = web([origin.address])
    client = site.client()
    client.send(get())
    assert client.response().status == 200
    client.send(get())                  # on the reused connection: closed, then tried on a new one
    assert client.response().status == 200
    assert site.totals()["retries"] == 1
    client.send(get("/", method="POST", body=b"x"))
    got = client.response()
    assert (got.status, got["x-fastlb-error"]) == (502, "server_closed")
    assert seen == ["GET", "GET", "GET", "POST"]
    assert site.totals()["retries"] == 1


def test_a_truncated_response_never_looks_whole(web: Web, origins: Origins) -> None:
    def serve(wire: Wire, request: Message) -> bool:
        wire.send(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf")
        return False

    site = web([origins(serve).address])
    client = site.client()
    client.send(get())
    with pytest.raises((EOFError, ConnectionResetError)):
        head = client.head()            # (over HTTP/2 the reset may overtake it)
        assert head["content-length"] == "100"
        client.exactly(100)


def test_a_client_that_goes_cancels_its_request(web: Web, origins: Origins) -> None:
    gone = threading.Event()

    def serve(wire: Wire, request: Message) -> bool:
        try:
            wire.sock.settimeout(DEADLINE_S)
            if wire.sock.recv(1) == b"":
                gone.set()
        except ConnectionResetError:
            gone.set()
        return False

    origin = origins(serve)
    site = web([origin.address])
    client = site.client()
    client.send(get())
    wait_until(lambda: bool(origin.requests))
    reset(client.sock)
    assert gone.wait(DEADLINE_S)
    site.wait_idle()


@pytest.mark.plain
@pytest.mark.http1
def test_a_client_that_says_no_more_with_its_request_is_answered(
    web: Web, origins: Origins
) -> None:
    """printf '...' | nc: its FIN may come with the request."""
    import socket

    origin = origins()
    site = web([origin.address])
    for _ in range(20):
        client = site.client()
        client.send(b"GET /x HTTP/1.0\r\n\r\n")
        client.sock.shutdown(socket.SHUT_WR)
        data = client.to_end()
        assert data == b"" or data.endswith(b"origin GET /x HTTP/1.1\n")
    site.wait_idle()


@pytest.mark.parametrize("piece", [1, 7, 100])
def test_heads_in_pieces(web: Web, origins: Origins, piece: int) -> None:
    def serve(wire: Wire, request: Message) -> None:
        data = answer(b"body", "200 OK", "X-Long: " + "y" * 300)
        for i in range(0, len(data), piece):
            wire.send(data[i : i + piece])

    site = web([origins(serve).address])
    client = site.client()
    data = get("/p", "X-Field: " + "z" * 300)
    for _ in range(2):
        for i in range(0, len(data), piece):
            client.send(data[i : i + piece])
        got = client.response()
        assert (got.body, got["x-long"]) == (b"body", "y" * 300)
