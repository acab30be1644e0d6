"""Health checks: connections of our own to every server of a pool that asks for them.

They run on the control loop, each server's in a task, spread over the interval.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import socket
from collections.abc import Callable, Iterable
from logging import ERROR, INFO, WARNING

from fastlb._core.tables.live import Live, Server
from fastlb.compile.snapshot import ServerSpec, SocketAddress
from fastlb.config.health import EffectiveHealth
from fastlb.control.events import Events
from fastlb.control.tasks import end, within

READ_BYTES_MAX = 65_536     # of an answer
JITTER = 0.1                # of an interval, so that several balancers don't ask together
# What a server may say of itself in an answer, for balance = "prequal".
IN_FLIGHT, LATENCY_MS = b"x-in-flight", b"x-latency-ms"
REPORTED_MAX = 1_000_000_000
USER_AGENT = "fastlb-health"


class Unwell(Exception):
    """What a server did wrong, in a few words."""


class Health:
    """Checks the servers of pools, and tells the engines which are down."""

    def __init__(self, live: Live, events: Events, changed: Callable[[], object]) -> None:
        self._live = live
        self._events = events
        self._changed = changed
        self._tasks: dict[tuple[str, str], asyncio.Task[None]] = {}
        self._panics: dict[str, int] = {}       # by pool, of 1000 servers

    def follow(
        self, pool: str, health: EffectiveHealth | None, specs: Iterable[ServerSpec]
    ) -> None:
        """Check these servers of a pool from now on, and no others."""
        wanted = {spec.name: spec for spec in specs} if health is not None else {}
        self._panics[pool] = health.panic if health is not None else 0
        for key in [key for key in self._tasks if key[0] == pool and key[1] not in wanted]:
            self._tasks.pop(key).cancel()
            self._live.server(*key).down = False
        new = [spec for name, spec in wanted.items() if (pool, name) not in self._tasks]
        for i, spec in enumerate(new):
            assert health is not None
            server = self._live.server(pool, spec.name)
            delay_s = health.interval_s * i / len(new)
            self._tasks[pool, spec.name] = asyncio.ensure_future(
                Patient(server, spec.address, health, self._turned).follow(delay_s)
            )
        self._look_at(pool)

    def _turned(self, server: Server, why: str) -> None:
        """A server has gone down, or come up ("")."""
        if why:
            self._events.tell(WARNING, server.pool, server.address, "down", f"is down: {why}")
        else:
            self._events.tell(INFO, server.pool, server.address, "up", "is up")
        self._look_at(server.pool)

    def _look_at(self, pool: str) -> None:
        """Whether enough servers of a pool are up to go by that."""
        servers = [self._live.server(*key) for key in self._tasks if key[0] == pool]
        up = sum(not server.down for server in servers)
        panic = up * 1000 < self._panics[pool] * len(servers)
        state = self._live.pool(pool)
        counted = f"{up} of {len(servers)} servers are up"
        if panic and not state.panic:
            self._events.tell(ERROR, pool, "", "panic", f"{counted}: all are used")
        elif state.panic and not panic:
            self._events.tell(INFO, pool, "", "serving", f"{counted}: others get nothing")
        state.panic = panic
        self._changed()

    async def stop(self) -> None:
        tasks, self._tasks = self._tasks, {}
        await end(tasks.values())


class Patient:
    """One server and its last checks."""

    def __init__(
        self, server: Server, address: SocketAddress, health: EffectiveHealth,
        on_change: Callable[[Server, str], None] = lambda server, why: None,
    ) -> None:
        self.server = server
        self.on_change = on_change
        self.health = health
        self.address = address
        if health.port and not isinstance(address, str):
            self.address = (address[0], health.port)
        self.row = 0                # checks in a row that spoke against the present state
        self.known = False          # the first check decides at once

    async def follow(self, delay_s: float) -> None:
        loop = asyncio.get_running_loop()
        await asyncio.sleep(delay_s)
        while True:
            begin_s = loop.time()
            if self.server.maintenance:
                self.known = False      # the first check after it decides at once
                self.row = 0
            else:
                self.note(await self._check())
            wait_s = self.health.fast_interval_s if self.row else self.health.interval_s
            wait_s *= 1 + random.uniform(-JITTER, JITTER)
            await asyncio.sleep(max(0.0, begin_s + wait_s - loop.time()))

    def note(self, why: str) -> None:
        """The result of one check: "" if all was well."""
        changes = bool(why) != self.server.down
        self.row = self.row + 1 if changes else 0
        needed = self.health.fall if why else self.health.rise
        if changes and (self.row >= needed or not self.known):
            self.row = 0
            self.server.down = bool(why)
            self.on_change(self.server, why)
        self.known = True

    async def _check(self) -> str:
        family = socket.AF_UNIX if isinstance(self.address, str) else (
            socket.AF_INET6 if ":" in self.address[0] else socket.AF_INET
        )
        try:
            with socket.socket(family, socket.SOCK_STREAM) as sock:
                sock.setblocking(False)
                await within(self.health.timeout_s, self._visit(sock))
        except asyncio.TimeoutError:
            return f"no answer within {self.health.timeout_s:g} s"
        except Unwell as error:
            return str(error)
        except OSError as error:
            return (os.strerror(error.errno) if error.errno else str(error)).lower()
        return ""

    async def _visit(self, sock: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        await loop.sock_connect(sock, self.address)
        if self.health.kind == "http":
            await self._ask(sock)
        elif self.health.kind == "expect":
            await self._talk(sock)
        else:
            if self.health.kind == "tls":
                await self._shake_hands(sock)
            # A port that is only looked at: leave no TIME_WAIT.
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")

    async def _shake_hands(self, sock: socket.socket) -> None:
        import ssl  # not needed by who has no such checks

        loop = asyncio.get_running_loop()
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False          # whether it speaks TLS, and not who it is
        context.verify_mode = ssl.CERT_NONE
        said, heard = ssl.MemoryBIO(), ssl.MemoryBIO()
        session = context.wrap_bio(heard, said, server_hostname=self.health.host or None)
        while True:
            try:
                session.do_handshake()
                return await loop.sock_sendall(sock, said.read())
            except ssl.SSLWantReadError:
                await loop.sock_sendall(sock, said.read())
                piece = await loop.sock_recv(sock, 65536)
                if not piece:
                    raise Unwell("it closed in the TLS handshake") from None
                heard.write(piece)
            except ssl.SSLError as error:
                raise Unwell(f"no TLS: {error.reason or error}") from None

    async def _talk(self, sock: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        await loop.sock_sendall(sock, self.health.send)
        said = b""
        while self.health.expect not in said:
            piece = await loop.sock_recv(sock, 4096)
            if not piece or len(said) > READ_BYTES_MAX:
                raise Unwell(f"it said {_shown(said)}")
            said += piece

    async def _ask(self, sock: socket.socket) -> None:
        import httptools  # not needed by who has no such checks

        loop = asyncio.get_running_loop()
        await loop.sock_sendall(sock, self._request())
        answer = Answer()
        parser = httptools.HttpResponseParser(answer)
        while not answer.complete:
            piece = await loop.sock_recv(sock, 65536)
            if not piece:
                break
            try:
                parser.feed_data(piece)
            except httptools.HttpParserError:
                raise Unwell(f"its answer is no HTTP: {_shown(piece)}") from None
            answer.status = parser.get_status_code()
            if answer.headed and not self.health.body:
                break
        if not answer.headed:
            raise Unwell("it closed without an answer")
        if answer.in_flight is not None:
            self.server.report(answer.in_flight, answer.latency_ms)
        if not any(first <= answer.status <= last for first, last in self.health.statuses):
            raise Unwell(f"it answered {answer.status}")
        if self.health.body not in answer.body:
            raise Unwell(f"its answer has no {_shown(self.health.body)}")

    def _request(self) -> bytes:
        host = self.health.host
        if not host:
            name = self.server.address
            host = "localhost" if name.startswith("unix:") else name
        return (
            f"{self.health.method} {self.health.path} HTTP/1.1\r\nHost: {host}\r\n"
            f"User-Agent: {USER_AGENT}\r\nAccept: */*\r\nConnection: close\r\n\r\n"
        ).encode()


class Answer:
    """What httptools tells of an answer."""

    def __init__(self) -> None:
        self.status = 0
        self.headed = False
        self.complete = False
        self.body = b""
        self.in_flight: int | None = None
        self.latency_ms = 0.0

    def on_header(self, name: bytes, value: bytes) -> None:
        with contextlib.suppress(ValueError):       # what isn't a number says nothing
            if name.lower() == IN_FLIGHT:
                self.in_flight = min(max(int(value), 0), REPORTED_MAX)
            elif name.lower() == LATENCY_MS:
                self.latency_ms = min(max(0.0, float(value)), REPORTED_MAX)

    def on_headers_complete(self) -> None:
        self.headed = True

    def on_body(self, data: bytes) -> None:
        self.body = (self.body + data)[:READ_BYTES_MAX]
        if len(self.body) == READ_BYTES_MAX:
            self.complete = True

    def on_message_complete(self) -> None:
        self.complete = True


def _shown(data: bytes) -> str:
    text = repr(data[:40])[1:]
    return text + ("..." if len(data) > 40 else "")
