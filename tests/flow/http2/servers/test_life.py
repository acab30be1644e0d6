"""How connections to servers of HTTP/2 begin, rest and end, and what a server can't do to them."""

from __future__ import annotations

import select
import socket
import struct
import threading
from collections.abc import Callable

import pytest

from tests.flow.conftest import DEADLINE_S, wait_until
from tests.flow.http.conftest import HttpSite
from tests.flow.http.peers import Wire, get
from tests.flow.http2.peers import Client
from tests.flow.http2.servers.conftest import Farm, Front
from tests.flow.http2.servers.origin import Call, frame
from tests.flow.http2.test_memory import head, settings
from tests.flow.tls.turns import time_passes

HEADERS, SETTINGS, PUSH_PROMISE, PING = 1, 4, 5, 6
OWN = frame(SETTINGS, 0, 0)
LARGE = 6 << 20


def silent(sock: socket.socket) -> None:
    while sock.recv(65536):
        pass


def says(data: bytes, times: int = 1) -> Callable[[socket.socket], None]:
    def begin(sock: socket.socket) -> None:
        sock.recv(65536)
        for _ in range(times):
            sock.sendall(data)
        silent(sock)

    return begin


def answers(raw: bytes) -> Callable[[socket.socket], None]:
    """To a request, once it has come."""
    def begin(sock: socket.socket) -> None:
        sock.sendall(OWN)
        heard = b""
        while b"site.test" not in heard and b"\x01\x05\0\0\0\x01" not in heard:
            heard += sock.recv(65536)
        sock.sendall(raw)
        silent(sock)

    return begin


