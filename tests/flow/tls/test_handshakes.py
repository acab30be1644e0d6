"""Handshakes that stall, come in pieces, or are none."""

from __future__ import annotations

import os
import random
import socket
import ssl
import struct
from collections.abc import Callable
from typing import Any

import pytest

from tests.flow.conftest import DEADLINE_S, Site, read_to_end, reset, wait_until
from tests.flow.tls.peers import GET, Authority, TlsOrigin, ask, origin
from tests.flow.tls.turns import time_passes

__all__ = ["origin"]

Make = Callable[..., Site]


def plain(made: Site) -> socket.socket:
    sock = socket.create_connection(("127.0.0.1", made.listener.port), DEADLINE_S)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    made.clients.append(sock)
    return sock


def hello(context: ssl.SSLContext, name: str | None = "site.test") -> bytes:
    """The first flight of a client."""
    out = ssl.MemoryBIO()
    client = context.wrap_bio(ssl.MemoryBIO(), out, server_hostname=name)
    with pytest.raises(ssl.SSLWantReadError):
        client.do_handshake()
    return out.read()


def ended(sock: socket.socket) -> bytes:
    """What comes until the end, which may be a reset."""
    got = b""
    try:
        while piece := sock.recv(65536):
            got += piece
    except ConnectionResetError:
        pass
    return got


@pytest.mark.parametrize("said", ["nothing", "a part", "all but the end"])
def test_who_takes_too_long_is_left(
    secure_site: Make, authority: Authority, origin: TlsOrigin, said: str
) -> None:
    made = secure_site([origin.address], tls={"handshake_timeout": "10m"})
    client = plain(made)
    first = hello(authority.trusting())
    client.sendall({"nothing": b"", "a part": first[:7], "all but the end": first}[said])
    wait_until(lambda: made.counts()["exchanges"] == 1)
    time_passes(made, "9m")
    assert made.totals()["handshakes_failed"] == 0
    time_passes(made, "2m")
    got = ended(client)
    assert bool(got) == (said == "all but the end")
    wait_until(lambda: made.totals()["handshakes_failed"] == 1)
    made.wait_idle()


def test_the_silent_cost_no_memory_of_tls(
    secure_site: Make, authority: Authority, origin: TlsOrigin
) -> None:
    made = secure_site([origin.address])
    silent = [plain(made) for _ in range(50)]
    wait_until(lambda: made.counts()["exchanges"] == 50)
    assert made.counts()["secured"] == 0
    ask(made, authority.trusting()).close()
    for one in silent:
        reset(one) if silent.index(one) % 2 else one.close()
    made.wait_idle()


@pytest.mark.parametrize("versions", ["1.2", "1.3"])
def test_one_byte_at_a_time(
    secure_site: Make, authority: Authority, origin: TlsOrigin, versions: str
) -> None:
    made = secure_site([origin.address])
    sock = plain(made)
    into, out = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = authority.trusting(versions=versions).wrap_bio(into, out, server_hostname="site.test")

    def send() -> None:
        for byte in out.read():
            sock.sendall(bytes([byte]))

    def wait_for(act: Callable[[], Any]) -> Any:
        while True:
            try:
                return act()
            except ssl.SSLWantReadError:
                send()
                into.write(sock.recv(1))

    wait_for(client.do_handshake)
    client.write(GET)
    got = b""
    while not got.endswith(b"ok"):
        send()
        got += wait_for(lambda: client.read(1))
    assert got.startswith(b"HTTP/1.1 200 OK\r\n")


HTTP = b"GET / HTTP/1.1\r\nHost: site.test\r\nX: " + b"x" * 3000 + b"\r\n\r\n"


@pytest.mark.parametrize("said", [
    GET, HTTP, b"POST /a HTTP/1.1\r\nHost: a\r\n\r\n", b"HEAD / HTTP/1.0\r\n\r\n",
    b"PUT /a HTTP/1.1\r\nHost: a\r\n\r\n", b"CONNECT a:443 HTTP/1.1\r\nHost: a:443\r\n\r\n",
], ids=lambda said: f"{said[:4].decode()}{len(said)}")
def test_who_speaks_http_without_tls_is_told(
    secure_site: Make, origin: TlsOrigin, said: bytes
) -> None:
    made = secure_site([origin.address])
    client = plain(made)
    client.sendall(said)
    head, _, body = read_to_end(client).partition(b"\r\n\r\n")
    assert head.split(b"\r\n") == [
        b"HTTP/1.1 400 Bad Request", b"Content-Type: text/plain; charset=utf-8",
        b"Content-Length: 49", b"Connection: close"]
    assert body == b"400 Bad Request: this port speaks HTTPS, not HTTP"
    assert origin.connections == 0
    made.wait_idle()


