"""Several filters on one route: a policy that waits, a mirror, and compression."""

from __future__ import annotations

import asyncio
import gzip
from typing import Any

import pytest

from fastlb.policy import Request, Response
from tests.flow.conftest import wait_until
from tests.flow.http.peers import HttpOrigin, Message, Wire, answer
from tests.flow.http.policies import Decided, add, get

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


def test_requests_that_wait_at_the_same_time_keep_what_their_paths_name(decided: Decided) -> None:
    arrived: list[str] = []

    async def policy(request: Request) -> Any:
        arrived.append(request.path)
        while len(arrived) < 8:
            await asyncio.sleep(0.005)
        return decided.pool_b if int(request.path_params["id"]) % 2 else None

    decided.listener.route(
        "/users/{id}/*", name="r", pool="a", rewrite={"path": "/v2/{path.id}/{path.rest}"},
        cache_on="path.id", cache_ttl="1m", deadline="30s")(policy)
    web = decided.start()
    for _ in range(2):                  # the second time by decisions that were kept
        clients = [web.client() for _ in range(8)]
        for i, client in enumerate(clients):
            client.send(get(b"/users/%d/rest%d" % (i, i)))
        for i, client in enumerate(clients):
            server = b"b" if i % 2 else b"a"
            assert client.response().body == server + b" GET /v2/%d/rest%d HTTP/1.1\n" % (i, i)
            client.close()
    assert len(arrived) >= 8
    web.wait_idle()


def test_a_request_that_waits_for_its_body_keeps_what_its_path_names(
    decided: Decided, kind: str
) -> None:
    add(decided, kind, lambda r: None, path="/users/{id}/*", pool="a", body="1KiB",
        rewrite={"path": "/v2/{path.id}/{path.rest}"})
    web = decided.start()
    slow = web.client()
    slow.send(b"POST /users/1/slow HTTP/1.1\r\nHost: a.test\r\nContent-Length: 10\r\n\r\n01234")
    for i in range(2, 6):
        assert web.ask(get(b"/users/%d/x" % i)).body == b"a GET /v2/%d/x HTTP/1.1\n" % i
    slow.send(b"56789")
    assert slow.response().body == b"a POST /v2/1/slow HTTP/1.1\n0123456789"
    slow.close()
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
