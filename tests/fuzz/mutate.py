"""Messages to begin with, and what is done to them."""

from __future__ import annotations

import random
from collections.abc import Iterator

from tests.flow.http.hostile.rules import RULES

GOOD = (
    b"GET / HTTP/1.1\r\nHost: a\r\n\r\n",
    b"GET /a/../b?c=%20d HTTP/1.1\r\nHost: a.test:80\r\nCookie: a=b; c=d\r\nX-A:  b \r\n\r\n",
    b"POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello",
    b"POST /x HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
    b"5;a=b\r\nhello\r\n0\r\nX: y\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade, x\r\nUpgrade: websocket\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n",
    b"GET http://a.test/x HTTP/1.1\r\nHost: a.test\r\nX-Forwarded-For: 1.2.3.4, ::1\r\n\r\n",
    b"HEAD / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n",
    b"OPTIONS * HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nTE: trailers\r\n\r\n",
    b'POST /j HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nContent-Length: 17\r\n\r\n'
    b'{"model":"large"}',
)
ANSWERS = (
    b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nbody",
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nbody\r\n0\r\nX: y\r\n\r\n",
    b"HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 0\r\n\r\n",
    b"HTTP/1.1 103 Early Hints\r\nLink: a\r\n\r\nHTTP/1.1 204 No Content\r\n\r\n",
    b"HTTP/1.1 304 Not Modified\r\nContent-Length: 9\r\n\r\n",
    b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    b"Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nto the end",
    b"HTTP/1.1 200\r\nContent-Length: 1\r\n\r\nx",
)
PATHS = (b"/", b"/a/b", b"/a/../b/./c//d", b"/%41%2e%2e%2F%5c%00%zz", b"/a;b=c/%C3%A9", b"/\xff..",
         b"/..%2f", b"/a/%2e%2e/b")
JSONS = (b'{"a": 1, "b": [true, {"c": null}], "d": "\\u00e9\\ud83d\\ude00\\n"}', b"{}", b"[1, 2]",
         b'{"a": -1.5e+3, "": "", "x": {}}', b'"x"', b"{\"a\":{\"a\":[[[]]]}}", b"true")
FORMS = (b"a=b&c=d", b"a=%41+b&&c", b"=x&y=", b"a=b&a=c")
LINES = (
    b'10.0.0.1 - ann [25/Nov/2026:18:00:00 +0000] "GET /a?b HTTP/1.1" 200 12 "-" "a \\x22b\\" c"',
    b'::1 - - [x] "POST / HTTP/1.1" 404 -', b'{"method": "GET", "path": "/a", "client_port": 7}',
    b'{"protocol": "tcp", "listener": "edge", "bytes_out": 70, "client_ip": "10.0.0.1"}',
)
CHUNKED = (b"5\r\nhello\r\n0\r\n\r\n",
           b"1;x=y\r\na\r\nA\r\n0123456789\r\n0\r\nX: y\r\nZ: a\r\n\r\n")
TOKENS = (
    b"\r\n", b"\n", b"\r", b"\x00", b" ", b"\t", b":", b"\r\n ", b"\r\n\r\n", b"Content-Length: 5",
    b"Content-Length: 6", b"Transfer-Encoding: chunked", b"Transfer-Encoding: gzip", b"chunked",
    b"Host: b", b"Connection: close", b"Connection: upgrade", b"HTTP/1.1", b"HTTP/1.0",
    b"0\r\n\r\n",
    b"ffffffffffffffff", b"18446744073709551616", b"-1", b"+1", b"0x1", b"%2e", b"%2F", b"%00",
    b"../", b"//", b"\\", b"\xff", b"\xc3\xa9", b'"', b"\\u", b"{", b"}", b"[", b",", b"&", b"=",
    b"X_Forwarded_For: 1", b"GET /x HTTP/1.1\r\nHost: a\r\n\r\n",
)


def requests() -> tuple[bytes, ...]:
    hostile = (one for rule in RULES for one in rule.requests if len(one) < 4000)
    return (*GOOD, *hostile)


def mutated(corpus: tuple[bytes, ...], choose: random.Random) -> Iterator[bytes]:
    """One after the other, without end."""
    while True:
        data = bytearray(choose.choice(corpus))
        for _ in range(choose.choice((0, 1, 1, 1, 2, 3, 8))):
            _change(data, corpus, choose)
        yield bytes(data)


def _change(data: bytearray, corpus: tuple[bytes, ...], choose: random.Random) -> None:
    at = choose.randrange(len(data) + 1)
    end = min(len(data), at + choose.choice((1, 1, 2, 4, 16, 64)))
    how = choose.randrange(8)
    if how == 0 and at < len(data):
        data[at] = choose.randrange(256)
    elif how == 1 and at < len(data):
        data[at] ^= 1 << choose.randrange(8)
    elif how == 2:
        del data[at:end]
    elif how == 3:
        data[at:at] = data[at:end] * choose.choice((1, 2, 50))
    elif how == 4:
        other = choose.choice(corpus)
        start = choose.randrange(len(other) + 1)
        data[at:] = other[start:]
    elif how == 5:
        del data[at:]
    else:
        data[at:end if how == 6 else at] = choose.choice(TOKENS)
