"""What a client of HTTP/2 leaves unfinished ends: heads, connections and answers."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable

import pytest

from tests.flow.conftest import DEADLINE_S, wait_until
from tests.flow.http.conftest import HttpSite
from tests.flow.http.peers import Message, Wire, answer
from tests.flow.http2.conftest import Open, Origins
from tests.flow.http2.peers import CONTINUATION, GOAWAY, HEADERS, SETTINGS
from tests.flow.tls.turns import time_passes

END_STREAM, END_HEADERS = 1, 4
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
GET = b"\x82\x84\x87\x41\x01a"             # GET https://a/ by HPACK's static table
CANCEL = 8


def _frame(kind: int, flags: int, stream: int, payload: bytes = b"") -> bytes:
    return (len(payload).to_bytes(3, "big") + bytes([kind, flags]) + stream.to_bytes(4, "big")
            + payload)


UNFINISHED = {
    "nothing": b"",
    "half a preface": PREFACE[:12],
    "no settings": PREFACE,
    "half a frame": PREFACE + _frame(SETTINGS, 0, 0) + _frame(
        HEADERS, END_HEADERS | END_STREAM, 1, GET)[:-1],
    "no END_HEADERS": PREFACE + _frame(SETTINGS, 0, 0) + _frame(HEADERS, END_STREAM, 1, GET),
    "continuations": PREFACE + _frame(SETTINGS, 0, 0) + _frame(HEADERS, END_STREAM, 1, GET)
    + _frame(CONTINUATION, 0, 1),
}


@pytest.mark.parametrize("sent", UNFINISHED.values(), ids=UNFINISHED.keys())
def test_unfinished_heads_end_after_request_header_timeout(
    web: Callable[..., HttpSite], origins: Origins, sent: bytes
) -> None:
    site = web([origins().address], h2c=True, request_header_timeout="10m",
               keepalive_timeout="1h")
    sock = site.site.connect()
    sock.sendall(sent)
    wait_until(lambda: site.site.counts()["exchanges"] == 1)
    time_passes(site.site, "11m")
    while sock.recv(65536):
        pass
    sock.close()
    wait_until(lambda: not any(site.site.counts().values()))


def _until(sock: socket.socket, data: bytes, wanted: bytes) -> bytes:
    while wanted not in data:
        piece = sock.recv(65536)
        assert piece, data
        data += piece
    return data


def test_an_unfinished_head_ends_no_request_that_is_at_work(
    web: Callable[..., HttpSite], origins: Origins
) -> None:
    go_on = threading.Event()

    def serve(wire: Wire, request: Message) -> None:
        go_on.wait(DEADLINE_S)
        wire.send(answer(b"late"))

    origin = origins(serve)
    site = web([origin.address], h2c=True, request_header_timeout="10m",
               keepalive_timeout="1h", response_header_timeout="1h")
    sock = site.site.connect()
    sock.sendall(PREFACE + _frame(SETTINGS, 0, 0)
                 + _frame(HEADERS, END_HEADERS | END_STREAM, 1, GET)
                 + _frame(HEADERS, END_STREAM, 3, GET))
    wait_until(lambda: len(origin.requests) == 1)
    time_passes(site.site, "11m")
    data = _until(sock, b"", bytes([GOAWAY, 0, 0, 0, 0, 0]))
    go_on.set()
    _until(sock, data, b"late")
    for _ in range(2):                  # (it doesn't say that it has heard, and ends no head)
        time_passes(site.site, "11m")
    while sock.recv(65536):
        pass
    sock.close()
    wait_until(lambda: not any(site.site.counts().values()))


def test_a_client_between_requests_has_keepalive_timeout(h2: Open, origins: Origins) -> None:
    """Also after a head that came in pieces."""
    site, client = h2([origins().address], request_header_timeout="10m", keepalive_timeout="1h")
    stream = client.ask("/")
    assert client.answer(stream).status == 200
    head = client.raw(HEADERS, END_HEADERS | END_STREAM, 3, client.h2.encoder.encode([
        (":method", "GET"), (":scheme", "https"), (":path", "/pieces"), (":authority", "a")]))
    client.sock.sendall(head[:-3])
    wait_until(lambda: site.site.counts()["h2_streams"] == 1)
    client.sock.sendall(head[-3:])
    wait_until(lambda: site.totals()["requests"] == 2)
    for _ in range(2):
        time_passes(site.site, "11m")
    client.sock.sendall(client.raw(HEADERS, END_HEADERS | END_STREAM, 5, client.h2.encoder.encode([
        (":method", "GET"), (":scheme", "https"), (":path", "/last"), (":authority", "a")])))
    wait_until(lambda: site.totals()["requests"] == 3)


@pytest.mark.parametrize("size", [30_000, 1 << 20], ids=["held", "at work"])
def test_answers_that_nobody_takes_end_after_half_of_body_idle_timeout(
    h2: Open, origins: Origins, size: int
) -> None:
    """Their window stays at zero, while another request of the connection goes on."""
    over = threading.Event()

    def serve(wire: Wire, request: Message) -> None:
        if request.target == "/long":
            over.wait(DEADLINE_S)
        wire.send(answer(bytes(size)))

    site, client = h2([origins(serve).address], body_idle_timeout="40m", keepalive_timeout="1h",
                      response_header_timeout="2h")

    def taken_by_nobody(stream: int) -> int | None:
        """What the stream is reset by, when it has been looked at twice: each 10 minutes."""
        while not client.answers[stream].fields:
            assert client.look()
        for _ in range(2):
            time_passes(site.site, "11m")
        return client.answer(stream).reset

    client.h2.update_settings({4: 0})           # SETTINGS_INITIAL_WINDOW_SIZE
    client.flush()
    long, stream = client.ask("/long"), client.ask("/")
    assert taken_by_nobody(stream) == CANCEL
    assert client.answers[long].reset is None
    over.set()
    assert taken_by_nobody(long) == CANCEL
    assert client.goaway is None
    client.close()
    wait_until(lambda: not any(site.site.counts().values()))


def test_a_client_that_takes_no_frames_is_ended(h2: Open, origins: Origins) -> None:
    """Not even the GOAWAY."""
    site, client = h2([origins(lambda wire, request: wire.send(answer(bytes(64_000)))).address],
                      keepalive_timeout="300ms", body_idle_timeout="300ms")
    client.h2.update_settings({4: 1 << 30})
    client.h2.increment_flow_control_window(1 << 30)
    client.flush()
    for _ in range(90):
        client.ask("/")
    wait_until(lambda: not any(site.site.counts().values()))
    client.close()
