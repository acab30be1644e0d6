"""Bodies that are compressed: every byte comes back, in time, and nothing is held for longer."""

from __future__ import annotations

import random
import threading
import zlib
from collections.abc import Callable
from typing import Any

import brotli
import pytest
import zstandard

from tests.flow import modes
from tests.flow.conftest import reset, wait_until
from tests.flow.http.coded import ALL, TEXT, decode, serves, text
from tests.flow.http.conftest import HttpSite
from tests.flow.http.peers import HttpOrigin, Message, Wire, get

pytestmark = pytest.mark.h2

Web = Callable[..., HttpSite]
Origins = Callable[..., HttpOrigin]

FRAMINGS = ("length", "chunked", "close")
ANSWERS = 1112          # of each coding and framing: 10,000 in all


def framed(framing: str, pieces: list[bytes]) -> tuple[bytes, list[bytes], bytes]:
    head = b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\n"
    if framing == "length":
        return head + b"Content-Length: %d\r\n\r\n" % sum(map(len, pieces)), pieces, b""
    if framing == "chunked":
        return (head + b"Transfer-Encoding: chunked\r\n\r\n",
                [b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces if piece],
                b"0\r\n\r\n")
    return head + b"\r\n", pieces, b""


def content(rng: random.Random, size: int) -> bytes:
    """Text, numbers and noise, so that blocks of all kinds come up."""
    parts = []
    n = 0
    while n < size:
        kind = rng.randrange(3)
        run = rng.randrange(1, max(2, size // 3))
        part = (rng.randbytes(run) if kind == 0 else (b"%d " % rng.randrange(10)) * run
                if kind == 1 else TEXT[rng.randrange(1000):][:run])
        parts.append(part)
        n += len(part)
    return b"".join(parts)[:size]


@pytest.mark.modes("tls", "h2", "poll")
@pytest.mark.parametrize("framing", FRAMINGS)
@pytest.mark.parametrize("coding", ["zstd", "br", "gzip"])
def test_every_byte_comes_back_however_it_is_cut(
    request: pytest.FixtureRequest, web: Web, origins: Origins, coding: str, framing: str
) -> None:
    answers = ANSWERS if modes.mode_of(request.node) == modes.PLAIN else 40
    rng = random.Random(f"{coding} {framing}")
    sizes = [1, 10, 100, 1023, 1500, 4096, 5000, 16384] * (answers // 8) + [70_000, 400_000] * 3
    bodies = [content(rng, size) for size in sizes]
    rng.shuffle(bodies)
    waiting = iter(bodies)

    def serve(wire: Wire, request: Message) -> bool:
        body, pieces = next(waiting), []
        while body:
            n = rng.choice((1, 100, 4096, 16384, 100_000))
            pieces.append(body[:n])
            body = body[n:]
        head, parts, end = framed(framing, pieces)
        wire.send(head)
        for part in parts[:50]:
            wire.send(part)
        wire.send(b"".join(parts[50:]) + end)
        return framing != "close"

    site = web([origins(serve).address], compress=True)
    client = site.client()
    for body in bodies:
        client.send(get("/", f"Accept-Encoding: {coding}"))
        got = client.response()
        coded = "content-encoding" in got
        assert coded == (framing != "length" or len(body) >= 1024)
        assert (decode(coding, got.body) if coded else got.body) == body


@pytest.mark.parametrize("coding", ["zstd", "br", "gzip"])
def test_part_of_a_body_arrives_while_the_server_pauses(
    web: Web, origins: Origins, coding: str
) -> None:
    """Each line is here before the next one is sent."""
    go = threading.Semaphore(0)
    lines = [b"line %d\n" % i for i in range(5)]

    def serve(wire: Wire, request: Message) -> None:
        wire.send(b"HTTP/1.1 200 OK\r\nContent-Type: application/x-ndjson\r\n"
                  b"Transfer-Encoding: chunked\r\n\r\n")
        for line in lines:
            wire.send(b"%x\r\n%b\r\n" % (len(line), line))
            assert go.acquire(timeout=30)
        wire.send(b"0\r\n\r\n")

    decoder: Any = {
        "gzip": lambda: zlib.decompressobj(31).decompress,
        "br": lambda: brotli.Decompressor().process,
        "zstd": lambda: zstandard.ZstdDecompressor().decompressobj().decompress,
    }[coding]()
    client = web([origins(serve).address], compress=True).client()
    client.send(get("/", f"Accept-Encoding: {coding}"))
    assert client.head()["content-encoding"] == coding
    made = b""
    for i, line in enumerate(lines):
        while len(made) < sum(map(len, lines[: i + 1])):
            size = int(client.until(b"\r\n"), 16)
            made += decoder(client.exactly(size))
            assert client.exactly(2) == b"\r\n"
        assert made.endswith(line)
        go.release()
    while size := int(client.until(b"\r\n"), 16):
        made += decoder(client.exactly(size))
        client.exactly(2)
    assert made == b"".join(lines)


@pytest.mark.http1
@pytest.mark.parametrize("framing", FRAMINGS)
def test_response_that_breaks_off_is_cut_and_never_looks_whole(
    web: Web, origins: Origins, framing: str
) -> None:
    def serve(wire: Wire, request: Message) -> bool:
        head, parts, _ = framed(framing, [TEXT, TEXT])
        wire.send(head + parts[0])
        reset(wire.sock)
        return False

    client = web([origins(serve).address], compress=True).client()
    client.send(get("/", ALL))
    with pytest.raises((EOFError, OSError)):
        client.response()


@pytest.mark.http1
def test_trailers_come_behind_the_coded_body(web: Web, origins: Origins) -> None:
    raw = (b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nTransfer-Encoding: chunked\r\n"
           b"Trailer: X-Sum\r\n\r\n%x\r\n%b\r\n0\r\nX-Sum: 7\r\n\r\n" % (len(TEXT), TEXT))
    client = web([origins(serves(raw)).address], compress=True).client()
    for _ in range(2):
        client.send(get("/", ALL, "TE: trailers", "Connection: TE"))
        got = client.response()
        assert decode("zstd", got.body) == TEXT and got.trailers == [("X-Sum", "7")]


@pytest.mark.http1
def test_client_that_reads_slowly_gets_all_of_it(web: Web, origins: Origins) -> None:
    body = content(random.Random(7), 6_000_000)
    site = web([origins(serves(text(body=body))).address], compress={"codings": ["gzip"]})
    client = site.client()
    client.send(get("/", ALL))
    wait_until(lambda: site.site.counts()["chunks"] > 0)
    got = client.response()
    assert decode("gzip", got.body) == body


@pytest.mark.http1
def test_client_that_leaves_gives_the_coder_back(web: Web, origins: Origins) -> None:
    stop = threading.Event()

    def serve(wire: Wire, request: Message) -> None:
        head, parts, _ = framed("chunked", [TEXT])
        wire.send(head + parts[0])
        stop.wait(180)                  # as long as a test may take

    site = web([origins(serve).address], compress=True)
    clients = [site.client() for _ in range(5)]
    for client in clients:
        client.send(get("/", ALL))
        client.head()
    wait_until(lambda: site.site.counts()["coders"] == 5)
    for client in clients:
        reset(client.sock)
    wait_until(lambda: site.site.counts()["coders"] == 0)
    stop.set()


@pytest.mark.http1
def test_more_than_coders_may_be_are_left_alone_and_counted(web: Web, origins: Origins) -> None:
    stop = threading.Event()

    def serve(wire: Wire, request: Message) -> None:
        head, parts, end = framed("chunked", [TEXT])
        wire.send(head + parts[0])
        stop.wait(180)                  # as long as a test may take
        wire.send(end)

    # (it takes long until all have begun: so many threads, and handshakes in Python with TLS)
    site = web([origins(serve).address], compress=True, body_idle_timeout="1h",
               response_header_timeout="1h")
    clients = []
    for _ in range(300):
        clients.append(site.client())
        clients[-1].send(get("/", "Accept-Encoding: gzip"))
    heads = [client.head() for client in clients]
    coded = sum("content-encoding" in head for head in heads)
    runtime = site.site.balancer._instance.runtime
    assert runtime is not None
    engines = len(runtime.engines.all)
    assert 256 <= coded <= min(300, 256 * engines)
    assert all(head["vary"] == "Accept-Encoding" for head in heads)
    assert site.totals()["compressions_denied"] == 300 - coded
    stop.set()
    for client, head in zip(clients, heads, strict=True):
        client.chunks(head)
        body = decode("gzip", head.body) if "content-encoding" in head else head.body
        assert body == TEXT


def test_totals_say_what_was_saved(web: Web, origins: Origins) -> None:
    site = web([origins(serves(text())).address], compress=True)
    got = site.ask(get("/", ALL))
    wait_until(lambda: site.totals()["compressed_out"] == len(got.body))
    totals = site.totals()
    assert totals["compressed"] == 1 and totals["compressed_in"] == len(TEXT)


def test_broken_chunk_is_answered_by_another_server_as_ever(web: Web, origins: Origins) -> None:
    """The coder of the first response is given back, and the second one is coded from its
    beginning."""
    broken = (b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nTransfer-Encoding: chunked\r\n\r\n"
              b"zz\r\n")
    both = [origins(serves(broken)), origins(serves(broken))]
    got = web([one.address for one in both], compress=True).ask(get("/", ALL))
    assert got.status == 502 and "content-encoding" not in got
