"""What clients speak, by first bytes that are written out: whole, cut at every byte, and wrong."""

from __future__ import annotations

import random
import ssl
from collections.abc import Iterator

import pytest

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
    VERSIONS,
    hello,
    records,
)

KNOWN = [
    ("tls", HELLO, len(HELLO)),
    ("tls", records(hello(NAME, ALPN, VERSIONS), 1), None),
    ("tls", records(hello()), None),
    ("http/1.1", GET, len(GET)),
    ("http/1.1", b"OPTIONS * HTTP/1.0\n\r\n", None),
    ("websocket", UPGRADE, len(UPGRADE)),
    ("h2", PREFACE, 24),
    ("mqtt", CONNECT_4, None),
    ("mqtt", CONNECT_5, None),
    ("mqtt", CONNECT_3, None),
    ("rtmp", RTMP, 1537),
    ("ssh", b"SSH-2.0-OpenSSH_9.2\r\n", 6),
    ("ssh", b"SSH-1.99-x\r\n", 6),
    ("redis", b"*1\r\n$4\r\nPING\r\n", 5),
    ("redis", b"PING\r\n", 6),
    ("redis", b"set key 5\n", 10),
    ("redis", b"HELLO 3 AUTH ann words\r\n", None),
    ("postgres", STARTUP, 8),
    ("postgres", bytes.fromhex("00000008 04d2162f"), 8),        # SSLRequest
    ("postgres", bytes.fromhex("00000008 04d21630"), 8),        # GSSENCRequest
    ("postgres", bytes.fromhex("00000010 04d2162e 00000001 00000002"), 8),
    ("postgres", bytes.fromhex("00000009 00030002 00"), 8),     # 3.2
]


@pytest.mark.parametrize(("protocol", "data", "size"), KNOWN, ids=lambda one: str(one)[:24])
def test_each_protocol_is_told_by_the_bytes_that_its_clients_begin_with(
    protocol: str, data: bytes, size: int | None
) -> None:
    told, name, _, _ = spoken.tell(data)
    assert (told, name) == (True, protocol)
    if size is not None:            # and by no fewer
        assert spoken.tell(data[:size])[:2] == (True, protocol)
        assert not spoken.tell(data[: size - 1])[0]


@pytest.mark.parametrize(("protocol", "data", "size"), KNOWN, ids=lambda one: str(one)[:24])
def test_byte_by_byte_nothing_else_is_told_before(
    protocol: str, data: bytes, size: int | None
) -> None:
    for n in range(len(data)):
        told, name, wanted, _ = spoken.tell(data[:n])
        if told:
            assert name == protocol
            break
        assert n < wanted <= max(len(data), 1537, n + 1), n
        # Nothing is told before that many are here.
        assert not any(spoken.tell(data[:k])[0] for k in range(n, min(wanted, len(data))))


UNKNOWN = [
    b"\r\n", b"\0\0\0\1", b"HELO mail.test\r\n", b"EHLO mail.test\r\n", b"USER ann\r\n",
    b"\x80\x2e\1", b"GET / HTTP/2.0\r\n\r\n", b"get / HTTP/1.1\r\n\r\n",
    b"OPTIONS rtsp://a/b RTSP/1.0\r\n\r\n", b"INVITE sip:a@b SIP/2.0\r\n\r\n",
    b"GET  / HTTP/1.1\r\n", b"A" * 40, b"PRI * HTTP/2.0\r\n\r\nXX\r\n\r\n", b"SSH-3.0-x\r\n",
    b"*\r\n", b"*x", b"*12345678\r\n", b"*1\r\n+", b"PINGPONG\r\n",
    b"\x10\x0c\0\4MQTX", b"\x10\x0b\0\4MQTT\4", b"\x10\x0c\0\4MQTT\6\2\0\x3c\0\0",
    b"\x10\x0c\0\4MQTT\4\3\0\x3c\0\0", b"\x10\x0e\0\6MQIsdp\4\2\0\x3c\0\0",
    b"\x10\x0c\0\4MQTT\4\2\0\x3c\0\1", b"\x10\xff\xff\xff\xff\1", b"\x11\x0c",
    bytes.fromhex("00000008 00030000"), bytes.fromhex("00000009 04d2162f"),
    bytes.fromhex("00002711 00030000"), bytes.fromhex("00000020 00020000"),
    bytes.fromhex("00010000"), bytes.fromhex("00000007"),
    b"\x16\3\1\0\0", b"\x16\3\1\x40\1", b"\x16\2\1\0\5", b"\x16\3\5\0\5", b"\x15\3\1\0\2",
    b"\x16\3\1\0\4\2\0\0\x30", b"\x16\3\1\0\4\1\0\0\x28", b"\x16\3\1\0\4\1\0\x40\0",
]


