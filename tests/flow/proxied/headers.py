"""Connections that begin with a header of the PROXY protocol, on both sides of a balancer."""

from __future__ import annotations

import socket
import struct
import threading
from typing import Any

from tests.flow.conftest import DEADLINE_S, Origin, Site, read_exactly
from tests.flow.http.peers import HttpOrigin, Serve, Wire
from tests.flow.secure import TlsSocket, as_server
from tests.fuzz.proxies import INET, INET6, tlv, v2

# A header that is slow to come is no missing one, where no test is about that.
TRUSTED = {"trusted": ["127.0.0.0/8", "::1"], "timeout": "10m"}
HERE = {"proxy_protocol": TRUSTED}
V1 = b"PROXY TCP4 192.0.2.7 198.51.100.1 4242 443\r\n"
V1_IPV6 = b"PROXY TCP6 2001:db8::7 2001:db8::1 4242 443\r\n"
V2 = v2(0x11, INET)
V2_IPV6 = v2(0x21, INET6)
LOCAL = b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0"
UNKNOWN = b"PROXY UNKNOWN\r\n"
OF_AN_IP = {"192.0.2.7": (V1, V2), "2001:db8::7": (V1_IPV6, V2_IPV6)}

__all__ = ["INET", "INET6", "tlv", "v2"]


def begin(site: Site, *pieces: bytes) -> socket.socket:
    """A client that sends these first of all, one after the other; then it speaks as others do."""
    context, h2 = site.context, site.h2
    site.context, site.h2 = None, False
    try:
        client: Any = site.connect()
    finally:
        site.context, site.h2 = context, h2
    if client.family != socket.AF_UNIX:
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    for piece in pieces:
        client.sendall(piece)
    if context is not None:
        client = TlsSocket(client, context)
    if h2:
        from tests.flow.http2.wire import H2Socket

        client = H2Socket(client)
    return client  # type: ignore[no-any-return]


def take_header(sock: socket.socket) -> bytes:
    """What a server is told, and nothing behind it."""
    got = read_exactly(sock, 6)
    if got == b"PROXY ":
        while not got.endswith(b"\n"):
            got += read_exactly(sock, 1)
        return got
    got += read_exactly(sock, 10)
    return got + read_exactly(sock, struct.unpack("!H", got[14:16])[0])


def met(origin: Origin) -> tuple[bytes, socket.socket]:
    """The header of the next connection, and the connection."""
    sock, _ = origin.listener.accept()
    sock.settimeout(DEADLINE_S)
    header = take_header(sock)
    sock = as_server(sock)
    origin.accepted.append(sock)
    return header, sock


class ToldOrigin(HttpOrigin):
    """An origin of http that is told of its clients."""

    def __init__(self, serve: Serve | None = None, name: str = "origin") -> None:
        self.headers: list[bytes] = []
        self.ended = 0
        self.lock = threading.Lock()
        super().__init__(serve, name)

    def _begin(self, sock: socket.socket) -> None:
        sock.settimeout(DEADLINE_S)
        header = take_header(sock)
        with self.lock:
            self.headers.append(header)
        super()._begin(sock)

    def _run(self, wire: Wire) -> None:
        super()._run(wire)
        with self.lock:
            self.ended += 1


def told_v1(client: socket.socket, site: Site) -> bytes:
    """What a server has to be told of a client without a header."""
    ip, port = client.getsockname()
    return f"PROXY TCP4 {ip} {ip} {port} {site.listener.port}\r\n".encode()


def told_v2(client: socket.socket, site: Site, *tlvs: bytes) -> bytes:
    ip, port = client.getsockname()
    return v2(0x11, 2 * socket.inet_aton(ip) + struct.pack("!HH", port, site.listener.port), *tlvs)


def is_closed(sock: socket.socket) -> bool:
    """Whether it ends without a byte, in whichever way."""
    try:
        return sock.recv(1) == b""
    except ConnectionResetError:
        return True
