"""How many TLS handshakes there may be at a time: of all clients, and of one source."""

from __future__ import annotations

import socket
import ssl
import threading
from collections.abc import Callable
from typing import Any

import pytest

from tests.flow.conftest import DEADLINE_S, Origin, Site, wait_until
from tests.flow.test_tarpit import is_closed, metrics_of

pytestmark = pytest.mark.plain

Make = Callable[..., Site]


def tls(pair: tuple[str, str], **keys: Any) -> dict[str, Any]:
    cert, key = pair
    return {"bind": "tls://127.0.0.1:0",
            "tls": {"certificates": [{"cert": cert, "key": key}], **keys}}


def connect(made: Site, source: str = "127.0.0.1") -> socket.socket:
    host, _, port = made.listener.url.partition("://")[2].rpartition(":")
    client = socket.create_connection((host, int(port)), DEADLINE_S, (source, 0))
    made.clients.append(client)
    return client


def shake_hands(client: socket.socket) -> ssl.SSLSocket:
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return context.wrap_socket(client)


def under_way(made: Site) -> int:
    runtime = made.balancer._instance.running()
    return sum(one.handshakes for one in runtime.live.listeners())


@pytest.mark.modes("inline", "threads")
def test_source_has_so_many_handshakes_at_a_time(
    site: Make, origin: Origin, pair: tuple[str, str]
) -> None:
    made = site([origin.address], **tls(pair, max_handshakes_per_source=2))
    first = connect(made)
    connect(made)
    wait_until(lambda: made.counts()["exchanges"] == 2)
    assert is_closed(connect(made))
    assert made.totals()["ended_handshakes_full"] == 1
    secured = shake_hands(first)
    made.clients.append(secured)
    secured.sendall(b"hello")
    assert origin.accept().recv(10) == b"hello"
    third = connect(made)               # (the one that is over doesn't count)
    wait_until(lambda: made.counts()["exchanges"] == 3)
    assert is_closed(connect(made))
    other = shake_hands(connect(made, "127.0.0.2"))
    made.clients.append(other)
    other.sendall(b"other")
    assert origin.accept().recv(10) == b"other"
    third.close()


@pytest.mark.parametrize("how", ["failure", "timeout", "leaving"])
def test_place_is_given_back_once(
    site: Make, origin: Origin, pair: tuple[str, str], how: str
) -> None:
    made = site([origin.address], **tls(
        pair, max_handshakes_per_source=1, max_handshakes=1, handshake_timeout="10s"))
    for _ in range(3):
        client = connect(made)
        wait_until(lambda: under_way(made) == 1)
        assert is_closed(connect(made))
        if how == "failure":
            client.sendall(b"this is no handshake\r\n\r\n")
            while client.recv(4096):
                pass
        elif how == "timeout":
            made.advance("10s")
            assert is_closed(client)
        client.close()
        wait_until(lambda: under_way(made) == 0)
    secured = shake_hands(connect(made))
    made.clients.append(secured)
    secured.sendall(b"hello")
    assert origin.accept().recv(10) == b"hello"
    assert under_way(made) == 0


def test_listener_has_so_many_handshakes_at_a_time(
    site: Make, origin: Origin, pair: tuple[str, str]
) -> None:
    made = site([origin.address], **tls(pair, max_handshakes=2))
    connect(made)
    connect(made, "127.0.0.2")
    wait_until(lambda: under_way(made) == 2)
    assert is_closed(connect(made, "127.0.0.3"))
    metrics = metrics_of(made)
    assert 'fastlb_tls_handshakes_full_total{listener="listener"} 1\n' in metrics


def test_place_that_the_listener_lacks_is_not_taken_of_the_source(
    site: Make, origin: Origin, pair: tuple[str, str]
) -> None:
    made = site([origin.address], **tls(pair, max_handshakes=1, max_handshakes_per_source=1))
    other = connect(made, "127.0.0.2")
    wait_until(lambda: under_way(made) == 1)
    assert is_closed(connect(made))
    other.close()
    wait_until(lambda: under_way(made) == 0)
    connect(made)
    wait_until(lambda: under_way(made) == 1)


def test_all_places_are_free_after_many_handshakes(
    site: Make, origin: Origin, pair: tuple[str, str]
) -> None:
    made = site([origin.address], threads=2,
                **tls(pair, max_handshakes_per_source=3, max_handshakes=3))
    origin.listener.settimeout(None)

    def run(number: int) -> None:
        for i in range(20):
            with connect(made) as client:
                try:
                    if (i + number) % 3:
                        shake_hands(client).close()
                    else:
                        client.sendall(b"no handshake")
                except OSError:
                    pass

    threads = [threading.Thread(target=run, args=(i,)) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    made.wait_idle()
    assert under_way(made) == 0
    for _ in range(3):
        connect(made)
    wait_until(lambda: under_way(made) == 3)
    assert is_closed(connect(made))
    origin.listener.settimeout(DEADLINE_S)