@pytest.mark.parametrize("begin", [
    says(b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n" * 20),
    says(b"\0" * 100), says(b"SSH-2.0-OpenSSH\r\n" * 10), lambda sock: None,
], ids=["http1", "zeros", "ssh", "hangs-up"])
def test_what_is_no_server_of_http_2_is_left_for_another(
    front: Front, farm: Farm, begin: Callable[[socket.socket], None]
) -> None:
    bad, good = farm(begin=begin), farm()
    site = front([bad, good])
    for _ in range(4):
        assert site.ask(get()).status == 200
    assert bad.connections > 0


def test_a_server_that_says_nothing_at_first_is_left_for_another(front: Front, farm: Farm) -> None:
    bad, good = farm(begin=silent), farm()
    site = front([bad, good], pool={"connect_timeout": "10m"})
    for _ in range(4):
        before = bad.connections
        wire = site.client()
        wire.send(get())
        wait_until(lambda: is_answered(wire) or bad.connections > before)  # noqa: B023
        if bad.connections > before:
            time_passes(site.site, "11m")
        assert wire.response().status == 200
        wire.close()
    assert bad.connections > 0


def is_answered(wire: Wire) -> bool:
    return select.select([wire.sock], [], [], 0)[0] != []


@pytest.mark.parametrize("flood", [
    frame(PING, 0, 0, b"12345678"), frame(SETTINGS, 0, 0), frame(2, 0, 1, struct.pack(">IB", 0, 9)),
], ids=["ping", "settings", "priority"])
def test_a_server_that_floods_is_left(front: Front, farm: Farm, flood: bytes) -> None:
    # (of 500 a second; a second of the engine's may be a long one, and few come in it)
    bad, good = farm(begin=says(OWN + flood * 20_000)), farm()
    site = front([bad, good], pool={"retry": {"attempts": 2, "on": ["connect_failure", "reset"]}})
    assert [site.ask(get()).status for _ in range(4)].count(200) >= 3
    wait_until(lambda: not any(site.site.counts().values()))


@pytest.mark.parametrize("answer", [
    frame(PUSH_PROMISE, 4, 1, struct.pack(">I", 2) + b"\x82\x84\x86\x41\1a"),
    frame(HEADERS, 4, 2, b"\x88"), frame(HEADERS, 4, 1, b"\x88\0\1X\1y"),
    frame(HEADERS, 4, 1, b"\x88\0\x0aconnection\5close"), frame(HEADERS, 4, 1, b"\0\1x\1y"),
    frame(HEADERS, 4, 1, b"\x88\0\1x\3a\r\n"), frame(HEADERS, 4, 1, b"\xff\xff\xff\xff\xff"),
    frame(0, 1, 1, b"data"), frame(HEADERS, 5, 1, b"\x88\x0f\x0d\1" + b"5"),
], ids=["push", "other-stream", "upper", "connection", "no-status", "line-end", "hpack", "data",
        "length"])
def test_answers_that_are_none(front: Front, farm: Farm, answer: bytes) -> None:
    site = front([farm(begin=answers(answer))], response_header_timeout="1s")
    assert site.ask(get()).status in (502, 504)


def test_a_connection_rests_and_is_closed_in_its_time(front: Front, farm: Farm) -> None:
    origin = farm()
    site = front([origin], pool={"idle_connection_timeout": "200ms"})
    assert site.ask(get()).status == 200
    wait_until(lambda: origin.open() == 0)
    site.wait_for_idle(0)
    assert site.ask(get()).status == 200
    assert origin.connections == 2


def test_a_connection_has_so_many_requests(front: Front, farm: Farm) -> None:
    origin = farm()
    site = front([origin], pool={"max_connection_requests": 3})
    for _ in range(9):
        assert site.ask(get()).status == 200
    assert all(len(link.calls) <= 3 for link in origin.links)
    assert origin.connections >= 3


def test_one_slow_stream_stops_no_other_one(front: Front, farm: Farm) -> None:
    def serve(call: Call) -> None:
        call.answer(b"x" * LARGE if call.path == "/large" else b"small")

    origin = farm(serve)
    site = front([origin])
    slow = [site.client() for _ in range(10)]
    for wire in slow:
        wire.send(get("/large"))
    wait_until(lambda: len(origin.requests) == 10)
    for _ in range(20):
        assert site.ask(get("/small")).body == b"small"
    for wire in slow:
        assert len(wire.response().body) == LARGE


def test_streams_that_take_nearly_nothing_leave_the_connection_to_others(
    front: Front, farm: Farm
) -> None:
    """They hold 70 of the 100 windows that the connection has, and others take more than are left
    of it, again and again."""
    slow, size = 70, 200_000
    over = threading.Event()

    def serve(call: Call) -> None:
        call.answer(b"x" * size)

    origin = farm(serve)
    site = front([origin], pool={"max_h2_window": "64KiB"})
    reader = site.site.connect()
    streams = range(1, 2 * slow, 2)
    reader.sendall(settings(0) + b"".join(head(one, 2, True) for one in streams))
    wait_until(lambda: sum(call.sent >= 60_000 for call in origin.requests) == slow)

    def take() -> None:
        """A byte a second of each, so that none is reset as one that takes nothing."""
        while not over.wait(1):
            reader.sendall(b"".join(frame(8, 0, one, b"\0\0\0\1") for one in streams))

    taking = threading.Thread(target=take)
    taking.start()
    size = 60_000
    wire = site.client()
    try:
        for _ in range(100):
            wire.send(get("/"))
            assert len(wire.response().body) == size
        assert origin.connections == 1
    finally:
        over.set()
        taking.join()
    wire.close()
    reader.close()


@pytest.mark.parametrize("crossing", [b"", frame(PING, 0, 0, b"12345678")], ids=["", "ping"])
def test_a_server_that_says_nothing_more_is_left(
    front: Front, farm: Farm, crossing: bytes
) -> None:
    """What crosses the request on its way says nothing about a server that is silent then."""
    crossed, go_on = threading.Event(), threading.Event()

    def serve(call: Call) -> None:
        if call.path == "/late":
            call.link.raw(crossing)
            crossed.set()
            go_on.wait(DEADLINE_S)
        call.answer(b"here")

    origin = farm(serve)
    site = front([origin], response_header_timeout="10m",
                 pool={"idle_connection_timeout": "2h"})
    assert site.ask(get("/soon")).status == 200
    wire = site.client()
    wire.send(get("/late"))
    assert crossed.wait(DEADLINE_S)
    time_passes(site.site, "11m")
    assert wire.response().status == 504
    wait_until(lambda: origin.requests[1].link.ended)
    assert site.ask(get("/soon")).status == 200
    go_on.set()


def test_a_server_that_only_takes_long_keeps_its_connection(front: Front, farm: Farm) -> None:
    go_on = threading.Event()

    def serve(call: Call) -> None:
        if call.path == "/late":
            go_on.wait(DEADLINE_S)
        call.answer(b"here")

    origin = farm(serve)
    site = front([origin], response_header_timeout="10m",
                 pool={"idle_connection_timeout": "2h"})
    wire = site.client()
    wire.send(get("/late"))
    wait_until(lambda: len(origin.requests) == 1)
    time_passes(site.site, "6m")
    origin.links[0].raw(frame(PING, 0, 0, b"12345678"))     # in the second half of the time
    time_passes(site.site, "5m")
    assert wire.response().status == 504
    assert site.ask(get("/soon")).status == 200
    assert not any(link.ended for link in origin.links)
    go_on.set()


def test_servers_that_leave_finish_what_they_have(front: Front, farm: Farm) -> None:
    go_on = threading.Event()

    def serve(call: Call) -> None:
        if call.path == "/held":
            go_on.wait(DEADLINE_S)
        call.answer(b"whole")

    old, new = farm(serve), farm(name="new")
    site: HttpSite = front([old])
    client = Client(site.site.connect())
    streams = [client.ask("/held") for _ in range(5)]
    wait_until(lambda: len(old.requests) == 5)
    change = site.site.balancer.pools["pool"].set_servers([new.address])
    wait_until(lambda: site.ask(get()).body.startswith(b"new"))
    go_on.set()
    for stream in streams:
        assert bytes(client.answer(stream).body) == b"whole"
    assert change.wait(DEADLINE_S) == 0
    wait_until(lambda: old.open() == 0)
