"""Headers of the PROXY protocol, and what each has to be taken for: the protocol's text once more,
in Python."""

from __future__ import annotations

import random
import re
import socket
import struct
from typing import Any

from tests.core import proxies

SIGNATURE = b"\r\n\r\n\0\r\nQUIT\n"
V1_MAX, V2_MAX, LOCAL_BYTES = 107, 4096, 216
ALPN, AUTHORITY, CRC32C, NOOP, UNIQUE_ID, SSL, NETNS, AWS = 1, 2, 3, 4, 5, 0x20, 0x30, 0xEA
PORT = rb"(0|[1-9][0-9]{0,4})"
LINE = re.compile(rb"PROXY TCP([46]) ([^ \0]+) ([^ \0]+) " + PORT + b" " + PORT)


def crc32c(data: bytes) -> int:
    value = 0xFFFFFFFF
    for byte in data:
        value ^= byte
        for _ in range(8):
            value = value >> 1 ^ (0x82F63B78 if value & 1 else 0)
    return value ^ 0xFFFFFFFF


def tlv(kind: int, value: bytes) -> bytes:
    return struct.pack("!BH", kind, len(value)) + value


def v2(kind: int, addresses: bytes, *tlvs: bytes, command: int = 0x21, crc: bool = False) -> bytes:
    """A header of version 2; `crc`: with a checksum at its end."""
    body = addresses + b"".join(tlvs) + (tlv(CRC32C, bytes(4)) if crc else b"")
    made = SIGNATURE + struct.pack("!BBH", command, kind, len(body)) + body
    return made[:-4] + struct.pack("!I", crc32c(made)) if crc else made


INET = bytes([192, 0, 2, 7, 198, 51, 100, 1]) + struct.pack("!HH", 4242, 443)
INET6 = (socket.inet_pton(socket.AF_INET6, "2001:db8::7")
         + socket.inet_pton(socket.AF_INET6, "2001:db8::1") + struct.pack("!HH", 4242, 443))
UNIX = b"/run/client".ljust(108, b"\0") + b"/run/server".ljust(108, b"\0")
HEADERS = (
    b"PROXY TCP4 192.0.2.7 198.51.100.1 4242 443\r\nGET / HTTP/1.1\r\n",
    b"PROXY TCP6 2001:db8::7 ::ffff:198.51.100.1 0 65535\r\n",
    b"PROXY UNKNOWN\r\n", b"PROXY UNKNOWN any thing 1 2 3\r\nmore",
    b"PROXY TCP6 " + b"ffff:" * 7 + b"ffff " + b"ffff:" * 7 + b"ffff 65535 65535\r\n",
    v2(0x11, INET), v2(0x21, INET6) + b"more", v2(0x31, UNIX), v2(0x12, INET), v2(0x22, INET6),
    v2(0, b""), v2(0, b"", tlv(AUTHORITY, b"site.test")), v2(0, b"", command=0x20),
    v2(0x11, b"\xff" * 30, command=0x20),
    v2(0x11, INET, tlv(AUTHORITY, b"Site.test"), tlv(ALPN, b"h2"), tlv(UNIQUE_ID, b"\0id"),
       crc=True),
    v2(0x21, INET6, tlv(AWS, b"\x01vpce-08d2bf15fac5001c9"), tlv(AWS, b"\x02"), tlv(NOOP, b"   ")),
    v2(0x11, INET, tlv(SSL, b"\x01\0\0\0\0" + tlv(0x21, b"TLSv1.3")), tlv(NETNS, b"blue")),
    v2(0x11, INET, tlv(UNIQUE_ID, b"x" * 128), tlv(AUTHORITY, b"x" * 255)),
    v2(0x11, INET, tlv(0xE0, b"x" * (V2_MAX - 16 - 12 - 3))),
)


def promise(data: bytes, choose: random.Random) -> None:
    for datagram in (False, True):
        got: Any = proxies.parse(data, datagram)
        assert got == expected(data, datagram), data
        if not isinstance(got, dict):
            continue
        used = got["used"]
        assert proxies.parse(data[:used] + b"PROXY", datagram) == got
        assert proxies.parse(data[: choose.randrange(used)], datagram) in ("maybe", "more")
        ends = got["source"], got["destination"]
        if not isinstance(ends[0], tuple):
            continue
        for version in (1, 2):
            header = proxies.write(version, *ends, datagram=datagram)
            again: Any = proxies.parse(header, datagram and version == 2)
            assert (again["source"], again["destination"]) == ends, header