def record(kind: int, data: bytes, version: int = 0x0301) -> bytes:
    return struct.pack("!BHH", kind, version, len(data)) + data


def test_what_is_no_handshake_ends(
    secure_site: Make, authority: Authority, origin: TlsOrigin
) -> None:
    made = secure_site([origin.address])
    first = hello(authority.trusting())
    seed = int.from_bytes(os.urandom(4), "big")
    print(f"seed {seed}")
    choose = random.Random(seed)
    hostile = [
        b"\0" * 1000, b"\xff" * 1000, b"SSH-2.0-x\r\n", b"\x80\x2e\x01\x00\x02", b"\x16",
        record(23, b"data before the handshake"),
        record(21, b"\2\0"), record(21, b"\1\0"), record(20, b"\1"),
        record(22, b""), record(22, b"\1\0\0\0"),
        record(22, b"\1\xff\xff\xff"), record(22, b"\2" + first[6:]),
        record(22, first[5:]) + record(22, first[5:]),          # twice
        b"\x16\x03\x01\xff\xff" + bytes(65535),                 # longer than a record may be
        b"".join(record(22, b"") for _ in range(1000)),
        b"".join(record(21, b"\1\x5a") for _ in range(1000)),   # warnings without end
        b"".join(record(22, bytes([byte])) for byte in first[5:]),
        record(22, b"\1\x00\x40\x00" + bytes(0x4000 - 4)) * 3,
        *(first[:n] for n in range(1, len(first), 37)),
        *(choose.randbytes(choose.randrange(1, 3000)) for _ in range(30)),
    ]
    for data in hostile:
        client = plain(made)
        try:
            client.sendall(data)
            client.shutdown(socket.SHUT_WR)
        except OSError:
            pass                        # refused before its end
        got = ended(client)
        assert b"HTTP" not in got
        client.close()
    made.wait_idle()
    assert origin.connections == 0
    ask(made, authority.trusting()).close()
    assert origin.connections == 1


def test_a_hello_that_is_too_long_is_bounded(
    secure_site: Make, authority: Authority, origin: TlsOrigin
) -> None:
    """It says that it has 16 MiB, and goes on: nobody reads that."""
    made = secure_site([origin.address])
    client = plain(made)
    piece = record(22, b"\1\xff\xff\xff" + bytes(16380)) + record(22, bytes(16384)) * 50
    with pytest.raises(OSError, match=r"reset|pipe"):
        for _ in range(1000):
            client.sendall(piece)
    made.wait_idle()


def test_who_leaves_in_the_middle(
    secure_site: Make, authority: Authority, origin: TlsOrigin
) -> None:
    made = secure_site([origin.address], threads=2)
    first = hello(authority.trusting())
    for n in (0, 1, 5, 100, len(first)):
        for how in (reset, socket.socket.close):
            client = plain(made)
            client.sendall(first[:n])
            if n == len(first):
                assert client.recv(1)
            how(client)

    def left() -> int:                  # (some may not have been accepted yet)
        return made.totals()["ended_client_reset"] + made.totals()["handshakes_failed"]

    wait_until(lambda: left() >= 9, lambda: f"{left()} have left")
    made.wait_idle()


def test_a_tcp_listener_over_tls_bounds_its_handshakes_too(
    secure_site: Make, authority: Authority, origin: TlsOrigin
) -> None:
    made = secure_site([origin.address], "tls://127.0.0.1:0", {"handshake_timeout": "10m"},
                       idle_timeout="1h")
    silent = plain(made)
    wait_until(lambda: made.counts()["exchanges"] == 1)
    time_passes(made, "11m")
    assert ended(silent) == b""
    with ask(made, authority.trusting()) as client:     # and lets go of that limit afterwards
        time_passes(made, "11m")
        client.sendall(GET)
        assert client.recv(1000)


def test_a_stop_does_not_wait_for_handshakes(
    secure_site: Make, authority: Authority, origin: TlsOrigin
) -> None:
    made = secure_site([origin.address], tls={"handshake_timeout": "60s"})
    silent, begun = plain(made), plain(made)
    begun.sendall(hello(authority.trusting())[:50])
    wait_until(lambda: made.counts()["exchanges"] == 2)
    made.balancer.stop(timeout=0.2).wait(DEADLINE_S)
    assert ended(silent) == ended(begun) == b""
