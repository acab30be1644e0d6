"""A small HTTP origin, and a client that asks it through the balancer."""

from __future__ import annotations

import asyncio
import ssl
import time
from collections import deque

from fastlb.control.tasks import within

# Enough for a p99 that means something, and bounded however long the demo runs.
LATENCIES_KEPT = 2_000
REQUESTS_A_CONNECTION = 5
REQUEST_TIMEOUT_S = 5.0
HEADER_BYTES_MAX = 16 * 1024


class Origin:
    """Answers every HTTP/1.1 request with its own name, on a free port of 127.0.0.1."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.requests = 0
        self.latencies_ms: deque[float] = deque(maxlen=LATENCIES_KEPT)
        self._server: asyncio.Server | None = None
        self._writers: set[asyncio.StreamWriter] = set()

    async def start(self) -> None:
        self._server = await asyncio.start_server(
            self._serve, "127.0.0.1", 0, limit=HEADER_BYTES_MAX
        )

    @property
    def address(self) -> str:
        assert self._server is not None
        host, port = self._server.sockets[0].getsockname()
        return f"{host}:{port}"

    async def stop(self) -> None:
        if self._server is not None:
            self._server.close()
        for writer in list(self._writers):
            writer.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.add(writer)
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                self.requests += 1
                close = b"\nconnection: close" in head.lower()
                writer.write(self._answer(head, close))
                await writer.drain()
                if close:
                    break
        except (asyncio.IncompleteReadError, asyncio.LimitOverrunError, ConnectionError):
            pass                        # the client left, or doesn't speak HTTP
        finally:
            self._writers.discard(writer)
            writer.close()

    def _answer(self, head: bytes, close: bool) -> bytes:
        body = f"Hello from origin {self.name} ({self.address})\n".encode()
        connection = "close" if close else "keep-alive"
        answer = (
            f"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nX-Origin: {self.name}\r\n"
            f"Content-Length: {len(body)}\r\nConnection: {connection}\r\n\r\n"
        ).encode()
        return answer if head.startswith(b"HEAD ") else answer + body


class Client:
    """Asks through the balancer, a few requests a connection, and notes who answered and when."""

    def __init__(
        self, host: str, port: int, origins: list[Origin], pause_s: float,
        context: ssl.SSLContext | None = None,
    ) -> None:
        self.done = 0
        self.failures: list[str] = []
        self._where = (host, port)
        self._by_name = {origin.name.encode(): origin for origin in origins}
        self._pause_s = pause_s
        self._context = context         # over TLS

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            try:
                await within(
                    REQUESTS_A_CONNECTION * (REQUEST_TIMEOUT_S + self._pause_s), self._connection()
                )
            except asyncio.TimeoutError:
                self._fail("a request was not answered in time")
            except (OSError, asyncio.IncompleteReadError, ValueError) as error:
                self._fail(f"{type(error).__name__}: {error}")

    def _fail(self, why: str) -> None:
        if len(self.failures) < 100:
            self.failures.append(why)

    async def _connection(self) -> None:
        reader, writer = await asyncio.open_connection(*self._where, ssl=self._context)
        try:
            for _ in range(REQUESTS_A_CONNECTION):
                begun = time.perf_counter()
                writer.write(b"GET / HTTP/1.1\r\nHost: demo\r\n\r\n")
                origin = await self._read(reader)
                origin.latencies_ms.append((time.perf_counter() - begun) * 1000)
                self.done += 1
                await asyncio.sleep(self._pause_s)
        finally:
            writer.close()

    async def _read(self, reader: asyncio.StreamReader) -> Origin:
        head = await reader.readuntil(b"\r\n\r\n")
        status, *lines = head.split(b"\r\n")
        if status != b"HTTP/1.1 200 OK":
            raise ValueError(f"unexpected answer {status!r}")
        fields = dict(line.split(b": ", 1) for line in lines if line)
        await reader.readexactly(int(fields[b"Content-Length"]))
        return self._by_name[fields[b"X-Origin"]]
