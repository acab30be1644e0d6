"""A WebSocket echo for HTTP origins (RFC 6455)."""

from __future__ import annotations

import base64
import hashlib
import struct
from collections.abc import Generator, Mapping

from fastlb.testing.reactor import Connection, Script, Send, Step

ACCEPT_SALT = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"       # RFC 6455, 1.3
CLOSE, PING, PONG = 8, 9, 10


def serve(connection: Connection, headers: Mapping[str, str]) -> Script:
    """Answer a handshake, then send back what comes, until the other side closes."""
    key = headers.get("sec-websocket-key", "").encode()
    accept = base64.b64encode(hashlib.sha1(key + ACCEPT_SALT).digest()).decode()
    yield Send(
        "HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nconnection: upgrade\r\n"
        f"sec-websocket-accept: {accept}\r\n\r\n".encode()
    )
    while (frame := (yield from _frame(connection))) is not None:
        first, payload = frame
        code = first & 15
        if code != PONG:
            yield Send(_made(0x80 | PONG if code == PING else first, payload))
        if code == CLOSE:
            return


def _frame(connection: Connection) -> Generator[Step, None, tuple[int, bytes] | None]:
    """First byte and payload; None at the end."""
    while True:
        found = _parsed(connection)
        if found is not None:
            return found
        if not (yield from connection.read()):
            return None


def _parsed(connection: Connection) -> tuple[int, bytes] | None:
    data = connection.inbox
    if len(data) < 2:
        return None
    size, at = data[1] & 127, 2
    if size >= 126:
        at += 2 if size == 126 else 8
        if len(data) < at:
            return None
        size = int.from_bytes(data[2:at], "big")
    mask_size = 4 if data[1] & 128 else 0
    if len(data) < at + mask_size + size:
        return None
    frame = connection.take(at + mask_size + size)
    mask, payload = frame[at : at + mask_size], frame[at + mask_size :]
    if mask:
        whole = (mask * (len(payload) // 4 + 1))[: len(payload)]
        payload = (int.from_bytes(payload, "big") ^ int.from_bytes(whole, "big")).to_bytes(
            len(payload), "big")
    return frame[0], payload


def _made(first: int, payload: bytes) -> bytes:
    if len(payload) < 126:
        return bytes([first, len(payload)]) + payload
    if len(payload) < 1 << 16:
        return bytes([first, 126]) + struct.pack(">H", len(payload)) + payload
    return bytes([first, 127]) + struct.pack(">Q", len(payload)) + payload
