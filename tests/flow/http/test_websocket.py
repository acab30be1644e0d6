"""Upgrades: routed like any request, tunnels only after a matching 101, a relay from then on."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
import websockets
from websockets.asyncio.client import connect
from websockets.asyncio.server import ServerConnection, serve

from tests.flow.conftest import DEADLINE_S, Site, wait_until
from tests.flow.http.conftest import HttpSite
from tests.flow.http.peers import HttpOrigin, Message, Serve, Wire, answer, get

Web = Callable[..., HttpSite]
Origins = Callable[..., HttpOrigin]

KEY = "dGhlIHNhbXBsZSBub25jZQ=="        # RFC 6455, 1.3, which has its answer too:
ACCEPT = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="
ASKS = ("Connection: keep-alive, Upgrade", "Upgrade: websocket", "Sec-WebSocket-Version: 13",
        f"Sec-WebSocket-Key: {KEY}")


def switch(*fields: str, accept: str = ACCEPT) -> bytes:
    lines = [*fields, f"Sec-WebSocket-Accept: {accept}"] if accept else list(fields)
    head = "HTTP/1.1 101 Switching Protocols\r\n"
    return (head + "".join(f"{line}\r\n" for line in lines) + "\r\n").encode()


# A handshake and a close may take long on a busy machine, and nobody pings meanwhile.
PATIENT: dict[str, Any] = {
    "open_timeout": DEADLINE_S, "close_timeout": DEADLINE_S, "ping_interval": None}
GOOD = switch("Upgrade: websocket", "Connection: Upgrade")


def echo_raw(wire: Wire) -> None:
    while data := wire.some():
        wire.send(data)


def upgrading(reply: bytes = GOOD, then: Callable[[Wire], None] = echo_raw) -> Serve:
    def serve(wire: Wire, request: Message) -> bool | None:
        if "upgrade" not in request:
            wire.send(answer(b"plain"))
            return None
        wire.send(reply)
        then(wire)
        return False

    return serve


def test_bytes_go_both_ways_once_it_has_switched(web: Web, origins: Origins) -> None:
    origin = origins(upgrading())
    site = web([origin.address])
    client = site.client()
    client.send(get("/chat", *ASKS) + b"with the request")
    got = client.response()
    assert got.status == 101 and got["sec-websocket-accept"] == ACCEPT
    assert got["upgrade"] == "websocket" and got["connection"].lower() == "upgrade"
    assert client.exactly(16) == b"with the request"
    for size in (1, 100, 70_000):
        data = bytes(range(256)) * (size // 256 + 1)
        client.send(data)
        assert client.exactly(len(data)) == data
    seen = origin.requests[0]
    assert seen["upgrade"] == "websocket" and seen["connection"].lower() == "upgrade"
    assert seen["sec-websocket-key"] == KEY
    client.sock.shutdown(socket.SHUT_WR)
    assert client.to_end() == b""


def test_what_a_server_says_with_its_101_is_passed_on(web: Web, origins: Origins) -> None:
    site = web([origins(upgrading(GOOD + b"\x81\x05hello")).address])
    client = site.client()
    client.send(get("/", *ASKS))
    assert client.response().status == 101
    assert client.exactly(7) == b"\x81\x05hello"


WRONG = {
    "another-key": switch("Upgrade: websocket", "Connection: Upgrade", accept="x" + ACCEPT[1:]),
    "short-key": switch("Upgrade: websocket", "Connection: Upgrade", accept=ACCEPT[:-1]),
    "no-key": switch("Upgrade: websocket", "Connection: Upgrade", accept=""),
    "two-keys": switch("Upgrade: websocket", "Connection: Upgrade",
                       f"Sec-WebSocket-Accept: {'x' + ACCEPT[1:]}"),
    "key-of-a-request": switch("Upgrade: websocket", "Connection: Upgrade",
                               f"Sec-WebSocket-Key: {ACCEPT}", accept=""),
    "another-protocol": switch("Upgrade: h2c", "Connection: Upgrade"),
    "no-protocol": switch("Connection: Upgrade"),
    "no-connection": switch("Upgrade: websocket"),
}


@pytest.mark.parametrize("name", WRONG)
def test_a_101_that_does_not_match_is_502(web: Web, origins: Origins, name: str) -> None:
    site = web([origins(upgrading(WRONG[name])).address])
    client = site.client()
    client.send(get("/", *ASKS))
    assert client.response().status == 502
    client.send(get("/"))
    assert client.response().body == b"plain"


def test_a_server_may_refuse_to_switch(web: Web, origins: Origins) -> None:
    def serve(wire: Wire, request: Message) -> None:
        wire.send(answer(b"no", "426 Upgrade Required", *ASKS[:2]))

    site = web([origins(serve).address])
    client = site.client()
    for _ in range(2):
        client.send(get("/", *ASKS))
        assert client.response().status == 426
    site.wait_for_idle(1)


def test_other_protocols_switch_too(web: Web, origins: Origins) -> None:
    origin = origins(upgrading(switch("Upgrade: Feed/2", "Connection: Upgrade", accept="")))
    site = web([origin.address])
    client = site.client()
    client.send(get("/", "Connection: upgrade", "Upgrade: feed/2") + b"more")
    assert client.response().status == 101
    assert client.exactly(4) == b"more"


@pytest.mark.parametrize("fields", [
    ("Connection: Upgrade", "Upgrade: websocket"),
    (*ASKS, "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA=="),
    ("Upgrade: websocket", f"Sec-WebSocket-Key: {KEY}"),
], ids=["no-key", "two-keys", "no-connection"])
def test_half_an_upgrade_is_none(web: Web, origins: Origins, fields: tuple[str, ...]) -> None:
    origin = origins(upgrading())
    assert web([origin.address]).ask(get("/", *fields)).body == b"plain"
    assert "upgrade" not in origin.requests[0]


def test_an_upgrade_with_a_body_is_none(web: Web, origins: Origins) -> None:
    origin = origins(upgrading())
    got = web([origin.address]).ask(get("/", *ASKS, method="GET", body=b"body"))
    assert got.body == b"plain" and "upgrade" not in origin.requests[0]


def test_a_silent_tunnel_ends_in_time(web: Web, origins: Origins) -> None:
    site = web([origins(upgrading()).address], websocket_timeout="10m", idle_timeout="1m")
    client = site.client()
    client.send(get("/", *ASKS))
    assert client.response().status == 101
    site.advance("6m")                  # (it isn't the other timeout that ends it)
    client.send(b"still here")
    assert client.exactly(10) == b"still here"
    site.advance("11m")
    with pytest.raises(ConnectionResetError):
        client.some()


def test_request_timeout_is_not_for_tunnels(web: Web, origins: Origins) -> None:
    site = web([origins(upgrading()).address], request_timeout="10m")
    client = site.client()
    client.send(get("/", *ASKS))
    assert client.response().status == 101
    site.advance("20m")
    client.send(b"still here")
    assert client.exactly(10) == b"still here"


def test_a_stop_gives_tunnels_time(web: Web, origins: Origins) -> None:
    site = web([origins(upgrading()).address])
    client, idle = site.client(), site.client()
    client.send(get("/", *ASKS))
    assert client.response().status == 101
    idle.send(get("/"))
    assert idle.response().body == b"plain"
    stopping = site.site.balancer.stop(timeout=60)
    assert idle.to_end() == b""         # who waits for nothing is closed at once
    client.send(b"to the end")
    assert client.exactly(10) == b"to the end"
    client.close()
    stopping.wait()


# --- real ones ---

@asynccontextmanager
async def talking(
    web: Web, handler: Callable[[ServerConnection], object], **keys: object
) -> AsyncIterator[str]:
    async with serve(
        handler, "127.0.0.1", 0, max_size=None, **PATIENT     # type: ignore[arg-type]
    ) as server:
        host, port = server.sockets[0].getsockname()[:2]
        site = await asyncio.to_thread(web, [f"{host}:{port}"], **keys)
        yield site.site.listener.url.replace("http://", "ws://")


async def echo(connection: ServerConnection) -> None:
    async for message in connection:
        await connection.send(message)


@pytest.mark.plain
def test_a_real_client_and_server_talk(web: Web) -> None:
    async def main() -> None:
        async with talking(web, echo) as url, connect(
            f"{url}/chat?room=1", max_size=None, **PATIENT
        ) as ws:
            for size in (0, 1, 125, 126, 65535, 65536, 3_000_000):
                await ws.send("x" * size)
                assert await ws.recv() == "x" * size
                await ws.send(bytes(size))
                assert await ws.recv() == bytes(size)
            await ws.send([b"frag", b"men", b"ted"])
            assert await ws.recv() == b"fragmented"
            await (await ws.ping())

    asyncio.run(main())


@pytest.mark.plain
def test_close_codes_arrive(web: Web) -> None:
    async def leave(connection: ServerConnection) -> None:
        await connection.recv()
        await connection.close(4001, "enough")

    async def main() -> None:
        async with talking(web, leave) as url, connect(url, **PATIENT) as ws:
            await ws.send("x")
            with pytest.raises(websockets.ConnectionClosed) as closed:
                await ws.recv()
            assert closed.value.rcvd is not None
            assert (closed.value.rcvd.code, closed.value.rcvd.reason) == (4001, "enough")

    asyncio.run(main())


@pytest.mark.plain
def test_many_talk_at_once_and_each_hears_its_own(web: Web) -> None:
    async def one(url: str, n: int) -> None:
        async with connect(url, compression=None if n % 2 else "deflate", **PATIENT) as ws:
            for i in range(40):
                text = f"{n} {i} " + "." * (n * i % 3000)
                await ws.send(text)
                assert await ws.recv() == text

    async def main() -> None:
        async with talking(web, echo) as url:
            await asyncio.gather(*(one(url, n) for n in range(40)))

    asyncio.run(main())


def test_routed_by_a_parameter_a_header_and_a_path(
    site: Callable[..., Site], origins: Origins
) -> None:
    import fastlb

    made = {name: origins(upgrading(then=lambda wire, name=name: wire.send(  # type: ignore[misc]
        name.encode()))) for name in ("query", "header", "path", "other")}
    config = fastlb.Config.build({
        "listeners": {"l": {"bind": "http://127.0.0.1:0", "pool": "other", "routes": [
            {"name": "q", "match": {"query": {"doc_id": True}}, "pool": "query"},
            {"name": "h", "match": {"headers": {"x-tier": "premium"}}, "pool": "header"},
            {"name": "p", "match": {"path": "/docs/{doc_id}"}, "pool": "path"},
        ]}},
        "pools": {name: {"servers": [o.address]} for name, o in made.items()},
    })
    web = HttpSite(site([], config=config))
    for path, fields, name in [
        ("/?doc_id=1", (), b"query"), ("/", ("X-Tier: premium",), b"header"),
        ("/docs/1", (), b"path"), ("/x", (), b"other"),
    ]:
        client = web.client()
        client.send(get(path, *ASKS, *fields))
        assert client.response().status == 101
        assert client.to_end() == name


def test_the_answer_to_a_key_is_as_the_rfc_has_it() -> None:
    digest = hashlib.sha1(KEY.encode() + b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11").digest()
    assert base64.b64encode(digest).decode() == ACCEPT


def test_tunnels_are_counted_while_they_are_there(web: Web, origins: Origins) -> None:
    site = web([origins(upgrading()).address])
    clients = [site.client() for _ in range(5)]
    for client in clients:
        client.send(get("/", *ASKS))
        assert client.response().status == 101
    assert site.site.counts()["exchanges"] == 5
    for client in clients:
        client.close()
    wait_until(lambda: site.site.counts()["exchanges"] == 0)
