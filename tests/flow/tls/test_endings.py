"""Ends of connections: which were meant, and which may have been cut by somebody else."""

from __future__ import annotations

import contextlib
import socket
import ssl
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.flow.conftest import Origin, Site, read_exactly, read_to_end, wait_until
from tests.flow.tls.peers import GET, Authority, TlsOrigin, answers, serving, shake
from tests.flow.tls.turns import time_passes

Make = Callable[..., Site]
BODY = b"b" * 50_000
POST = b"POST / HTTP/1.1\r\nHost: site.test\r\nContent-Length: %d\r\n\r\n"


@pytest.fixture
def to_servers(authority: Authority) -> dict[str, Any]:
    return {"tls": {"ca": authority.cert, "server_name": "site.test"}}


@pytest.fixture
def servers(authority: Authority) -> Iterator[Callable[..., TlsOrigin]]:
    made: list[TlsOrigin] = []

    def make(serve: Callable[[Any], None]) -> TlsOrigin:
        made.append(TlsOrigin(serve, serving(authority.issue("site.test"))))
        return made[-1]

    yield make
    for one in made:
        one.close()


def end(peer: Any) -> None:
    """Say so, and close."""
    try:
        peer.unwrap().close()
    except (OSError, ssl.SSLError):
        peer.close()


def cut(peer: Any) -> None:
    """Close, without a word of TLS."""
    peer.shutdown(socket.SHUT_RDWR)
    peer.close()


def sends(head: bytes, ending: Callable[[Any], None]) -> Callable[[Any], None]:
    def serve(peer: Any) -> None:
        peer.recv(65536)
        peer.sendall(head + BODY)
        ending(peer)

    return serve


CLOSE = b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n"
LENGTH = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(BODY)


