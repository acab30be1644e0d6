"""A client of HTTP/2 that writes and reads frames by hand (RFC 9113, 4.1), and checks nothing."""

from __future__ import annotations

import socket
import struct
from dataclasses import dataclass

import hpack

from tests.flow.http2.peers import DATA, GOAWAY, HEADERS, PING, RST_STREAM, SETTINGS

END_STREAM, END_HEADERS, ACK = 1, 4, 1
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
LAST_OF_ALL = 2**31 - 1


def frame(kind: int, flags: int, stream: int, payload: bytes = b"") -> bytes:
    return struct.pack(">I", len(payload))[1:] + struct.pack(">BBI", kind, flags, stream) + payload


def number(value: int) -> bytes:
    return struct.pack(">I", value)


@dataclass(frozen=True)
class Frame:
    kind: int
    flags: int
    stream: int
    payload: bytes

    @property
    def error(self) -> int:
        """Of a RST_STREAM or a GOAWAY."""
        return int.from_bytes(self.payload[4:8] if self.kind == GOAWAY else self.payload[:4], "big")

    @property
    def ends(self) -> bool:
        """Whether it is the last of its stream."""
        return self.kind in (DATA, HEADERS) and bool(self.flags & END_STREAM)

    @property
    def last(self) -> int:
        """The last stream that a GOAWAY names."""
        return int.from_bytes(self.payload[:4], "big")


class Raw:
    def __init__(self, sock: socket.socket, settings: bytes = b"") -> None:
        self.sock = sock
        self.encoder = hpack.Encoder()
        self.unread = b""
        self.frames: list[Frame] = []
        self.send(PREFACE + frame(SETTINGS, 0, 0, settings))

    def send(self, data: bytes) -> None:
        self.sock.sendall(data)

    def head(self, stream: int, *fields: tuple[str, str], method: str = "GET", path: str = "/",
             flags: int = END_STREAM | END_HEADERS) -> bytes:
        """A request's HEADERS."""
        block = self.encoder.encode([
            (":method", method), (":scheme", "http"), (":path", path), (":authority", "a"),
            *fields])
        return frame(HEADERS, flags, stream, block)

    def next(self) -> Frame | None:
        """The next frame; None at the connection's end."""
        while True:
            size = int.from_bytes(self.unread[:3], "big")
            if len(self.unread) >= 9 + size:
                kind, flags, stream = struct.unpack(">BBI", self.unread[3:9])
                found = Frame(kind, flags, stream, self.unread[9 : 9 + size])
                self.unread = self.unread[9 + size :]
                self.frames.append(found)
                return found
            try:
                data = self.sock.recv(65536)
            except ConnectionResetError:
                data = b""
            if not data:
                return None
            self.unread += data

    def until(self, kind: int, stream: int = 0) -> Frame:
        """Read on until a frame of a kind for a stream."""
        while True:
            found = self.next()
            assert found is not None, self.frames
            if found.kind == kind and found.stream == stream:
                return found

    def until_end_of(self, stream: int) -> None:
        """Read on until a stream's answer is whole."""
        while True:
            found = self.next()
            assert found is not None, self.frames
            assert not (found.kind == RST_STREAM and found.stream == stream), found.error
            if found.stream == stream and found.ends:
                return

    def outcome(self, stream: int) -> str:
        """How a stream or its connection ends: "answered", "reset N", "goaway N"."""
        while True:
            found = self.next()
            if found is None:
                return "closed"
            if found.kind == GOAWAY and found.last != LAST_OF_ALL:
                return f"goaway {found.error}"
            if found.stream != stream:
                continue
            if found.kind == RST_STREAM:
                return f"reset {found.error}"
            if found.ends:
                return "answered"

    def answer_pings(self, found: Frame) -> None:
        if found.kind == PING and not found.flags & ACK:
            self.send(frame(PING, ACK, 0, found.payload))
