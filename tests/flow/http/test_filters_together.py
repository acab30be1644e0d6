"""Several filters on one route: a policy that waits, a mirror, and compression."""

from __future__ import annotations

import gzip
from typing import Any

import pytest

from fastlb.policy import Response
from tests.flow.conftest import wait_until
from tests.flow.http.peers import HttpOrigin, Message, Wire, answer
from tests.flow.http.policies import Decided, add

pytestmark = pytest.mark.modes("inline")

TEXT = b"the same words again, " * 400
FIELDS = ("Accept-Encoding: gzip", "X-A: b")


def post(body: bytes, framing: str) -> bytes:
    fields = "".join(f"{field}\r\n" for field in FIELDS).encode()
    start = b"POST /x HTTP/1.1\r\nHost: a.test\r\n" + fields
    if framing == "length":
        return start + b"Content-Length: %d\r\n\r\n" % len(body) + body
    chunks = b"".join(
        b"%x\r\n%b\r\n" % (len(body[at:at + 900]), body[at:at + 900])
        for at in range(0, len(body), 900))
    return start + b"Transfer-Encoding: chunked\r\n\r\n" + chunks + b"0\r\n\r\n"


def text(wire: Wire, request: Message) -> None:
    wire.send(answer(TEXT, "200 OK", "Content-Type: text/plain"))


def test_policy_mirror_and_compression_on_one_route(
    decided: Decided, origins: Any, kind: str
) -> None:
    seen: list[bytes] = []
    copies: HttpOrigin = origins(name="copies")
    decided.lb.pool("copies", [copies.address])
    add(decided, kind, lambda r: seen.append(r.body) or decided.pool_b, body="2KiB", pool="a",
        mirror={"pool": "copies"}, compress=True)
    decided.b.serve = text
    web = decided.start()
    for size in (5, 3_000, 40_000):
        for framing in ("length", "chunked"):
            body = (b"0123456789" * 5_000)[:size]
            got = web.ask(post(body, framing))
            assert (got.status, got["content-encoding"]) == (200, "gzip")
            assert gzip.decompress(got.body) == TEXT
            assert seen.pop() == body[:2048]
            assert decided.b.requests.pop().body == body
            wait_until(lambda: len(copies.requests) == 1)
            assert copies.requests.pop().body == body
    web.wait_idle()


def test_an_answer_of_the_policy_is_neither_copied_nor_compressed(
    decided: Decided, origins: Any, kind: str
) -> None:
    copies: HttpOrigin = origins(name="copies")
    decided.lb.pool("copies", [copies.address])
    add(decided, kind, lambda r: Response(403, TEXT.decode()), pool="a",
        mirror={"pool": "copies"}, compress=True)
    web = decided.start()
    got = web.ask(post(b"hello", "length"))
    assert (got.status, got.body) == (403, TEXT)
    assert "content-encoding" not in got
    web.wait_idle()
    assert copies.requests == decided.a.requests == []