@pytest.mark.parametrize("data", UNKNOWN, ids=lambda data: repr(data)[:32])
def test_what_is_none_of_them_is_unknown_at_once(data: bytes) -> None:
    assert spoken.tell(data)[:2] == (True, "unknown")


def test_a_remote_desktop_is_not_waited_for_as_if_it_were_rtmp() -> None:
    """An X.224 connection request in TPKT: 3 as in RTMP, but all of it is here."""
    data = bytes.fromhex("0300 0013 0e e0 0000 0000 00 01 00 0800 03000000")
    assert len(data) == 19
    assert spoken.tell(data)[:2] == (True, "unknown")
    assert not spoken.tell(data[:-1])[0]


def test_a_request_whose_head_is_not_whole_is_one_if_no_more_comes() -> None:
    for data in (UPGRADE[:-2], b"POST /a HTTP/1.1\r\n", b"GET / HTTP/1.1\r\nX: " + b"y" * 9000):
        assert spoken.tell(data)[:2] == (False, "http/1.1")
    assert spoken.tell(b"GET / HT")[:2] == (False, "unknown")


@pytest.mark.parametrize("size", [1, 2, 3, 7, 100, 16384])
def test_a_hello_may_lie_in_several_records(size: int) -> None:
    data = records(hello(NAME, ALPN, VERSIONS), size)
    assert spoken.hello(data) == (len(data), 0, b"example.com", [b"h2", b"http/1.1"])
    assert spoken.hello(data + b"\x16\3\1more")[0] == len(data)


@pytest.mark.parametrize("size", [1, 3, 16384])
def test_a_hello_that_is_cut_off_says_how_much_is_missing(size: int) -> None:
    data = records(hello(NAME, ALPN, VERSIONS), size)
    for n in range(len(data)):
        used, wanted, name, offered = spoken.hello(data[:n])
        assert (used, name, offered) == (0, b"", [])
        assert n < wanted <= len(data)


def entry(name: bytes, kind: int = 0) -> bytes:
    return bytes([kind]) + len(name).to_bytes(2, "big") + name


def server_name(*entries: bytes) -> bytes:
    listed = b"".join(entries)
    return (b"\0\0" + (len(listed) + 2).to_bytes(2, "big") + len(listed).to_bytes(2, "big")
            + listed)


@pytest.mark.parametrize(("extension", "name"), [
    (server_name(entry(b"Example.COM")), b"example.com"),
    (server_name(entry(b"a" * 255)), b"a" * 255),
    (server_name(entry(b"a" * 256)), b""),
    (server_name(entry(b"a\0b")), b""),
    (server_name(entry(b"a b")), b""),
    (server_name(entry(b"\xff")), b""),
    (server_name(entry(b"")), b""),
    (server_name(entry(b"x", kind=7), entry(b"a.test")), b"a.test"),
    (server_name(), b""),
])
def test_the_name_is_one_that_a_host_could_have(extension: bytes, name: bytes) -> None:
    data = records(hello(extension))
    assert spoken.hello(data)[:3] == (len(data), 0, name)


@pytest.mark.parametrize("message", [
    hello(server_name(entry(b"a"), entry(b"b"))),               # two hosts
    hello(NAME, NAME), hello(ALPN, ALPN),                       # RFC 8446, 4.2
    hello(b"\0\0\0\4\0\5\0\0"), hello(b"\0\0\0\1\0"), hello(b"\0\0\0\0"),
    hello(b"\0\0\0\5\0\3\0\0\1"),
    hello(b"\0\x10\0\3\0\1\0"), hello(b"\0\x10\0\3\0\1\1"), hello(b"\0\x10\0\2\0\1"),
    hello(b"\0\x0a\0\5x"), hello(b"\0\x0a\0"), hello(session=b"x" * 33), hello(suites=b""),
    hello(suites=b"\x13\1\x13"), b"\1\0\0\x29" + b"\2" + bytes(40), hello(VERSIONS)[:-1] + b"",
    b"\1" + (len(hello()) - 4 + 1).to_bytes(3, "big") + hello()[4:] + b"\0",
], ids=lambda message: message[38:].hex()[:24])
def test_a_hello_that_breaks_its_rules_is_none(message: bytes) -> None:
    if int.from_bytes(message[1:4], "big") != len(message) - 4:
        message = b"\1" + (len(message) - 4).to_bytes(3, "big") + message[4:]
    assert spoken.hello(records(message)) == (-1, 0, b"", [])
    assert spoken.tell(records(message))[1] == "unknown"


