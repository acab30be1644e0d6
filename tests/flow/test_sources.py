"""How many connections one source may have."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

import fastlb
from tests.flow.conftest import DEADLINE_S, Origin, Site, wait_until
from tests.flow.http.conftest import origins
from tests.flow.http.peers import HttpOrigin, Message, Wire, answer, get
from tests.flow.proxied.headers import begin

__all__ = ["origins"]
pytestmark = pytest.mark.plain

Make = Callable[..., Site]


def connect(made: Site, source: str = "127.0.0.1") -> socket.socket:
    host, _, port = made.listener.url.partition("://")[2].rpartition(":")
    client = socket.create_connection((host, int(port)), DEADLINE_S, (source, 0))
    made.clients.append(client)
    return client


def is_closed(client: socket.socket) -> bool:
    try:
        return client.recv(1) == b""
    except ConnectionError:
        return True


def test_a_source_has_so_many_connections_and_no_more(site: Make, origin: Origin) -> None:
    made = site([origin.address], max_connections_per_source=2)
    first, server = connect(made), origin.accept()
    second = connect(made)
    origin.accept()
    assert is_closed(connect(made))
    wait_until(lambda: made.totals()["ended_source_full"] == 1)
    other = connect(made, "127.0.0.2")
    other.sendall(b"other")
    assert origin.accept().recv(10) == b"other"
    first.close()
    server.close()
    wait_until(lambda: made.counts()["exchanges"] == 2)
    third = connect(made)
    third.sendall(b"third")
    assert origin.accept().recv(10) == b"third"
    second.close()


def test_sources_are_those_that_a_proxy_tells_of(site: Make, origin: Origin) -> None:
    made = site([origin.address], max_connections_per_source=1,
                proxy_protocol={"trusted": ["127.0.0.1"], "timeout": "60s"})
    begin(made, b"PROXY TCP4 192.0.2.7 10.0.0.1 1 2\r\n")
    origin.accept()
    assert is_closed(begin(made, b"PROXY TCP6 ::ffff:192.0.2.7 ::1 1 2\r\n"))
    begin(made, b"PROXY TCP6 2001:db8::1 ::1 1 2\r\n")
    origin.accept()
    assert is_closed(begin(made, b"PROXY TCP6 2001:db8::ffff:1 ::1 1 2\r\n"))     # its /64
    begin(made, b"PROXY TCP6 2001:db8:0:1::1 ::1 1 2\r\n")
    origin.accept()


def test_clients_of_unix_sockets_are_not_counted(
    site: Make, origin: Origin, tmp_path: Path
) -> None:
    made = site([origin.address], bind=f"tcp://unix:{tmp_path}/s", max_connections_per_source=1)
    for _ in range(3):
        made.connect().sendall(b"x")
        assert origin.accept().recv(1) == b"x"


def test_too_many_are_closed_before_tls(
    site: Make, origin: Origin, pair: tuple[str, str]
) -> None:
    cert, key = pair
    made = site([origin.address], bind="tls://127.0.0.1:0", max_connections_per_source=1,
                tls={"certificates": [{"cert": cert, "key": key}]})
    connect(made)
    wait_until(lambda: made.counts()["exchanges"] == 1)
    assert is_closed(connect(made))
    assert made.totals()["handshakes"] == 0


def test_a_connection_that_is_handed_over_counts_where_it_is(
    site: Make, origins: Callable[..., HttpOrigin]
) -> None:
    def serve(wire: Wire, request: Message) -> None:
        wire.send(answer(b"ok"))

    config = fastlb.Config.build({
        "listeners": {
            "edge": {"bind": "tcp://127.0.0.1:0", "max_connections_per_source": 3, "pool": "p",
                     "sniff_timeout": "60s",        # (a request may come late)
                     "routes": [{"name": "web", "match": {"protocol": "http/1.1"},
                                 "listener": "web"}]},
            "web": {"bind": "http://127.0.0.1:0", "pool": "p", "max_connections_per_source": 1},
        },
        "pools": {"p": {"servers": [origins(serve).address]}},
    })
    made = site([], config=config)
    first = Wire(connect(made))
    first.send(get("/"))
    assert first.response().status == 200
    second = connect(made)
    second.sendall(get("/"))
    assert is_closed(second)
    first.close()
    wait_until(lambda: made.counts()["exchanges"] == 0)
    third = Wire(connect(made))
    third.send(get("/"))
    assert third.response().status == 200


def test_counts_are_exact_over_threads(
    site: Make, origins: Callable[..., HttpOrigin]
) -> None:
    """Whatever many clients do, a source never has more than it may, and all is zero afterwards."""
    made = site([origins().address], bind="http://127.0.0.1:0", max_connections_per_source=4)
    served, closed = [0] * 8, [0] * 8

    def run(number: int) -> None:
        for _ in range(60):
            with connect(made) as sock:
                wire = Wire(sock)
                try:
                    wire.send(get("/"))
                    served[number] += wire.response().status == 200
                except (OSError, EOFError):
                    closed[number] += 1

    threads = [threading.Thread(target=run, args=(i,)) for i in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(served) > 0 and sum(served) + sum(closed) == 480
    made.wait_idle()
    four = [Wire(connect(made)) for _ in range(4)]
    for wire in four:
        wire.send(get("/"))
        assert wire.response().status == 200
    assert is_closed(connect(made))
