"""What clients of several protocols begin with, written out."""

from __future__ import annotations

# A hello as RFC 8446, 4.1.2 has it: for example.com, with h2 and http/1.1.
NAME = bytes.fromhex("0000 0010 000e 00 000b") + b"example.com"
ALPN = bytes.fromhex("0010 000e 000c 02") + b"h2" + b"\x08http/1.1"
VERSIONS = bytes.fromhex("002b 0003 02 0304")


def hello(*extensions: bytes, session: bytes = b"", suites: bytes = b"\x13\x01") -> bytes:
    """The message, without a record around it."""
    body = b"\3\3" + bytes(range(32)) + bytes([len(session)]) + session
    body += len(suites).to_bytes(2, "big") + suites + b"\1\0"
    if extensions:
        body += len(b"".join(extensions)).to_bytes(2, "big") + b"".join(extensions)
    return b"\1" + len(body).to_bytes(3, "big") + body


def records(message: bytes, size: int = 16384) -> bytes:
    """The message in records of so many bytes each."""
    return b"".join(
        b"\x16\3\1" + len(part).to_bytes(2, "big") + part
        for part in (message[at : at + size] for at in range(0, len(message), size))
    )


HELLO = records(hello(NAME, ALPN, VERSIONS))

# MQTT 3.1.1, 3.1: client "sensor-7" of "ann", with a will, a password, and no clean session.
CONNECT_4 = bytes.fromhex("10 30 0004") + b"MQTT" + bytes.fromhex("04 c4 003c") + (
    b"\0\x08sensor-7" b"\0\x06status" b"\0\x04gone" b"\0\3ann" b"\0\5words"
)
# MQTT 5.0: session expiry as a property, and no user name.
CONNECT_5 = bytes.fromhex("10 1a 0004") + b"MQTT" + bytes.fromhex("05 02 003c 05 11 0000000a") + (
    b"\0\x08sensor-7"
)
CONNECT_3 = bytes.fromhex("10 16 0006") + b"MQIsdp" + bytes.fromhex("03 02 003c") + (
    b"\0\x08sensor-7"
)
STARTUP = bytes.fromhex("00000013 00030000") + b"user\0ann\0\0\0"[:11]
GET = b"GET /chat HTTP/1.1\r\nHost: site.test\r\n\r\n"
UPGRADE = (
    b"GET /chat HTTP/1.1\r\nHost: site.test\r\nUpgrade: WebSocket\r\n"
    b"Connection: keep-alive, Upgrade\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
    b"Sec-WebSocket-Version: 13\r\n\r\n"
)
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
RTMP = b"\3" + bytes(4) + bytes.fromhex("09007c02") + bytes(range(256)) * 5 + bytes(248)