def test_a_hello_has_a_size_that_it_may_not_exceed() -> None:
    """What is looked at is 16 KiB: a hello that says to be longer is none at once."""
    padding = 16384 - len(records(hello(NAME, b"\0\x15\0\0")))
    data = records(hello(NAME, b"\0\x15" + padding.to_bytes(2, "big") + bytes(padding)))
    assert len(data) == 16384
    assert spoken.hello(data)[:3] == (16384, 0, b"example.com")
    padding += 1
    data = records(hello(NAME, b"\0\x15" + padding.to_bytes(2, "big") + bytes(padding)))
    assert spoken.hello(data[:9])[0] == -1


def test_as_many_protocols_are_looked_at_as_there_is_room_for() -> None:
    offered = [b"%03d" % i for i in range(100)]
    listed = b"".join(b"\3" + one for one in offered)
    data = records(hello(b"\0\x10" + (len(listed) + 2).to_bytes(2, "big")
                         + len(listed).to_bytes(2, "big") + listed))
    assert spoken.hello(data)[3] == offered[:64]


def hellos() -> Iterator[tuple[str, bytes]]:
    """Of OpenSSL, as Python's clients send them."""
    for name, offers in (("site.test", ["h2"]), ("x" * 60 + ".test", ["a", "b" * 100]), ("", [])):
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        if offers:
            context.set_alpn_protocols(offers)
        into, out = ssl.MemoryBIO(), ssl.MemoryBIO()
        client = context.wrap_bio(into, out, server_hostname=name or None)
        with pytest.raises(ssl.SSLWantReadError):
            client.do_handshake()
        yield name, out.read()


def test_hellos_of_openssl() -> None:
    for name, data in hellos():
        used, _, found, _ = spoken.hello(data)
        assert (used, found) == (len(data), name.encode())
        assert spoken.tell(data)[:2] == (True, "tls")


@pytest.mark.parametrize(("data", "facts"), [
    (CONNECT_4, (4, b"sensor-7", b"ann")),
    (CONNECT_5, (5, b"sensor-7", b"")),
    (CONNECT_3, (3, b"sensor-7", b"")),
    (b"\x10\x0c\0\4MQTT\4\2\0\x3c\0\0", (4, b"", b"")),
    (b"\x10\x0c\0\4MQTT\x84\2\0\x3c\0\0", (4, b"", b"")),       # a bridge
    # 5.0 with properties of the connection and of the will.
    (b"\x10\x22\0\4MQTT\5\x86\0\x3c\3\x21\0\1\0\1i\3\x18\0\0\0\1t\0\1p\0\2me\0\0\0"[:36],
     (5, b"i", b"me")),
])
def test_what_a_client_of_mqtt_says(data: bytes, facts: tuple[int, bytes, bytes]) -> None:
    used, wanted, *found = spoken.connect(data)
    assert 0 < used <= len(data) and wanted == 0
    assert tuple(found) == facts
    for n in range(used):
        short, more, *_ = spoken.connect(data[:n])
        assert short == 0 and n < more <= used


def test_a_will_that_hides_the_user_name_makes_it_another_protocol() -> None:
    """What lies beyond the bytes that are looked at can't be told, so nothing is."""
    will = b"\0\1t" + (16000).to_bytes(2, "big") + bytes(16000)
    tail = b"\0\3ann"

    def packet(will: bytes) -> bytes:
        body = b"\0\4MQTT\4\x84\0\x3c\0\1i" + will + tail
        return b"\x10" + bytes([len(body) & 127 | 128, len(body) >> 7]) + body

    assert spoken.connect(packet(will))[4] == b"ann"
    far = b"\0\1t" + (16380).to_bytes(2, "big") + bytes(16380)
    assert spoken.connect(packet(far)[:100])[0] == -1


@pytest.mark.parametrize(("head", "is_websocket"), [
    (UPGRADE, True),
    (UPGRADE.replace(b"GET", b"POST"), False),
    (UPGRADE.replace(b"WebSocket", b"h2c"), False),
    (UPGRADE.replace(b", Upgrade", b""), False),
    (UPGRADE.replace(b"WebSocket", b"h2c, websocket"), True),
    (UPGRADE.replace(b"WebSocket", b"websockets"), False),
])
def test_a_websocket_asks_for_an_upgrade_to_it(head: bytes, is_websocket: bool) -> None:
    assert spoken.opening(head + b"more") == (len(head), True, is_websocket)


def test_garbage_is_told_within_the_bytes_that_are_looked_at() -> None:
    choose = random.Random(7)
    for _ in range(2000):
        data = choose.randbytes(choose.randrange(1, 60))
        told, name, wanted, _ = spoken.tell(data)
        assert told or wanted > len(data)
        assert told or data[0] in b"\x16\x10\0\3*-" or data[:1].isalpha()
        assert name in ("unknown", "ssh", "redis", "http/1.1"), data
