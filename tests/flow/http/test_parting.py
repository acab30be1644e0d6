"""What both sides of a WebSocket hear at the end of a stop: a close frame of 1001 (RFC 6455,
7.4.1), where no frame is halfway."""

from __future__ import annotations

import asyncio
import base64
import hashlib
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest
import websockets
from websockets.asyncio.client import connect
from websockets.asyncio.server import ServerConnection, serve

from fastlb.process import threads
from tests.flow.conftest import wait_until
from tests.flow.http.conftest import HttpSite
from tests.flow.http.peers import HttpOrigin, Message, Wire, get
from tests.flow.http.test_websocket import ASKS, GOOD, PATIENT, switch, upgrading

Web = Callable[..., HttpSite]
Origins = Callable[..., HttpOrigin]

GOING = b"\x88\x02\x03\xe9"             # a close frame, without a key, of 1001
LARGE = 3_000_000                       # spliced, where that can be

pytestmark = pytest.mark.modes("inline", "tls")


def part(site: HttpSite) -> None:
    """What a stop does last of all before it resets: tell both sides of WebSockets. There, it gives
    them a second at most, which may be too short on a busy machine; here, as long as they take."""
    engines = site.site.balancer._instance.running().engines
    engines.stop()
    wait_until(lambda: engines.closing)
    engines.stop(hasty=True, parting=True)


def code_of(closed: websockets.ConnectionClosed) -> int | None:
    return closed.rcvd.code if closed.rcvd is not None else None


def unmasked(frame: bytes) -> bytes:
    """A short frame with its key taken off."""
    key, payload = frame[2:6], frame[6:]
    return bytes([frame[0], frame[1] & 0x7F]) + bytes(
        byte ^ key[i % 4] for i, byte in enumerate(payload))


def framed(size: int) -> bytes:
    """A binary message of a server."""
    return b"\x82\x7f" + size.to_bytes(8, "big") + bytes(size)


