"""First bytes of connections, and what may be told by them."""

from __future__ import annotations

import random

from fastlb.config.sniffing import PROTOCOLS
from tests.core import spoken
from tests.core.openings import (
    ALPN,
    CONNECT_3,
    CONNECT_4,
    CONNECT_5,
    GET,
    HELLO,
    NAME,
    PREFACE,
    RTMP,
    STARTUP,
    UPGRADE,
    hello,
    records,
)

BYTES_MAX = 16384       # that are looked at
RTMP_VERSION = 3        # the first byte of what may be told late to be another protocol

OPENINGS = (
    HELLO, records(hello(NAME, ALPN), 7), records(hello(NAME, ALPN), 1), records(hello()),
    CONNECT_3, CONNECT_4, CONNECT_5, GET, UPGRADE, PREFACE, RTMP, STARTUP,
    b"SSH-2.0-OpenSSH_9.2\r\n", b"*1\r\n$4\r\nPING\r\n", b"PING\r\n", b"auth words\r\n",
    bytes.fromhex("0000000804d2162f"), bytes.fromhex("0000001004d2162e0000000100000002"),
    bytes.fromhex("030000130ee000000000000100080003000000"), b"EHLO mail.test\r\n",
)


def first_bytes(data: bytes, choose: random.Random) -> None:
    """What was told stays true whatever comes after it, and is told by no fewer bytes than were
    wanted."""
    told, protocol, wanted, facts = spoken.tell(data)
    cut = choose.randrange(len(data) + 1)
    before, earlier, more, known = spoken.tell(data[:cut])
    if before and data[:1] != bytes([RTMP_VERSION]):
        assert (told, protocol, facts) == (True, earlier, known), (data, cut)
    if not before:
        assert more > cut, (data, cut)
        least = choose.randrange(cut, max(more, cut + 1))
        assert least > len(data) or spoken.tell(data[:least])[1] in ("unknown", "http/1.1") \
            or least == cut, (data, cut, least)
    assert protocol in PROTOCOLS
    assert told or wanted > len(data) or protocol == "http/1.1"
    for name in ("client_id", "username"):
        assert facts.get(name, b"") in data
    assert facts.get("level", b"5") in (b"3.1", b"3.1.1", b"5")
    assert ("level" in facts) == (protocol == "mqtt")
    if not told and len(data) >= BYTES_MAX:
        assert protocol in ("unknown", "http/1.1")
    if protocol in ("http/1.1", "websocket"):
        line = data.partition(b"\n")[0].removesuffix(b"\r")
        assert line[:-1].endswith(b" HTTP/1."), data


def _fields(data: bytes, sizes: int) -> list[bytes] | None:
    """A list of texts, each behind its size of so many bytes; None if it is none."""
    found = []
    while data:
        size = int.from_bytes(data[:sizes], "big")
        if len(data) < sizes + size:
            return None
        found.append(data[sizes : sizes + size])
        data = data[sizes + size :]
    return found


def client_hello(data: bytes, choose: random.Random) -> None:
    """A hello says the same in records of any size, and what a plain reader finds in it."""
    used, wanted, name, offered = spoken.hello(data)
    assert used == -1 or used > 0 or wanted > len(data), data
    if used <= 0:
        assert name == b"" and offered == []
        return
    assert used <= len(data)
    message, at = b"", 0
    while at < used:
        size = int.from_bytes(data[at + 3 : at + 5], "big")
        message += data[at + 5 : at + 5 + size]
        at += 5 + size
    message = message[: 4 + int.from_bytes(message[1:4], "big")]
    again = records(message, choose.choice((1, 2, 5, 64, 1000, 16384)))
    assert spoken.hello(again)[2:] == (name, offered), data
    rest = message[38:]
    rest = rest[1 + rest[0] :]
    rest = rest[2 + int.from_bytes(rest[:2], "big") :]
    rest = rest[1 + rest[0] :]
    found: dict[int, bytes] = {}
    rest = rest[2:]
    while rest:
        kind, size = int.from_bytes(rest[:2], "big"), int.from_bytes(rest[2:4], "big")
        found.setdefault(kind, rest[4 : 4 + size])
        rest = rest[4 + size :]
    if name:
        assert b"\0" + len(name).to_bytes(2, "big") + name in found[0].lower(), data
    listed = _fields(found.get(16, b"\0\0")[2:], 1)
    assert listed is not None and offered == [one for one in listed if one in offered], data


def mqtt(data: bytes, choose: random.Random) -> None:
    """Facts are texts of the packet, and it is as long as it says."""
    used, wanted, level, client_id, username = spoken.connect(data)
    if used == 0:
        assert len(data) < wanted <= BYTES_MAX
        assert spoken.connect(data[: choose.randrange(len(data) + 1)])[0] == 0
    if used <= 0:
        return
    assert 12 < used <= min(len(data), BYTES_MAX) and level in (3, 4, 5)
    assert len(client_id).to_bytes(2, "big") + client_id in data[:used]
    assert data[:used].endswith(len(username).to_bytes(2, "big") + username if username else b"")
    assert spoken.connect(data[:used]) == (used, wanted, level, client_id, username)
    assert spoken.connect(data[: used - 1])[0] == 0
