"""TLS of tests' peers over a socket that can be half closed, and used by two threads: Python's own
SSLSocket goes on in plain text after a shutdown."""

from __future__ import annotations

import contextlib
import socket
import ssl
import threading
from typing import Any


class TlsSocket:
    """As much of a socket as tests use; the rest is the plain socket's."""

    def __init__(
        self, sock: socket.socket, context: ssl.SSLContext, server_side: bool = False
    ) -> None:
        self._sock = sock
        self._in, self._out = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = context.wrap_bio(
            self._in, self._out, server_side, None if server_side else "site.test")
        # What a server sends may end with its connection: it has to say so. Clients often don't.
        self._ends = server_side
        self._ahead = b""
        self._left = b""        # records that a socket without patience hasn't taken
        self._lock = threading.Lock()
        self._writing = threading.Lock()
        while True:
            try:
                self._tls.do_handshake()
                break
            except ssl.SSLWantReadError:
                self._flush()
                self._fill()
        self._flush()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._sock, name)

    def _flush(self) -> bool:
        """Whether all is written: it may not be where the socket doesn't block."""
        with self._writing:
            with self._lock:
                self._left += self._out.read()
            if self._sock.gettimeout() == 0:
                with contextlib.suppress(BlockingIOError):
                    while self._left:
                        self._left = self._left[self._sock.send(self._left):]
            elif self._left:
                self._sock.sendall(self._left)
                self._left = b""
            return not self._left

    def _fill(self) -> None:
        data = self._sock.recv(65536)
        with self._lock:
            if data:
                self._in.write(data)
            else:
                self._in.write_eof()

    def sendall(self, data: bytes) -> None:
        for at in range(0, len(data), 65536):
            with self._lock:
                self._tls.write(data[at : at + 65536])
            self._flush()

    def send(self, data: bytes) -> int:
        if not self._flush():
            raise BlockingIOError
        self.sendall(data)
        return len(data)

    def recv(self, size: int, flags: int = 0) -> bytes:
        assert flags == 0
        while True:
            with self._lock:
                if self._ahead:
                    data, self._ahead = self._ahead[:size], self._ahead[size:]
                    return data
                try:
                    return self._tls.read(size)
                except ssl.SSLWantReadError:
                    pass
                except ssl.SSLZeroReturnError:
                    return b""
                except ssl.SSLEOFError:
                    raise ConnectionResetError("the end came without TLS' own") from None
            self._fill()

    def shutdown(self, how: int) -> None:
        if how != socket.SHUT_RD:
            with self._lock, contextlib.suppress(ssl.SSLError):
                # (unwrap goes on to look for the peer's end, and fails at data that is here)
                with contextlib.suppress(ssl.SSLWantReadError):
                    while data := self._tls.read(65536):
                        self._ahead += data
                self._tls.unwrap()
            with contextlib.suppress(OSError):
                self._flush()
        self._sock.shutdown(how)

    def setsockopt(self, level: int, option: int, value: Any) -> None:
        self._ends = self._ends and option != socket.SO_LINGER      # (a reset is to come)
        self._sock.setsockopt(level, option, value)

    def close(self) -> None:
        if self._ends and self._sock.fileno() >= 0:
            self._ends = False
            with self._lock, contextlib.suppress(OSError):
                self._tls.unwrap()
            with contextlib.suppress(OSError):
                self._sock.settimeout(0)
                self._flush()
        self._sock.close()


# What origins speak: TLS with this, or plain text.
of_servers: ssl.SSLContext | None = None


def as_server(sock: socket.socket) -> socket.socket:
    """An accepted connection, as origins speak now."""
    if of_servers is None:
        return sock
    if sock.family != socket.AF_UNIX:   # what follows the tickets mustn't wait for an ACK of them
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    made: Any = TlsSocket(sock, of_servers, server_side=True)
    return made  # type: ignore[no-any-return]
