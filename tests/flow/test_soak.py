"""200 reloads, one each second at most, under load: nobody fails, and nothing grows."""

from __future__ import annotations

import asyncio
import json
import os
import resource
import time
from pathlib import Path
from typing import Any

import pytest

import fastlb
from tests.flow.conftest import DEADLINE_S

RELOADS = 200
NEW_PER_S, KEPT_PER_S = 1000, 2000
TUNNELS = RELAYS = 50
REQUEST = b"GET /r HTTP/1.1\r\nHost: a\r\n\r\n"
ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
UPGRADE = (b"GET /ws HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
           b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n")
SWITCHED = (b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
            b"Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n")


class Origin(asyncio.Protocol):
    """Answers requests, and echoes what comes after an upgrade or "echo"."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport
        self.raw = False

    def data_received(self, data: bytes) -> None:
        write = self.transport.write  # type: ignore[attr-defined]
        if self.raw or data.startswith(b"echo"):
            self.raw = True
            write(data)
        elif b"Upgrade" in data:
            self.raw = True
            write(SWITCHED)
        else:
            write(ANSWER * data.count(b"\r\n\r\n"))


def toml(ports: dict[str, int], origin: str, i: int) -> str:
    return (
        f'[listeners.web]\nbind = "http://127.0.0.1:{ports["web"]}"\npool = "p"\n'
        f'[listeners.relay]\nbind = "tcp://127.0.0.1:{ports["relay"]}"\npool = "q"\n'
        f'[listeners.extra{i % 3}]\nbind = "http://127.0.0.1:0"\npool = "p"\n'
        f'[[listeners.web.routes]]\nname = "r{i % 5}"\nmatch.path = "/r"\npool = "p"\n'
        f'[pools.p]\nservers = ["{origin}"]\nconnect_timeout = "{1000 + i}ms"\n'
        f'[pools.q]\nservers = ["{origin}"]\nconnect_timeout = "{3000 + i}ms"\n'
    )


class Clients:
    def __init__(self, ports: dict[str, int]) -> None:
        self.ports = ports
        self.ended = asyncio.Event()
        self.counts = {"new": 0, "kept": 0}
        self.failed: list[str] = []

    async def open(self, listener: str) -> Any:
        return await asyncio.open_connection("127.0.0.1", self.ports[listener])

    async def one(self, reader: Any, writer: Any, said: bytes, expected: bytes) -> None:
        writer.write(said)
        heard = await asyncio.wait_for(reader.readexactly(len(expected)), DEADLINE_S)
        if heard != expected and not heard.startswith(b"HTTP/1.1 200"):
            raise AssertionError(heard)

    async def at_rate(self, kind: str, per_s: float, workers: int) -> None:
        """So many exchanges a second, by workers that each wait for their answers."""
        await asyncio.gather(*(self._worker(kind, per_s / workers) for _ in range(workers)))

    async def _worker(self, kind: str, per_s: float) -> None:
        begun = time.monotonic()
        reader: Any = None
        writer: Any = None
        n = 0
        while not self.ended.is_set():
            try:
                if writer is None or kind == "new":
                    reader, writer = await self.open("web")
                writer.write(REQUEST)
                head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), DEADLINE_S)
                if not head.startswith(b"HTTP/1.1 200"):
                    raise AssertionError(head)
                await reader.readexactly(2)
                self.counts[kind] += 1
                if kind == "new":
                    writer.close()
            except (OSError, EOFError, asyncio.TimeoutError, AssertionError) as error:
                self.failed.append(f"{kind}: {error!r}")
                writer = None
            n += 1
            await asyncio.sleep(max(0.0, begun + n / per_s - time.monotonic()))

    async def long(self, listener: str, first: bytes, expected: bytes) -> None:
        """A tunnel or relay over the whole time, with a message now and then."""
        try:
            reader, writer = await self.open(listener)
            writer.write(first)
            if expected == SWITCHED:
                await reader.readuntil(b"\r\n\r\n")
            else:
                await reader.readexactly(len(expected))
            while not self.ended.is_set():
                await self.one(reader, writer, b"echo", b"echo")
                await asyncio.sleep(0.5)
            writer.close()
        except (OSError, EOFError, asyncio.TimeoutError, AssertionError) as error:
            self.failed.append(f"{listener}: {error!r}")


async def soak(reloads: int, share: float, long: int) -> dict[str, Any]:
    loop = asyncio.get_running_loop()
    server = await loop.create_server(Origin, "127.0.0.1", 0, backlog=4096)
    origin = f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
    ports = {"web": 0, "relay": 0}
    balancer = fastlb.Balancer(fastlb.config.reader.loads(toml(ports, origin, 0)), threads=1)
    background = await asyncio.to_thread(balancer.background)
    runtime = balancer._instance.runtime
    assert runtime is not None
    real = {name: balancer.listeners[name].port for name in ports}
    clients = Clients(real)
    tasks = [asyncio.ensure_future(one) for one in (
        clients.at_rate("new", NEW_PER_S * share, 20),
        clients.at_rate("kept", KEPT_PER_S * share, 50),
        *(clients.long("web", UPGRADE, SWITCHED) for _ in range(long)),
        *(clients.long("relay", b"echo", b"echo") for _ in range(long)),
    )]
    await asyncio.sleep(1)
    alive, descriptors, memory = [], [], []
    for i in range(reloads):
        begun = time.monotonic()
        await balancer.reload(toml(ports, origin, i + 1))
        await asyncio.sleep(max(0.0, begun + 1 - time.monotonic()))
        alive.append(1 + len(runtime.retired))
        descriptors.append(len(os.listdir("/proc/self/fd")))
        memory.append(_resident_kib())
    clients.ended.set()
    await asyncio.gather(*tasks)
    for _ in range(int(DEADLINE_S * 10)):
        if runtime.retired:
            await asyncio.sleep(0.1)
    assert not runtime.retired, "old snapshots are kept"
    await asyncio.to_thread(background.stop, 5)
    server.close()
    return {"failed": clients.failed, "counts": clients.counts, "alive": alive,
            "descriptors": descriptors, "memory": memory,
            "cpu": resource.getrusage(resource.RUSAGE_SELF).ru_utime}


def _resident_kib() -> int:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1])
    raise AssertionError("no VmRSS")


def run(reloads: int, share: float, long: int) -> dict[str, Any]:
    import uvloop

    loop = uvloop.new_event_loop()
    try:
        found: dict[str, Any] = loop.run_until_complete(soak(reloads, share, long))
    finally:
        loop.close()
    print(json.dumps({**found, "failed": found["failed"][:10]}))
    assert found["failed"] == []
    return found


def test_a_few_reloads_under_a_little_load() -> None:
    found = run(6, 0.05, 10)
    assert min(found["counts"].values()) > 0


@pytest.mark.soak
@pytest.mark.timeout(1800)
def test_200_reloads_under_load() -> None:
    found = run(RELOADS, 1.0, TUNNELS)
    assert max(found["descriptors"][20:]) <= max(found["descriptors"][:20]) + 50
    assert max(found["alive"][100:]) <= max(found["alive"][:100]) + 2
    assert max(found["memory"][100:]) <= max(found["memory"][:100]) + 16 * 1024
