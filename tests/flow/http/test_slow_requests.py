"""Clients that send their requests slower than min_request_rate."""

from __future__ import annotations

import socket
from collections.abc import Callable
from typing import Any

import pytest

from tests.flow.conftest import DEADLINE_S, Origin, Site, wait_until
from tests.flow.http.conftest import origins
from tests.flow.http.peers import HttpOrigin, Message, Wire, answer, get
from tests.flow.test_tarpit import metrics_of, totals

__all__ = ["origins"]

heads = pytest.mark.http1        # (of HTTP/2, request_header_timeout is all that bounds them)
bodies = pytest.mark.h2

Make = Callable[..., Site]
RATE = {"limit": "10B/s", "grace": "5s"}        # 50 bytes in 5 seconds
POST = b"POST / HTTP/1.1\r\nHost: site.test\r\nContent-Length: 1000\r\n\r\n"


def serve(wire: Wire, request: Message) -> None:
    wire.send(answer(request.body or b"ok"))


def web(site: Make, address: str, **keys: Any) -> Site:
    return site([address], bind="http://127.0.0.1:0", **{"min_request_rate": RATE, **keys})


def send(made: Site, wire: Wire, data: bytes) -> None:
    """Send bytes that an engine has read when this returns."""
    before = made.totals()["turns"]
    wire.send(data)
    wait_until(lambda: made.totals()["turns"] > before)
    made.advance("0s")          # (what was there by then is read)


@heads
def test_slow_head_gets_408(site: Make, origins: Callable[..., HttpOrigin]) -> None:
    made = web(site, origins(serve).address)
    wire = Wire(made.connect())
    send(made, wire, b"GET / HTTP/1.1\r\nHost: site.test\r\nA: ")
    made.advance("5s")
    send(made, wire, b"slow")
    made.advance("5s")
    response = wire.response()
    assert (response.status, response["x-fastlb-error"]) == (408, "too_slow")
    assert wire.sock.recv(1) == b""
    assert totals(made)["too_slow"] == 1


@heads
def test_head_that_comes_fast_enough_is_served(
    site: Make, origins: Callable[..., HttpOrigin]
) -> None:
    made = web(site, origins(serve).address, request_header_timeout="1m")
    wire = Wire(made.connect())
    send(made, wire, b"GET / HTTP/1.1\r\nHost: site.test\r\n")
    for i in range(6):
        made.advance("5s")
        send(made, wire, b"a%d: " % i + b"a" * 50 + b"\r\n")
    send(made, wire, b"\r\n")
    assert wire.response().status == 200


@heads
def test_head_has_request_header_timeout_whatever_its_rate(
    site: Make, origins: Callable[..., HttpOrigin]
) -> None:
    made = web(site, origins(serve).address)
    wire = Wire(made.connect())
    send(made, wire, b"GET / HTTP/1.1\r\nHost: site.test\r\nA: ")
    made.advance("5s")
    send(made, wire, b"a" * 500)
    made.advance("5s")
    response = wire.response()
    assert (response.status, response["x-fastlb-error"]) == (408, "timeout")
    assert totals(made)["too_slow"] == 0


@heads
@pytest.mark.parametrize("between", ["at once", "after another request"])
def test_idle_connection_is_not_slow(
    site: Make, origins: Callable[..., HttpOrigin], between: str
) -> None:
    made = web(site, origins(serve).address, request_header_timeout="1h")
    wire = Wire(made.connect())
    if between != "at once":
        wire.send(get("/"))
        assert wire.response().status == 200
    for _ in range(4):
        made.advance("10s")
    wire.send(get("/"))
    assert wire.response().status == 200


@bodies
def test_slow_body_gets_408(site: Make, origins: Callable[..., HttpOrigin]) -> None:
    made = web(site, origins(serve).address)
    wire = Wire(made.connect())
    send(made, wire, POST + b"x")
    made.advance("5s")
    for _ in range(4):
        made.advance("1s")
        send(made, wire, b"x")          # (so that body_idle_timeout begins anew)
    made.advance("1s")
    response = wire.response()
    assert (response.status, response["x-fastlb-error"]) == (408, "too_slow")
    assert totals(made)["too_slow"] == 1


@bodies
def test_body_that_comes_fast_enough_is_served(
    site: Make, origins: Callable[..., HttpOrigin]
) -> None:
    made = web(site, origins(serve).address)
    wire = Wire(made.connect())
    send(made, wire, POST)
    for _ in range(10):
        send(made, wire, b"x" * 100)
        made.advance("5s")
    assert wire.response().body == b"x" * 1000


@bodies
def test_body_that_has_not_begun_is_waited_for(
    site: Make, origins: Callable[..., HttpOrigin]
) -> None:
    """A client may wait for a 100, or for a person; body_idle_timeout bounds that."""
    made = web(site, origins(serve).address)
    wire = Wire(made.connect())
    send(made, wire, POST)
    for _ in range(4):
        made.advance("10s")
    wire.send(b"x" * 1000)
    assert wire.response().body == b"x" * 1000


@heads
def test_server_that_takes_nothing_is_not_its_clients_fault(site: Make, origin: Origin) -> None:
    size = 64 << 20
    made = web(site, origin.address, body_idle_timeout="0s", min_request_rate={
        "limit": "1KiB/s", "grace": "5s"})
    client = made.connect()
    client.sendall(POST.replace(b"1000", b"%d" % size))
    server = origin.accept()
    client.setblocking(False)
    sent = 0
    body = bytes(1 << 16)
    before = -1
    while before != sent:               # (until all buffers on the way are full)
        before = sent
        wait = made.totals()["turns"]
        try:
            while True:
                sent += client.send(body)
        except OSError:
            pass
        made.advance("0s")
        assert made.totals()["turns"] >= wait
    assert sent < size
    for _ in range(6):
        made.advance("5s")
    assert totals(made)["too_slow"] == 0
    server.close()


@bodies
def test_report_ends_nobody_and_counts(site: Make, origins: Callable[..., HttpOrigin]) -> None:
    made = web(site, origins(serve).address, min_request_rate={**RATE, "report": True})
    wire = Wire(made.connect())
    send(made, wire, POST + b"x")
    for _ in range(4):
        made.advance("5s")
    wire.send(b"x" * 999)
    assert wire.response().body == b"x" * 1000
    assert totals(made)["too_slow"] == 0
    assert ('fastlb_slow_requests_total{listener="listener",outcome="reported"} 1\n'
            in metrics_of(made))


@pytest.mark.plain
def test_slow_heads_of_one_source_end_by_its_limits(
    site: Make, origins: Callable[..., HttpOrigin]
) -> None:
    """A small Slowloris: beyond max_connections_per_source nobody is let in, and those that are let
    in end by the rate. Another client is served all the while."""
    made = web(site, origins(serve).address, max_connections_per_source=20,
               request_header_timeout="1h")
    host, _, port = made.listener.url.partition("://")[2].rpartition(":")
    slow = []
    for _ in range(200):
        client = socket.create_connection((host, int(port)), DEADLINE_S, ("127.0.0.2", 0))
        made.clients.append(client)
        slow.append(client)
        try:
            client.sendall(b"GET / HTTP/1.1\r\nA: ")
        except OSError:
            pass                        # (it is closed already)
    wait_until(lambda: made.totals()["ended_source_full"] == 180)
    wire = Wire(made.connect())
    wire.send(get("/"))
    assert wire.response().status == 200
    made.advance("5s")
    made.advance("5s")
    wait_until(lambda: totals(made)["too_slow"] == 20)
    wire.send(get("/"))
    assert wire.response().status == 200
    for client in slow:
        client.close()
    wire.close()
