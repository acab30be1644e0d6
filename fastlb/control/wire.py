"""What checks are said on: one connection to a server."""

from __future__ import annotations

import socket
from collections.abc import Generator

PIECE_BYTES = 65_536

Conversation = Generator[None, None, None]      # yields when it has to wait for its socket


class Unwell(Exception):
    """What a server did wrong, in a few words."""


class Wire:
    """A connection to a server that is checked."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock

    @property
    def protocol(self) -> str | None:
        """What was chosen by ALPN; None: nobody asked, or nothing was."""
        return None

    def open(self) -> Conversation:
        yield from ()

    def send(self, data: bytes) -> Conversation:
        while data:
            try:
                data = data[self._sock.send(data):]
            except BlockingIOError:
                yield

    def receive(self) -> Generator[None, None, bytes]:
        """The next piece; b"" at the end."""
        while True:
            try:
                return self._sock.recv(PIECE_BYTES)
            except BlockingIOError:
                yield

    def close(self) -> Conversation:
        """The end of what is said; the socket stays open."""
        yield from ()
