"""Requests of HTTP/2 as the HTTP/1.1 that goes on, and answers the other way.

A request is written as its fields, b"\xfe" between them and b"\xfd" after a name, and then, after
b"\xfc" each, its body and its trailers."""

from __future__ import annotations

import random
import re

from tests.core import parsers
from tests.core.streams import Connection

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes(3) + b"\4" + bytes(5)
DATA, HEADERS, CONTINUATION = 0, 1, 9
END_STREAM, END_HEADERS = 1, 4
FRAME_BYTES = 16384
OF_CONNECTION = {b"connection", b"keep-alive", b"proxy-connection", b"transfer-encoding",
                 b"upgrade"}


def frame(kind: int, flags: int, stream: int, payload: bytes = b"") -> bytes:
    """RFC 9113, 4.1."""
    return (len(payload).to_bytes(3, "big") + bytes([kind, flags]) + stream.to_bytes(4, "big")
            + payload)


def _text(value: bytes) -> bytes:
    """RFC 7541, 5.2, without Huffman's code."""
    n = len(value)
    if n < 127:
        return bytes([n]) + value
    n -= 127
    size = b"\x7f"
    while n >= 128:
        size += bytes([n & 127 | 128])
        n >>= 7
    return size + bytes([n]) + value


def block(fields: list[tuple[bytes, bytes]]) -> bytes:
    """Literal fields that nobody is to remember (RFC 7541, 6.2.2)."""
    return b"".join(b"\0" + _text(name) + _text(value) for name, value in fields)


def headers(stream: int, fields: list[tuple[bytes, bytes]], ends: bool) -> bytes:
    data = block(fields)
    parts = [data[at : at + FRAME_BYTES] for at in range(0, len(data), FRAME_BYTES)] or [b""]
    last = len(parts) - 1
    return b"".join(
        frame(CONTINUATION if i else HEADERS, (END_STREAM if ends and not i else 0)
              | (END_HEADERS if i == last else 0), stream, part)
        for i, part in enumerate(parts))


def written(*fields: tuple[str, str], body: bytes | None = None, trailers: bytes = b"") -> bytes:
    head = b"\xfe".join(f"{name}\0{value}".encode("latin-1").replace(b"\0", b"\xfd", 1)
                        for name, value in fields)
    return head if body is None else head + b"\xfc" + body + (
        b"\xfc" + trailers if trailers else b"")


def _pairs(data: bytes) -> list[tuple[bytes, bytes]]:
    found = (one.partition(b"\xfd") for one in data.split(b"\xfe") if one)
    return [(name, value) for name, _, value in found]


GET = ((":method", "GET"), (":scheme", "https"), (":path", "/a?b"), (":authority", "a.test"))
POST = ((":method", "POST"), *GET[1:])
CHAT = ((":method", "CONNECT"), *GET[1:], (":protocol", "websocket"))
REQUESTS = (
    written(*GET), written(*GET[:3], ("host", "a.test")), written(*GET, ("host", "a.test")),
    written(*GET, ("cookie", "a=b"), ("x", "y"), ("cookie", "c=d")),
    written(*GET, ("te", "trailers"), ("http2-settings", "AAMA"), ("accept", " a ")),
    written(*POST, body=b"hello"), written(*POST, ("content-length", "5"), body=b"hello"),
    written(*POST, body=b"hello", trailers=b"x-sum\xfd1"),
    written(*POST, ("content-length", "0")), written(*POST, ("expect", "100-continue"), body=b""),
    written(*CHAT, ("sec-websocket-version", "13")), written(*CHAT, body=b"frames"),
    written((":method", "CONNECT"), (":authority", "a.test:80")),
    written((":method", "OPTIONS"), *GET[1:2], (":path", "*"), GET[3]),
    *(written(*GET, (name, value)) for name, value in (
        ("transfer-encoding", "chunked"), ("connection", "close"), ("upgrade", "h2c"),
        ("x", "a\r\nb: c"), ("x\r\ny", "z"), ("x", "a\0b"), ("x:y", "z"), ("host", "b.test"),
        ("host", "a.test\r\nx: y"), (":path", "/again"), ("content-length", "5"), ("X", "y"),
        ("", "x"), ("x y", "z"), ("keep-alive", "1"), ("sec-websocket-key", "x"),
    )),
    *(written(*GET[:2], (":path", path), GET[3]) for path in (
        "", "*", "a", "/a b", "/a\r\nx: y", "/a HTTP/1.1\r\nx: y\r\n\r\n", "http://b/", "/\x7f")),
    *(written(*GET[:3], (":authority", host)) for host in (
        "", "a b", "a\r\nx: y", "user@a", "a:80", "[::1]")),
    *(written((":method", method), *GET[1:]) for method in ("get", "G T", "GET /x", "\r\n", "")),
)


