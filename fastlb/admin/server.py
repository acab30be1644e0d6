"""The HTTP server of the admin API, on the control loop."""

from __future__ import annotations

import asyncio
import collections
import os
import socket
import time
from typing import TYPE_CHECKING, Any, cast

from aiohttp import web
from aiohttp.typedefs import Handler, Middleware

from fastlb.admin import changing, page, reading
from fastlb.admin.answers import Refusal
from fastlb.admin.guard import Guard
from fastlb.admin.streams import Streams, event_json
from fastlb.config.admin import EffectiveAdmin
from fastlb.config.limits import ADMIN_CONNECTIONS_MAX, ADMIN_REQUEST_S, FILE_BYTES_MAX
from fastlb.observe.status import status

if TYPE_CHECKING:
    from fastlb.balancer import Balancer
    from fastlb.control.events import Subscription

EVENTS_KEPT = 100       # for who opens the dashboard later
KEEPALIVE_S = 75.0      # as browsers have it: a page that is looked at keeps its connection
END_S = 0.5             # for answers under way, when the process ends


class AdminServer:
    """Serves on sockets that somebody else has opened, and that it closes."""

    def __init__(self, balancer: Balancer) -> None:
        self.balancer = balancer
        self.ready = False              # all listeners are open
        self._streams = Streams(self)
        self._guard = Guard()
        self._runner: web.AppRunner | None = None
        self._servers: dict[socket.socket, asyncio.AbstractServer] = {}
        self._silent: set[web.RequestHandler] = set()       # connections without a request yet
        self._events: collections.deque[tuple[int, dict[str, Any]]] = collections.deque(
            maxlen=EVENTS_KEPT
        )
        self._event_count = 0
        self._looked: tuple[float, dict[str, Any]] | None = None
        self._following: asyncio.Task[None] | None = None

    async def start(self, admin: EffectiveAdmin) -> None:
        self.admit(admin)
        app = web.Application(
            middlewares=[self._noted, self._guard.middleware()], client_max_size=FILE_BYTES_MAX
        )
        app.router.add_routes([
            *page.routes(), *reading.routes(self), *changing.routes(self),
            web.get("/events", self._streams.events), web.get("/stream", self._streams.status),
        ])
        self._runner = web.AppRunner(
            app, handle_signals=False, access_log=None, keepalive_timeout=KEEPALIVE_S,
            shutdown_timeout=END_S, handler_cancellation=True,
        )
        await self._runner.setup()

    def admit(self, admin: EffectiveAdmin) -> None:
        """Let in whom this says, from now on."""
        self._guard.admit(admin)

    async def listen(self, sock: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        self._servers[sock] = await loop.create_server(self._accepted, sock=sock)

    def unlisten(self, sock: socket.socket) -> None:
        """Accept no more there; who is connected stays."""
        server = self._servers.pop(sock, None)
        if server is not None:
            server.close()

    def _accepted(self) -> asyncio.BaseProtocol:
        """A connection's protocol: aiohttp's, or its end where there are too many."""
        assert self._runner is not None and self._runner.server is not None
        if len(self._runner.server.connections) >= ADMIN_CONNECTIONS_MAX:
            return _Full()
        made = self._runner.server()
        self._silent.add(made)
        asyncio.get_running_loop().call_later(ADMIN_REQUEST_S, self._end_silent, made)
        return made

    def _end_silent(self, protocol: web.RequestHandler) -> None:
        if protocol in self._silent:
            self._silent.discard(protocol)
            if protocol.transport is not None:
                protocol.transport.abort()

    @property
    def _noted(self) -> Middleware:
        @web.middleware
        async def noted(request: web.Request, handler: Handler) -> web.StreamResponse:
            self._silent.discard(request.protocol)
            return await handler(request)

        return noted

    # --- what handlers ask ---

    def running(self) -> Balancer:
        """The balancer, if it has begun. Else a Refusal."""
        if not self.ready:
            raise Refusal(503, "the process is starting", headers={"retry-after": "1"})
        return self.balancer

    def status(self, age_s: float = 0) -> dict[str, Any]:
        """Everything that is counted; for many who look, one that may be so old."""
        runtime = self.running()._running()
        now_s = time.monotonic()
        if self._looked is None or now_s - self._looked[0] >= age_s:
            self._looked = now_s, status(runtime)
        return self._looked[1]

    def state(self) -> str:
        """starting, serving or draining."""
        runtime = self.balancer._runtime
        if not self.ready or runtime is None:
            return "starting"
        return "draining" if runtime.draining else "serving"

    def recent(self, after: int) -> tuple[int, list[dict[str, Any]]]:
        """Events after the one with this number, and the number of the last one."""
        return self._event_count, [event for number, event in self._events if number > after]

    # --- beginning and end ---

    def begin(self) -> None:
        """The balancer serves: everything can be asked."""
        self.ready = True
        self._following = asyncio.ensure_future(self._follow(self.balancer.events()))

    async def _follow(self, subscription: Subscription) -> None:
        async for event in subscription:
            self._event_count += 1
            self._events.append((self._event_count, event_json(event)))

    async def stop(self) -> None:
        """Close everything; answers under way have half a second."""
        for sock in tuple(self._servers):
            self.unlisten(sock)
        self._streams.end()
        if self._following is not None:
            self._following.cancel()
            self._following = None
        runner, self._runner = self._runner, None
        if runner is not None:
            await runner.cleanup()

    def abandon(self) -> None:
        """In a forked child: let go of every descriptor, without a word to the other side."""
        fds = [sock.detach() for sock in self._servers]
        self._servers = {}
        if self._runner is not None and self._runner.server is not None:
            for protocol in self._runner.server.connections:
                transport = protocol.transport
                sock = transport.get_extra_info("socket") if transport is not None else None
                if sock is not None:
                    fds.append(sock.fileno())
        for fd in fds:
            if fd >= 0:
                os.close(fd)


class _Full(asyncio.Protocol):
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        transport = cast(asyncio.Transport, transport)      # (uvloop's is one in all but name)
        body = b'{"error":"too many connections are open","problems":[]}\n'
        transport.write(
            b"HTTP/1.1 503 Service Unavailable\r\ncontent-type: application/json\r\n"
            b"connection: close\r\ncontent-length: %d\r\n\r\n%s" % (len(body), body)
        )
        transport.close()