@pytest.mark.parametrize("bind", ["http://127.0.0.1:0", "https://127.0.0.1:0"])
@pytest.mark.parametrize(("head", "ending", "is_whole"), [
    (CLOSE, end, True), (CLOSE, cut, False), (LENGTH, end, True), (LENGTH, cut, True),
], ids=["said", "cut", "length-said", "length-cut"])
def test_a_body_that_ends_with_its_connection_is_whole_only_if_the_server_says_so(
    secure_site: Make, servers: Callable[..., TlsOrigin], to_servers: dict[str, Any],
    bind: str, head: bytes, ending: Callable[[Any], None], is_whole: bool,
) -> None:
    made = secure_site([servers(sends(head, ending)).address], bind, pool=to_servers)
    client = made.connect()
    client.sendall(GET.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"))
    if not is_whole:
        with pytest.raises(ConnectionResetError):
            read_to_end(client)
        return
    got = read_to_end(client)           # (TLS' own end is asked for by that)
    assert got.endswith(b"\r\n\r\n" + BODY)


@pytest.mark.parametrize("bind", ["tcp://127.0.0.1:0", "tls://127.0.0.1:0"])
@pytest.mark.parametrize("ending", [end, cut])
def test_a_relays_client_is_told_how_its_server_ended(
    secure_site: Make, servers: Callable[..., TlsOrigin], to_servers: dict[str, Any],
    bind: str, ending: Callable[[Any], None],
) -> None:
    made = secure_site([servers(sends(b"", ending)).address], bind, pool=to_servers)
    client = made.connect()
    client.sendall(b"hello")
    if ending is end:
        assert read_to_end(client) == BODY
        client.close()
    else:
        with pytest.raises(ConnectionResetError):
            read_to_end(client)


def test_what_a_client_ends_goes_on_the_other_way(secure_site: Make, origin: Origin) -> None:
    made = secure_site([origin.address], "tls://127.0.0.1:0")
    client, server = made.pair(origin)
    client.sendall(b"question")
    client.shutdown(socket.SHUT_WR)
    assert read_to_end(server) == b"question"
    server.sendall(BODY)
    server.close()
    assert read_to_end(client) == BODY


@pytest.mark.parametrize("versions", ["1.2", "1.3"])
@pytest.mark.parametrize("late", [False, True], ids=["at-once", "later"])
@pytest.mark.parametrize("fin", [False, True], ids=["stays", "fin"])
@pytest.mark.parametrize("body", [b"", b"x" * 40_000], ids=["head", "body"])
def test_a_client_that_says_its_end_after_its_request_is_answered(
    secure_site: Make, origin: Origin, authority: Authority,
    versions: str, late: bool, fin: bool, body: bytes,
) -> None:
    """Whether its records come in one write, and whether its connection ends with its TLS."""
    made = secure_site([origin.address])
    made.context = authority.trusting(versions=versions)
    client: Any = made.connect()
    client._tls.write(POST % len(body) + body)
    if late:
        client._flush()
        server = origin.accept()
        read_whole(server, body)
    with contextlib.suppress(ssl.SSLWantReadError):
        client._tls.unwrap()            # (what comes from us is read after it)
    client._flush()
    if fin:
        client._sock.shutdown(socket.SHUT_WR)
    if not late:
        server = origin.accept()
        read_whole(server, body)
    server.sendall(LENGTH + BODY)
    assert read_to_end(client).endswith(b"\r\n\r\n" + BODY)


def read_whole(server: socket.socket, body: bytes) -> None:
    got = b""
    while not got.endswith(b"\r\n\r\n" + body):
        got += server.recv(65536)


def test_many_clients_end_without_a_word(
    secure_site: Make, authority: Authority, origin: Origin
) -> None:
    """As browsers do: what they sent is delivered, and then an end."""
    made = secure_site([origin.address], "tls://127.0.0.1:0")
    client = shake(made, authority.trusting())
    server = origin.accept()
    client.sendall(b"question")
    assert read_exactly(server, 8) == b"question"
    client.shutdown(socket.SHUT_WR)     # (with a ticket unread, closing would be a reset)
    assert server.recv(1) == b""
    client.close()
    server.close()
    made.wait_idle()


def test_an_upload_that_is_cut_is_not_whole(
    secure_site: Make, authority: Authority, origin: Origin
) -> None:
    made = secure_site([origin.address])
    client = shake(made, authority.trusting())
    client.sendall(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1000\r\n\r\nhalf")
    server = origin.accept()
    got = b""
    while not got.endswith(b"half"):
        got += server.recv(1000)
    client.shutdown(socket.SHUT_RDWR)
    with pytest.raises(ConnectionResetError):
        read_to_end(server)
    made.wait_idle()


def test_who_says_the_end_and_stays_is_let_go(
    secure_site: Make, servers: Callable[..., TlsOrigin], to_servers: dict[str, Any]
) -> None:
    """A server that ends its TLS, and leaves its connection open; a client that never closes."""
    stays: list[Any] = []

    def serve(peer: Any) -> None:
        peer.recv(65536)
        peer.sendall(CLOSE + b"all")
        stays.append(peer)
        peer.setblocking(False)
        with pytest.raises(ssl.SSLWantReadError):
            peer.unwrap()
        peer.setblocking(True)
        while peer.recv(1000):          # until the other side is closed
            pass

    made = secure_site([servers(serve).address], pool=to_servers)
    client = made.connect()
    client.sendall(GET)
    assert read_to_end(client).endswith(b"\r\n\r\nall")
    made.wait_idle()                    # though the client is there


def test_a_client_that_never_closes_is_closed(secure_site: Make, authority: Authority) -> None:
    origin = TlsOrigin(answers)
    made = secure_site([origin.address])
    client = made.connect()
    client.sendall(GET.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"))
    assert read_to_end(client).endswith(b"ok")
    made.wait_idle()
    origin.close()


def test_what_we_cut_off_does_not_look_as_if_it_had_ended(
    secure_site: Make, origin: Origin
) -> None:
    made = secure_site([origin.address], "tls://127.0.0.1:0", idle_timeout="10m")
    client, server = made.pair(origin)
    client.sendall(b"x")
    assert server.recv(1) == b"x"
    time_passes(made, "11m")
    with pytest.raises(ConnectionResetError):
        read_to_end(client)
    wait_until(lambda: made.totals()["ended_idle"] == 1)