def sent(data: bytes) -> tuple[bytes, list[tuple[bytes, bytes]], bytes]:
    """The frames, the fields and the body of what is written so."""
    head, one, rest = data.partition(b"\xfc")
    body, two, trailers = rest.partition(b"\xfc")
    frames = headers(1, _pairs(head), not one)
    if one:
        parts = [body[at : at + FRAME_BYTES] for at in range(0, len(body), FRAME_BYTES)] or [b""]
        frames += b"".join(
            frame(DATA, END_STREAM if i == len(parts) - 1 and not two else 0, 1, part)
            for i, part in enumerate(parts))
    if two:
        frames += headers(1, _pairs(trailers), True)
    return frames, _pairs(head), body


def request(data: bytes, choose: random.Random) -> None:
    frames, fields, body = sent(data)
    whole = PREFACE + frames
    connection = Connection()
    at = 0
    while at < len(whole):
        size = choose.choice((1, 9, 100, len(whole)))
        if not connection.receive(whole[at : at + size]):
            break
        at += size
    for _stream, ended, text in connection.requests(choose.choice((64, 16384))):
        _check_request(dict(fields), text, body, ended)


def _check_request(asked: dict[bytes, bytes], text: bytes, body: bytes, ended: bool) -> None:
    head, end, rest = text.partition(b"\r\n\r\n")
    assert end and not re.search(rb"\0|\r(?!\n)|(?<!\r)\n", head), text
    first, *lines = head.split(b"\r\n")
    named = []
    for line in lines:
        found = re.fullmatch(rb"([!#$%&'*+.^_`|~0-9a-z-]+): ([^\r\n\0]*)", line)
        assert found, text
        named.append((found[1], found[2]))
    names = [name for name, _ in named]
    tunnel = b":protocol" in asked
    assert names.count(b"host") <= 1 or b":authority" not in asked
    if asked.get(b":authority"):
        assert named[[*names].index(b"host")][1] == asked[b":authority"]
    for name in OF_CONNECTION & set(names):
        ours = {b"connection": b"upgrade", b"upgrade": b"websocket"} if tunnel else {
            b"transfer-encoding": b"chunked"}
        assert [value for key, value in named if key == name] == [ours.get(name)], text
    assert names.count(b"content-length") + names.count(b"transfer-encoding") <= 1, text
    if tunnel:
        assert rest == body[: len(rest)]
    elif b"transfer-encoding" in names:
        content = parsers.unchunk([rest])
        assert content is not None
        assert content[0] == body[: len(content[0])] and not content[3]
        assert not ended or (content[2] and content[0] == body and content[1] == len(rest))
    else:
        length = int(dict(named).get(b"content-length", b"0"))
        assert len(rest) <= length and rest == body[: len(rest)]
        assert not ended or len(rest) == length, text
    made = parsers.request(text)
    if isinstance(made, dict):                          # (or it is refused)
        assert first.count(b" ") == 2 and first.endswith(b" HTTP/1.1")
        assert made["size"] == len(head) + 4


def answer(data: bytes, choose: random.Random) -> None:
    """What the strict parser lets through becomes fields that HTTP/2 allows, and no others."""
    got = parsers.response(data)
    if not isinstance(got, dict):
        return
    head = data[: got["used"]].lstrip(b"\r\n")         # (a head of ours has no empty line before)
    if not head.endswith(b"\r\n\r\n"):
        return
    fields, _ = Connection().answer(head)
    if not isinstance(fields, list):
        assert fields == -1 and len(got["fields"]) >= 255
        return
    assert fields[0] == (b":status", b"200" if got["status"] == 101 else b"%d" % got["status"])
    kept = [(name.lower(), value) for name, value, _ in got["fields"]
            if name.lower() not in OF_CONNECTION | {b"sec-websocket-accept"}]
    assert [(name, value.rstrip(b" \t")) for name, value in fields[1:]] == kept
    for name, value in fields[1:]:
        assert re.fullmatch(rb"[!#$%&'*+.^_`|~0-9a-z-]+", name), name
        assert not re.search(rb"[\r\n\0]", value), value