def expected(data: bytes, datagram: bool) -> Any:
    if not datagram and data[:1] == b"P":
        if len(data) < 6:
            return "maybe" if b"PROXY ".startswith(data) else "none"
        return _line(data) if data.startswith(b"PROXY ") else "none"
    if len(data) < 12:
        return "maybe" if SIGNATURE.startswith(data) else "none"
    return _binary(data, datagram) if data.startswith(SIGNATURE) else "none"


def _shown(family: int, packed: bytes) -> str:
    """IPv4 that is written as IPv6 is IPv4 (RFC 4291, 2.5.5.2)."""
    if packed.startswith(b"\0" * 10 + b"\xff\xff"):
        return socket.inet_ntop(socket.AF_INET, packed[12:])
    return socket.inet_ntop(family, packed)


def _made(**keys: Any) -> dict[str, Any]:
    return {"local": False, "source": None, "destination": None, "unix": None, "tlvs": b"",
            "facts": {}, **keys}


def _line(data: bytes) -> Any:
    line, end, _ = data[:V1_MAX].partition(b"\n")
    if not end:
        return "more" if len(data) < V1_MAX else "bad"
    if not line.endswith(b"\r"):
        return "bad"
    used, line = len(line) + 1, line[:-1]
    if line == b"PROXY UNKNOWN" or line.startswith(b"PROXY UNKNOWN "):
        return _made(used=used, version=1)
    found = LINE.fullmatch(line)
    if found is None:
        return "bad"
    family = socket.AF_INET if found[1] == b"4" else socket.AF_INET6
    ends = []
    for ip, port in ((found[2], found[4]), (found[3], found[5])):
        try:
            packed = socket.inet_pton(family, ip.decode("ascii"))
        except (OSError, ValueError):
            return "bad"
        if int(port) > 65535:
            return "bad"
        ends.append((_shown(family, packed), int(port)))
    return _made(used=used, version=1, source=ends[0], destination=ends[1])


def _binary(data: bytes, datagram: bool) -> Any:
    if len(data) > 12 and data[12] not in (0x20, 0x21):
        return "bad"
    if len(data) < 16:
        return "more"
    command, kind, length = struct.unpack_from("!BBH", data, 12)
    if 16 + length > V2_MAX:
        return "bad"
    if len(data) < 16 + length:
        return "more"
    used, body = 16 + length, data[16 : 16 + length]
    if command == 0x20:
        return _made(used=used, version=2, local=True)
    if kind and kind & 15 != (2 if datagram else 1):
        return "bad"
    size = {0x10: 12, 0x20: 36, 0x30: LOCAL_BYTES}.get(kind & 0xF0) if kind else 0
    if size is None or len(body) < size:
        return "bad"
    made = _made(used=used, version=2, tlvs=body[size:])
    if size == LOCAL_BYTES:
        made.update(source="unix", destination="unix", unix=body[:size])
    elif size:
        n = 4 if size == 12 else 16
        family = socket.AF_INET if n == 4 else socket.AF_INET6
        ports = struct.unpack_from("!HH", body, 2 * n)
        made["source"] = _shown(family, body[:n]), ports[0]
        made["destination"] = _shown(family, body[n : 2 * n]), ports[1]
    entries = _entries(body[size:])
    if entries is None or not _facts(entries, made["facts"]):
        return "bad"
    return made if _sums_up(data[:used], used - len(body) + size, entries) else "bad"


def _entries(data: bytes) -> list[tuple[int, bytes]] | None:
    found = []
    while data:
        if len(data) < 3 or len(data) < 3 + int.from_bytes(data[1:3], "big"):
            return None
        size = int.from_bytes(data[1:3], "big")
        found.append((data[0], data[3 : 3 + size]))
        data = data[3 + size:]
    return found


def _facts(entries: list[tuple[int, bytes]], facts: dict[str, bytes]) -> bool:
    most = {ALPN: ("alpn", 255), AUTHORITY: ("authority", 255), UNIQUE_ID: ("unique_id", 128)}
    for kind, value in entries:
        name, size = most.get(kind, ("", 0))
        if kind == AWS and len(value) > 1 and value[0] == 1:
            name, size, value = "vpce", 255, value[1:]
        if name and (name in facts or len(value) > size):
            return False
        if name:
            facts[name] = value
        if kind == SSL and (len(value) < 5 or _entries(value[5:]) is None):
            return False
    return True


def _sums_up(header: bytes, at: int, entries: list[tuple[int, bytes]]) -> bool:
    """Whether its checksum, if there is one, is right."""
    sums = []
    for kind, value in entries:
        if kind == CRC32C:
            sums.append((at + 3, value))
        at += 3 + len(value)
    if not sums:
        return True
    place, value = sums[0]
    if len(sums) > 1 or len(value) != 4:
        return False
    blank = header[:place] + bytes(4) + header[place + 4:]
    return struct.unpack("!I", value)[0] == crc32c(blank)
