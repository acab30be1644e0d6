"""What a client of a protocol says first, as short as it can be, for connections that nobody has
made yet."""

from __future__ import annotations

import ssl
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from fastlb.config.effective import EffectiveListener
from fastlb.config.sniffing import PROTOCOLS
from fastlb.config.units import show

# What may be said of it, by protocol.
FACTS = {"tls": ("sni", "alpn"), "mqtt": ("client_id", "username", "level")}
LEVELS = {"3.1": 3, "3.1.1": 4, "5": 5}
FIELD_BYTES_MAX = 65535         # of a text in MQTT
ALPN_BYTES_MAX = 255            # of a name (RFC 7301, 3.1)
ALPN_MAX = 64                   # names; there are not so many


def _hello(facts: Mapping[str, str]) -> bytes:
    """What OpenSSL would send."""
    names = [one.strip() for one in facts["alpn"].split(",")] if "alpn" in facts else []
    if not all(0 < len(one.encode()) <= ALPN_BYTES_MAX for one in names) or len(names) > ALPN_MAX:
        raise ValueError(f"alpn: {show(facts['alpn'])} is not like h2,http/1.1")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    written = ssl.MemoryBIO()
    try:
        context.set_alpn_protocols(names)
        client = context.wrap_bio(
            ssl.MemoryBIO(), written, server_hostname=facts.get("sni") or None)
        client.do_handshake()
    except ssl.SSLWantReadError:
        return written.read()
    except (ValueError, TypeError, ssl.SSLError) as error:
        raise ValueError(f"sni: {show(facts.get('sni', ''))}: {error}") from None
    raise AssertionError("a handshake wants an answer")


def _text(name: str, value: str) -> bytes:
    data = value.encode()
    if len(data) > FIELD_BYTES_MAX:
        raise ValueError(f"{name} has more than {FIELD_BYTES_MAX} bytes")
    return len(data).to_bytes(2, "big") + data


def _connect(facts: Mapping[str, str]) -> bytes:
    """MQTT 5.0, 3.1, and as the older versions have it."""
    named = facts.get("level", "3.1.1")
    if named not in LEVELS:
        raise ValueError(f"level: {show(named)} is none of {', '.join(LEVELS)}")
    level = LEVELS[named]
    flags = 0x02 | (0x80 if "username" in facts else 0)
    body = _text("", "MQIsdp" if level == 3 else "MQTT") + bytes([level, flags, 0, 60])
    body += b"\0" if level == 5 else b""
    body += _text("client_id", facts.get("client_id", ""))
    if "username" in facts:
        body += _text("username", facts["username"])
    size, length = len(body), b""
    while True:
        size, digit = divmod(size, 128)
        length += bytes([digit | (0x80 if size else 0)])
        if not size:
            return b"\x10" + length + body


def _plain(data: bytes) -> Callable[[Mapping[str, str]], bytes]:
    return lambda facts: data


_FIRST: dict[str, Callable[[Mapping[str, str]], bytes]] = {
    "unknown": _plain(b""),
    "tls": _hello,
    "http/1.1": _plain(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"),
    "h2": _plain(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\4\0\0\0\0\0"),
    "websocket": _plain(
        b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
        b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
    ),
    "mqtt": _connect,
    "rtmp": _plain(b"\3" + bytes(1536)),
    "ssh": _plain(b"SSH-2.0-client\r\n"),
    "redis": _plain(b"*1\r\n$4\r\nPING\r\n"),
    "postgres": _plain(b"\0\0\0\x15\0\3\0\0user\0nobody\0\0"),
}


def first_bytes(says: Mapping[str, str]) -> bytes:
    """Of {"protocol": "mqtt", "client_id": "sensor-7"}; without a protocol, of the one that the
    facts are of. Raises ValueError for what no client says."""
    facts = {name: value for name, value in says.items() if name != "protocol"}
    protocol = says.get("protocol") or next(
        (one for one, names in FACTS.items() if set(names) & set(facts)), "unknown")
    if protocol not in PROTOCOLS:
        raise ValueError(f"{show(protocol)} is not a protocol. One of: {', '.join(PROTOCOLS)}")
    for name in facts:
        if name not in FACTS.get(protocol, ()):
            raise ValueError(f"a client of {protocol} doesn't say {show(name)}")
    return _FIRST[protocol](facts)


@dataclass(frozen=True)
class Heard:
    """What a client of tcp says first, and what TLS that ends here has chosen with it (ALPN)."""

    first: bytes = b""
    chosen: bytes = b""


def heard(
    listener: EffectiveListener, tls: dict[str, str], says: dict[str, str], body: bytes
) -> tuple[dict[str, str], Heard]:
    """What is known by TLS, and what is said. The name that a client asks for is in its hello
    where TLS isn't ended. Raises ValueError for what no client of the listener can say."""
    whose = f"listener {listener.name!r}"
    if listener.sniffing is None:
        if says:
            raise ValueError(f"{whose} doesn't look at what its clients say first")
        return tls, Heard(body)
    if listener.tls is None and list(tls) == ["sni"]:
        tls, says = {}, {"sni": tls["sni"], **says}
    for name, value in says.items():
        if not isinstance(value, str):
            raise ValueError(f"{show(name)}: {show(value)} is not a text")
        try:
            value.encode()
        except UnicodeEncodeError:
            raise ValueError(f"{show(name)}: {value!a} is not a text") from None
    chosen = b""
    if listener.tls is not None and says.get("protocol") != "tls":
        chosen = says.pop("alpn", "").encode()
        if len(chosen) > ALPN_BYTES_MAX:
            raise ValueError(f"alpn has more than {ALPN_BYTES_MAX} bytes")
    if body and says:
        raise ValueError("either the first bytes themselves are said, or what they would say")
    return tls, Heard(body or first_bytes(says), chosen)
