"""Ticks by client over TCP and WebSocket: every byte, in order, and always from the same server."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
from collections import Counter
from contextlib import AsyncExitStack
from urllib.parse import parse_qs, urlsplit

import pytest
from websockets.asyncio.client import connect
from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import InvalidStatus

from tests.examples.running import Running, Start
from tests.flow.conftest import DEADLINE_S

SERVERS = 3
CLIENTS = [f"client-{i}" for i in range(24)]
TICKS = 1500
MESSAGES = 200                  # of them over WebSocket
ORDERS = 200
GREETING_BYTES = 2              # the server's number, and a line's end


def tick(client: str, i: int) -> bytes:
    """Of a length between 40 and 300 bytes; nobody else's is like it."""
    seed = hashlib.sha256(f"{client} {i}".encode()).digest()
    return b"%08d " % i + seed * (1 + seed[0] % 9) + b"\n"


def feed(client: str) -> bytes:
    return b"".join(tick(client, i) for i in range(TICKS))


def orders(client: str) -> bytes:
    return b"".join(b"BUY %d of %s\n" % (i, client.encode()) for i in range(ORDERS))


class Exchange:
    """A server: says its number, ticks, and takes orders all the while."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.clients: Counter[str] = Counter()
        self.orders: list[tuple[str, bytes]] = []

    async def tcp(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        client = (await reader.readline()).decode().removeprefix("LOGON ").strip()
        self.clients[client] += 1
        writer.write(b"%d\n" % self.number)

        async def take() -> None:
            self.orders.append((client, await reader.read(-1)))

        taking = asyncio.create_task(take())
        for i in range(TICKS):
            writer.write(tick(client, i))
            if i % 10 == 0:
                await writer.drain()
                await asyncio.sleep(0)
        await taking
        writer.close()

    async def websocket(self, ws: ServerConnection) -> None:
        assert ws.request is not None
        client = parse_qs(urlsplit(ws.request.path).query)["client"][0]
        self.clients[client] += 1
        await ws.send(str(self.number))
        for i in range(MESSAGES):
            await ws.send(tick(client, i))
        self.orders.append((client, b"".join([str(await ws.recv()).encode() for _ in range(3)])))


async def program(market: Running, client: str) -> int:
    """Logs on in two pieces, sends orders while ticks come, and reads all of them."""
    reader, writer = await asyncio.open_connection(*market.where("programs"))
    writer.write(b"LOGON ")
    await writer.drain()
    writer.write(f"{client}\n".encode() + orders(client))
    writer.write_eof()
    data = await asyncio.wait_for(reader.read(-1), DEADLINE_S)
    writer.close()
    assert data[GREETING_BYTES:] == feed(client), client
    return int(data[:GREETING_BYTES])


async def browser(market: Running, client: str) -> int:
    url = market.url("browsers").replace("http://", "ws://")
    async with connect(f"{url}/ticks?client={client}", proxy=None, open_timeout=DEADLINE_S) as ws:
        home = int(await ws.recv())
        for i in range(MESSAGES):
            assert await ws.recv() == tick(client, i)
        for i in range(3):
            await ws.send(f"{client} {i};")
        await ws.wait_closed()
    return home


async def listening(exchanges: list[Exchange], stack: AsyncExitStack) -> list[str]:
    found = []
    for one in exchanges:
        server = await asyncio.start_server(one.tcp, "127.0.0.1", 0)
        stack.push_async_callback(server.wait_closed)
        stack.callback(server.close)
        found.append("{}:{}".format(*server.sockets[0].getsockname()))
    return found


async def speaking(exchanges: list[Exchange], stack: AsyncExitStack) -> list[str]:
    found = []
    for one in exchanges:
        server = await stack.enter_async_context(serve(one.websocket, "127.0.0.1", 0))
        found.append("{}:{}".format(*next(iter(server.sockets)).getsockname()))
    return found


def test_each_client_has_its_server_and_all_its_ticks(start: Start) -> None:
    async def main() -> None:
        programs = [Exchange(i) for i in range(SERVERS)]
        browsers = [Exchange(i) for i in range(SERVERS)]
        async with AsyncExitStack() as stack:
            market = start("market_data.toml", {
                "programs": await listening(programs, stack),
                "browsers": await speaking(browsers, stack),
            })
            for speak, exchanges in ((program, programs), (browser, browsers)):
                first, again = await asyncio.gather(
                    asyncio.gather(*(speak(market, client) for client in CLIENTS)),
                    asyncio.gather(*(speak(market, client) for client in CLIENTS)),
                )
                assert first == again
                assert len(set(first)) > 1      # (which is whose, ports of this run say)
                for number, one in enumerate(exchanges):
                    its = {c: 2 for c, home in zip(CLIENTS, first, strict=True) if home == number}
                    assert one.clients == its
            taken = [order for one in programs for order in one.orders]
            assert sorted(taken) == sorted((c, orders(c)) for c in CLIENTS for _ in range(2))
            said = [order for one in browsers for order in one.orders]
            assert sorted(said) == sorted(
                (c, f"{c} 0;{c} 1;{c} 2;".encode()) for c in CLIENTS for _ in range(2))
            threads = market.totals()
            assert len(threads) == 2 and all(one["accepted"] > 0 for one in threads)

    asyncio.run(main())


def test_who_says_something_else_gets_nothing(start: Start) -> None:
    async def main() -> None:
        exchanges = [Exchange(i) for i in range(SERVERS)]
        async with AsyncExitStack() as stack:
            market = start("market_data.toml", {
                "programs": await listening(exchanges, stack),
                "browsers": await speaking(exchanges, stack),
            })
            for said in (b"GET / HTTP/1.1\r\n\r\n", b"LOGON \n", b"x" * 500, b"LOGON half"):
                reader, writer = await asyncio.open_connection(*market.where("programs"))
                writer.write(said)
                with contextlib.suppress(OSError):      # cut off before it was read to its end
                    writer.write_eof()
                with contextlib.suppress(ConnectionResetError):
                    assert await asyncio.wait_for(reader.read(-1), DEADLINE_S) == b""
                writer.close()
            url = market.url("browsers").replace("http://", "ws://")
            with pytest.raises(InvalidStatus) as refused:
                async with connect(f"{url}/ticks", proxy=None, open_timeout=DEADLINE_S):
                    pass
            assert refused.value.response.status_code == 404
            assert not any(one.clients for one in exchanges)

    asyncio.run(main())
