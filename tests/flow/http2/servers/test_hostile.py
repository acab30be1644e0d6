"""Servers of HTTP/2 that speak something else, hang up, or send without end; and a client that
doesn't read, among others on its connection."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable

import pytest

from tests.flow import secure
from tests.flow.conftest import DEADLINE_S, wait_until
from tests.flow.http.conftest import HttpSite
from tests.flow.http.peers import get
from tests.flow.http2.peers import Client
from tests.flow.http2.servers.conftest import Farm, Front
from tests.flow.http2.servers.origin import Call, frame
from tests.flow.http2.servers.talk import Talk
from tests.flow.http2.test_hostile import CALM

Speak = Callable[[HttpSite], Talk]
DATA, HEADERS, SETTINGS, CONTINUATION = 0, 1, 4, 9
END_STREAM, END_HEADERS = 1, 4
OWN = frame(SETTINGS, 0, 0)
INTERIM = frame(HEADERS, END_HEADERS, 1, b"\x08\x03103")
LARGE = 1 << 20
STREAMS_MAX = 100


@pytest.mark.parametrize("mode", ["tls-servers"], indirect=True)
@pytest.mark.parametrize("protocols", [["http/1.1"], []], ids=["http1", "none"])
def test_a_server_that_does_not_choose_h2(front: Front, farm: Farm, protocols: list[str]) -> None:
    assert secure.of_servers is not None
    secure.of_servers.set_alpn_protocols(protocols)
    origin = farm()                             # it would answer all the same
    site = front([origin])
    for _ in range(3):
        assert site.ask(get()).status in (502, 503)
    assert origin.connections > 0
    assert not origin.requests


@pytest.mark.parametrize(("method", "status"), [("GET", 200), ("POST", 502)])
def test_a_connection_that_is_cut_before_the_answer(
    front: Front, farm: Farm, talk: Speak, method: str, status: int
) -> None:
    """What may have been done isn't asked again, unless that does no harm."""
    cut: list[Call] = []

    def serve(call: Call) -> None:
        if cut:
            call.answer(b"done")
        else:
            cut.append(call)
            call.link.cut()

    site = front(
        [farm(serve), farm(serve)], pool={"retry": {"attempts": 2, "on": ["reset"]}})
    asks = talk(site)
    assert asks.ask(method=method, body=b"x" if method == "POST" else None).status == status
    assert asks.ask().status == 200


def test_all_streams_of_a_connection_that_is_cut(front: Front, farm: Farm) -> None:
    origin = farm(lambda call: call.over.wait(DEADLINE_S), early=True)
    client = Client(front([origin]).site.connect())
    streams = [client.ask(f"/{i}", method="POST", body=b"x") for i in range(50)]
    wait_until(lambda: len(origin.requests) == 50)
    for link in origin.links:
        link.cut()
    assert {client.answer(stream).status for stream in streams} == {502}


def test_a_connection_has_its_age(front: Front, farm: Farm) -> None:
    origin = farm()
    site = front([origin], pool={"max_connection_age": "100ms"})

    def newer() -> bool:
        assert site.ask(get()).status == 200
        return origin.connections >= 6

    wait_until(newer)
    wait_until(lambda: origin.open() <= 2)      # (one an engine)


def test_one_that_does_not_read_among_99_of_its_connection(front: Front, farm: Farm) -> None:
    origin = farm(lambda call: call.answer(
        b"x" * LARGE if call.path == "/large" else call.path.encode()))
    # (an origin that answers late seems far away, and gets a window that all of it fits into)
    made = front([origin], pool={"max_h2_window": "64KiB"})
    client = Client(made.site.connect())
    client.h2.increment_flow_control_window(LARGE)      # of the connection, and of no stream
    client.flush()
    client.reads = False
    slow = client.ask("/large")
    for turn in range(3):
        streams = {client.ask(f"/{turn}/{i}"): f"/{turn}/{i}" for i in range(99)}
        for stream, path in streams.items():
            assert bytes(client.answer(stream).body) == path.encode()
    while len(client.answers[slow].body) < 65_535:
        assert client.look()
    assert len(client.answers[slow].body) == 65_535
    assert origin.requests[0].sent < LARGE
    assert origin.connections == 1
    client.reads = True
    client.h2.increment_flow_control_window(LARGE, slow)
    assert len(client.answer(slow).body) == LARGE


def test_a_server_that_makes_fastlb_reset_every_stream_is_left(front: Front, farm: Farm) -> None:
    """Its answers announce less than they have: each reset is a request that has failed."""
    def serve(call: Call) -> None:
        with call.link.lock:
            if len(call.link.calls) < STREAMS_MAX:
                return
            for one in call.link.calls.values():
                call.link.h2.send_headers(
                    one.stream, [(":status", "200"), ("content-length", "1")])
                call.link.h2.send_data(one.stream, b"xx", end_stream=True)
            call.link.flush()

    origin = farm(serve)
    client = Client(front([origin]).site.connect())
    for stream in [client.ask(f"/{i}", method="POST") for i in range(STREAMS_MAX)]:
        got = client.answer(stream)
        assert got.reset is not None or got.status == 502
    wait_until(lambda: all(link.goaway == CALM for link in origin.links))
    assert client.goaway is None


class Flood:
    """When the request has come, and until it is cut off. (What is too much is so much in a second:
    on a busy machine that takes a second in which it has its turn.)"""

    def __init__(self, begin: bytes, more: bytes) -> None:
        self.begin = begin
        self.piece = more * (65536 // len(more) + 1)
        self.cut = False

    def __call__(self, sock: socket.socket) -> None:
        heard = b""
        try:
            sock.sendall(OWN)
            while b"\x01\x05\0\0\0\x01" not in heard:
                heard += sock.recv(65536)
            sock.sendall(self.begin)
            until_s = time.monotonic() + DEADLINE_S
            while time.monotonic() < until_s:
                sock.sendall(self.piece)
        except OSError:
            self.cut = True


@pytest.mark.parametrize(("begin", "more"), [
    (frame(HEADERS, 0, 1, b"\x88"), frame(CONTINUATION, 0, 1)),
    (frame(HEADERS, 0, 1, b"\x88"), frame(CONTINUATION, 0, 1, b"\0\1x\x64" + b"y" * 100)),
    (frame(HEADERS, 0, 1, b"\x88\x40\1x\x7f\xe1\x16" + b"y" * 3000),
     frame(CONTINUATION, 0, 1, b"\xbe" * 16_000)),
    (b"", INTERIM),
    (frame(HEADERS, END_HEADERS, 1, b"\x88"), frame(DATA, 0, 1)),
    (frame(HEADERS, END_HEADERS | END_STREAM, 1, b"\x88"), frame(DATA, 0, 1, b"x" * 1000)),
], ids=["continuation", "fields", "references", "interim", "empty-data", "after-its-end"])
def test_an_answer_without_end(front: Front, farm: Farm, begin: bytes, more: bytes) -> None:
    flood = Flood(begin, more)
    site = front([farm(begin=flood)])
    wire = site.client()
    wire.send(get())
    wait_until(lambda: flood.cut)
    wire.close()
