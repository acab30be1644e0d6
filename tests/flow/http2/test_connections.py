"""Connections of HTTP/2: without TLS, and how they end."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

import pytest

from tests.flow.conftest import DEADLINE_S, wait_until
from tests.flow.http.conftest import HttpSite
from tests.flow.http.peers import Message, Wire, answer, get
from tests.flow.http2.conftest import Open, Origins, connect
from tests.flow.http2.peers import DATA, Client
from tests.flow.tls.turns import time_passes

Web = Callable[..., HttpSite]


def test_without_tls_by_prior_knowledge(web: Web, origins: Origins) -> None:
    origin = origins()
    site = web([origin.address], h2c=True)
    client = Client(site.site.connect())
    for i in range(3):
        got = client.get(f"/{i}", method="POST", body=b"x" * 50_000)
        assert bytes(got.body) == f"origin POST /{i} HTTP/1.1\n".encode() + b"x" * 50_000
    assert origin.requests[0]["x-forwarded-proto"] == "http"
    client.close()
    assert site.ask(get("/old")).status == 200      # (HTTP/1.1 goes on beside it)
    for piece in (1, 2, 5):
        wire = site.client()
        for data in (b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n", get("/b")):
            for at in range(0, len(data), piece):
                wire.send(data[at : at + piece])
            assert wire.response().status == 200


def test_a_preface_byte_by_byte(web: Web, origins: Origins) -> None:
    site = web([origins().address], h2c=True, request_header_timeout="10m")
    sock = site.site.connect()
    for byte in b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n":
        sock.sendall(bytes([byte]))
    sock.sendall(bytes(3) + b"\x04" + bytes(5))         # SETTINGS
    assert sock.recv(9)[3] == 4


def test_nobody_speaks_it_unasked(web: Web, origins: Origins) -> None:
    site = web([origins().address])
    wire = site.client()
    wire.send(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")
    assert wire.response().status in (400, 505)


def test_a_stop_says_so_and_waits(h2: Open, origins: Origins) -> None:
    begun, go_on = threading.Event(), threading.Event()

    def serve(wire: Wire, request: Message) -> None:
        begun.set()
        go_on.wait(DEADLINE_S)
        wire.send(answer(b"done"))

    site, client = h2([origins(serve).address])
    stream = client.ask("/slow")
    assert begun.wait(DEADLINE_S)
    site.site.balancer.stop(2 * DEADLINE_S)
    while client.goaway is None:
        assert client.look()
    assert client.goaway == 0
    go_on.set()
    data = b""
    while piece := client.sock.recv(65536):     # (the package takes no frames after a GOAWAY)
        data += piece
    assert client.raw(DATA, 1, stream, b"done") in data or client.raw(
        DATA, 0, stream, b"done") in data
    site.site.balancer.stop(2 * DEADLINE_S).wait(DEADLINE_S)


def test_a_silent_one_is_told_to_go(h2: Open, origins: Origins) -> None:
    site, client = h2([origins().address], keepalive_timeout="10m")
    assert client.get("/").status == 200
    time_passes(site.site, "11m")
    client.until_end()
    assert client.goaway == 0
    client.close()
    wait_until(lambda: not any(site.site.counts().values()))


def test_a_reload_serves_the_next_request_by_what_is_new(
    h2: Open, origins: Origins, pair: tuple[str, str]
) -> None:
    a, b = origins(name="a"), origins(name="b")
    site, client = h2([a.address])
    assert client.get("/1").body.startswith(b"a ")
    pool = site.site.balancer.pools["pool"]
    pool.set_servers([b.address]).wait(DEADLINE_S)
    assert client.get("/2").body.startswith(b"b ")
    other = connect(site, pair)
    assert other.get("/3").body.startswith(b"b ")
    other.close()


def test_many_connections_of_many_streams(
    h2: Open, origins: Origins, pair: tuple[str, str]
) -> None:
    site, first = h2([origins().address])
    clients = [first, *(connect(site, pair) for _ in range(7))]
    bad: list[object] = []

    def run(client: Client) -> None:
        for turn in range(5):
            streams = [client.ask(f"/{turn}/{i}", method="POST", body=bytes([i]) * i * 37)
                       for i in range(30)]
            for i, stream in enumerate(streams):
                got = bytes(client.answer(stream).body)
                if got != f"origin POST /{turn}/{i} HTTP/1.1\n".encode() + bytes([i]) * i * 37:
                    bad.append((turn, i, got[:50]))

    threads = [threading.Thread(target=run, args=(client,)) for client in clients]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert bad == []
    for client in clients:
        client.close()


@pytest.mark.parametrize("when", ["idle", "asking", "answered"])
def test_a_client_that_vanishes(h2: Open, origins: Origins, when: str) -> None:
    def serve(wire: Wire, request: Message) -> None:
        if when == "answered":
            wire.send(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\nbegin")
        time.sleep(0.2)

    site, client = h2([origins(serve).address])
    if when != "idle":
        for _ in range(5):
            client.ask("/")
        client.look()
    client.close()
    wait_until(lambda: not any(site.site.counts().values()))
