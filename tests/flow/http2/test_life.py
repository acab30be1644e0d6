"""Reloads, and servers that die, while streams carry bodies."""

from __future__ import annotations

import asyncio
import hashlib
import itertools
import random
import socket
import struct
import threading

import pytest

import fastlb
from tests.flow.conftest import wait_until
from tests.flow.http.peers import HttpOrigin, Message, Wire, answer
from tests.flow.http2.conftest import Open, Origins, connect
from tests.flow.http2.peers import Client

RELOADS = 50


def echo(wire: Wire, request: Message) -> None:
    wire.send(answer(request.body, "200 OK", f"X-Sum: {hashlib.sha256(request.body).hexdigest()}"))


def ask_some(client: Client, choose: random.Random) -> None:
    """Several at once, of which each must get back what it sent."""
    sent = [choose.randbytes(choose.choice((0, 1, 5_000, 60_000, 150_000))) for _ in range(6)]
    streams = [client.ask("/", method="POST", body=body) for body in sent]
    for body, stream in zip(sent, streams, strict=True):
        got = client.answer(stream)
        assert (got.status, got.reset) == (200, None)
        assert bytes(got.body) == body
        assert got.fields["x-sum"] == hashlib.sha256(body).hexdigest()


@pytest.mark.timeout(400)
def test_reloads_cost_no_stream_a_byte(
    h2: Open, origins: Origins, pair: tuple[str, str]
) -> None:
    a, b = origins(echo), origins(echo)
    site, first = h2([a.address])
    ended = threading.Event()
    failures: list[str] = []

    def run(number: int) -> None:
        choose = random.Random(number)
        client = first if number == 0 else connect(site, pair)
        try:
            while not ended.is_set():
                ask_some(client, choose)
        except (AssertionError, OSError) as error:
            failures.append(repr(error))
        client.close()

    threads = [threading.Thread(target=run, args=(i,)) for i in range(3)]
    for thread in threads:
        thread.start()
    raw = site.site.balancer.config.model_dump(by_alias=True, exclude_unset=True)
    for turn in range(RELOADS):
        raw["pools"]["pool"]["servers"] = [(a, b)[turn % 2].address]
        raw["pools"]["pool"]["connect_timeout"] = f"{turn + 1}s"
        asyncio.run(site.site.balancer.reload(fastlb.Config.build(raw)))
        asked, before = (a, b)[turn % 2].requests, len((a, b)[turn % 2].requests)
        wait_until(lambda: failures != [] or len(asked) > before)  # noqa: B023
    ended.set()
    for thread in threads:
        thread.join()
    assert failures == []


@pytest.mark.parametrize("how", ["close", "reset"])
def test_servers_that_die_half_way_never_give_a_whole_answer(
    h2: Open, origins: Origins, how: str
) -> None:
    """Some streams of a connection meet it, and the others don't notice."""
    numbers = itertools.count()

    def serve(wire: Wire, request: Message) -> bool | None:
        body = hashlib.sha256(request.target.encode()).digest() * 2000
        if next(numbers) % 3:
            wire.send(answer(body))
            return None
        cut = random.Random(request.target).randrange(len(body))
        head = b"Content-Length: %d\r\n\r\n" % len(body) if cut % 2 else \
            b"Transfer-Encoding: chunked\r\n\r\n%x\r\n" % len(body)
        wire.send(b"HTTP/1.1 200 OK\r\n" + head + body[:cut])
        if how == "reset":
            wire.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        return False

    dying: HttpOrigin = origins(serve)
    _site, client = h2([dying.address])
    whole = cut = 0
    for turn in range(10):
        for stream, path in [(client.ask(path), path) for path in (
                f"/{turn}/{i}" for i in range(12))]:
            got = client.answer(stream)
            if got.ended and got.reset is None and got.status == 200:
                assert bytes(got.body) == hashlib.sha256(path.encode()).digest() * 2000
                whole += 1
            else:
                assert got.reset is not None or got.status == 502
                cut += 1
    assert whole >= 60
    assert cut >= 20
    assert client.goaway is None