# What the server has said before, and whether all of that is whole.
SAID = {
    "nothing": (b"", True),
    "a message": (b"\x81\x05hello", True),
    "an empty one": (b"\x81\x00", True),
    "a medium one": (b"\x82\x7e\x00\x80" + bytes(128), True),
    "a large one": (framed(LARGE), True),
    "a large one, then a small one": (framed(LARGE) + b"\x81\x05hello", True),
    "the first fragment of one": (b"\x01\x03fra", True),
    "the first byte of a head": (b"\x81", False),
    "half a head": (b"\x81\x7e\x01", False),
    "a head alone": (b"\x81\x05", False),
    "half a message": (b"\x81\x05hel", False),
    "half of a large one": (framed(LARGE)[:-LARGE // 2], False),
    "all but a byte of a large one": (framed(LARGE)[:-1], False),
}


@pytest.mark.parametrize("said", SAID)
def test_both_sides_hear_that_it_ends_where_no_frame_is_halfway(
    web: Web, origins: Origins, said: str
) -> None:
    data, is_whole = SAID[said]
    heard: list[bytes] = []

    def speak(wire: Wire) -> None:
        wire.send(data)
        heard.append(wire.exactly(8))
        while not is_whole and wire.some():
            pass

    site = web([origins(upgrading(then=speak)).address])
    client = site.client()
    client.send(get("/", *ASKS))
    assert client.response().status == 101
    assert client.exactly(len(data)) == data
    part(site)
    wait_until(lambda: bool(heard))
    if is_whole:
        assert client.to_end() == GOING
        client.close()
    stopping = site.site.balancer.stop(timeout=0)
    if not is_whole:
        with pytest.raises(ConnectionResetError):
            client.some()
        client.close()
    stopping.wait()
    assert [unmasked(one) for one in heard] == [GOING]


# What a client has said, and how much of a frame that is short of.
@pytest.mark.parametrize("size", [1, 2, 5, 9])
def test_a_server_hears_nothing_while_its_client_is_halfway(
    web: Web, origins: Origins, size: int
) -> None:
    heard: list[bytes] = []
    frame = b"\x81\x84keyztext"

    def listen(wire: Wire) -> None:
        heard.append(wire.exactly(size))
        wire.send(b"\x81\x00")
        try:
            heard.append(wire.some())
        except ConnectionResetError:
            heard.append(b"reset")

    site = web([origins(upgrading(then=listen)).address])
    client = site.client()
    client.send(get("/", *ASKS))
    assert client.response().status == 101
    client.send(frame[:size])
    assert client.exactly(2) == b"\x81\x00"
    part(site)
    assert client.exactly(4) == GOING
    site.site.balancer.stop(timeout=0).wait()
    wait_until(lambda: len(heard) == 2)
    assert heard == [frame[:size], b"reset"]


def test_frames_with_the_request_and_with_the_101_are_counted(web: Web, origins: Origins) -> None:
    """Half of one each: none is due to either side."""
    seen: list[bytes] = []

    def listen(wire: Wire) -> None:
        seen.append(wire.exactly(3))
        try:
            seen.append(wire.some())
        except ConnectionResetError:
            seen.append(b"reset")

    site = web([origins(upgrading(GOOD + b"\x81\x05he", then=listen)).address])
    client = site.client()
    client.send(get("/", *ASKS) + b"\x81\x84k")
    assert client.response().status == 101
    assert client.exactly(4) == b"\x81\x05he"
    wait_until(lambda: bool(seen))
    stopping = site.site.balancer.stop(timeout=0.4)
    with pytest.raises(ConnectionResetError):
        client.some()
    stopping.wait()
    wait_until(lambda: len(seen) == 2)
    assert seen == [b"\x81\x84k", b"reset"]


def test_a_close_frame_of_the_server_is_the_only_one(web: Web, origins: Origins) -> None:
    closing = b"\x88\x02\x03\xe8"

    def close(wire: Wire) -> None:
        wire.send(closing)
        while wire.some():
            pass

    site = web([origins(upgrading(then=close)).address])
    client = site.client()
    client.send(get("/", *ASKS))
    assert client.response().status == 101
    assert client.exactly(4) == closing
    part(site)
    site.site.balancer._instance.running().engines.settle()
    stopping = site.site.balancer.stop(timeout=0)
    assert client.to_end() == b""
    stopping.wait()


def test_what_comes_after_the_close_frame_is_for_nobody(web: Web, origins: Origins) -> None:
    def talk_on(wire: Wire) -> None:
        wire.exactly(8)
        wire.send(b"\x81\x05hello\x88\x02\x03\xe9")

    site = web([origins(upgrading(then=talk_on)).address])
    client = site.client()
    client.send(get("/", *ASKS))
    assert client.response().status == 101
    part(site)
    assert client.to_end() == GOING
    client.close()
    site.site.balancer.stop(timeout=0).wait()


def test_another_protocol_is_cut_without_a_word(web: Web, origins: Origins) -> None:
    """Nobody knows where its messages end."""
    site = web([origins(upgrading(
        switch("Upgrade: feed", "Connection: Upgrade", accept=""))).address])
    client = site.client()
    client.send(get("/", "Connection: upgrade", "Upgrade: feed") + b"more")
    assert client.response().status == 101
    assert client.exactly(4) == b"more"
    stopping = site.site.balancer.stop(timeout=0.4)
    with pytest.raises(ConnectionResetError):
        client.some()
    stopping.wait()


def test_a_server_that_is_removed_leaves_no_websocket_without_a_word(
    web: Web, origins: Origins
) -> None:
    def wait(wire: Wire) -> None:
        while wire.some():
            pass

    site = web([origins(upgrading(then=wait)).address])
    client = site.client()
    client.send(get("/", *ASKS))
    assert client.response().status == 101
    [pool] = site.site.balancer.pools.values()
    pool.set_servers([origins(name="other").address], drain_timeout="50ms")
    assert client.to_end() == GOING


# --- real ones ---

@asynccontextmanager
async def talking(
    web: Web, handler: Callable[[ServerConnection], object]
) -> AsyncIterator[tuple[str, HttpSite]]:
    async with serve(
        handler, "127.0.0.1", 0, max_size=None, **PATIENT,  # type: ignore[arg-type]
    ) as server:
        host, port = server.sockets[0].getsockname()[:2]
        site = await asyncio.to_thread(web, [f"{host}:{port}"])
        yield site.site.listener.url.replace("http://", "ws://"), site


@pytest.mark.plain
@pytest.mark.parametrize("messages", [0, 1, 50])
def test_a_real_client_and_server_hear_1001(
    web: Web, messages: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The last part of a stop, in which both answer: a second is little on a busy machine.
    monkeypatch.setattr(threads, "PARTING_S", 4.0)
    codes: list[int | None] = []

    async def echo(connection: ServerConnection) -> None:
        try:
            while True:
                await connection.send(await connection.recv())
        except websockets.ConnectionClosed as closed:
            codes.append(code_of(closed))

    async def main() -> None:
        async with talking(web, echo) as (url, site), connect(
            url, max_size=None, **PATIENT
        ) as ws:
            for n in range(messages):
                await ws.send("x" * (n * 5000))
                await ws.recv()
            stopping = site.site.balancer.stop(timeout=8)       # (half of it at most)
            with pytest.raises(websockets.ConnectionClosed) as closed:
                await ws.recv()
            assert code_of(closed.value) == 1001
            await asyncio.to_thread(stopping.wait)

    asyncio.run(main())
    assert codes == [1001]


@pytest.mark.plain
def test_a_real_client_of_half_a_message_hears_1006(web: Web, origins: Origins) -> None:
    def serve_half(wire: Wire, request: Message) -> bool:
        key = request["sec-websocket-key"].encode()
        made = hashlib.sha1(key + b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11").digest()
        wire.send(switch("Upgrade: websocket", "Connection: Upgrade",
                         accept=base64.b64encode(made).decode()) + b"\x81\x05hel")
        while wire.some():
            pass
        return False

    site = web([origins(serve_half).address])

    async def main() -> None:
        async with connect(site.site.listener.url.replace("http://", "ws://"), **PATIENT) as ws:
            stopping = site.site.balancer.stop(timeout=0.4)
            with pytest.raises(websockets.ConnectionClosed) as closed:
                await ws.recv()
            assert code_of(closed.value) is None        # which is called 1006
            await asyncio.to_thread(stopping.wait)

    asyncio.run(main())
