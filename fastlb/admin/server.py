"""The HTTP server of the admin API, on the control loop."""

from __future__ import annotations

import asyncio
import collections
import logging
import os
import socket
import time
from typing import TYPE_CHECKING, Any

from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError
from aiohttp.typedefs import Handler, Middleware

from fastlb.admin import changing, networks, page, reading
from fastlb.admin.answers import Refusal
from fastlb.admin.guard import Guard
from fastlb.admin.probes import Probes, Reply
from fastlb.admin.streams import Streams, event_json
from fastlb.config.admin import EffectiveAdmin
from fastlb.config.limits import ADMIN_CONNECTIONS_MAX, ADMIN_REQUEST_S, FILE_BYTES_MAX
from fastlb.control.tasks import keep_going
from fastlb.observe.status import status

if TYPE_CHECKING:
    from fastlb.control.events import Subscription
    from fastlb.process.instance import Instance
    from fastlb.process.runtime import Runtime

EVENTS_KEPT = 100       # for who opens the dashboard later
KEEPALIVE_S = 75.0      # as browsers have it: a page that is looked at keeps its connection
END_S = 0.5             # for answers under way, when the process ends


http_log = logging.getLogger("fastlb.admin.http")


def _is_ours(record: logging.LogRecord) -> bool:
    """Whether a complaint of aiohttp's is about us. Whoever sends what is no HTTP, or leaves, is
    answered or gone, and can write as many lines into our log as there are requests."""
    error = record.exc_info[1] if record.exc_info else None
    return not isinstance(error, (
        HttpProcessingError, web.RequestPayloadError, ConnectionError, asyncio.TimeoutError))


http_log.addFilter(_is_ours)


class AdminServer:
    """Serves on sockets that somebody else has opened, and that it closes."""

    def __init__(self, instance: Instance) -> None:
        self._instance = instance
        self.ready = False              # all listeners are open
        self._streams = Streams(self)
        self._guard = Guard()
        self._probes = Probes(self._probed)
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
            *networks.routes(self),
            web.get("/events", self._streams.events), web.get("/stream", self._streams.status),
        ])
        self._runner = web.AppRunner(
            app, handle_signals=False, access_log=None, keepalive_timeout=KEEPALIVE_S,
            shutdown_timeout=END_S, handler_cancellation=True, logger=http_log,
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
        """A connection's protocol: aiohttp's, or where there are too many one for probes."""
        assert self._runner is not None and self._runner.server is not None
        if len(self._runner.server.connections) >= ADMIN_CONNECTIONS_MAX:
            return self._probes.accept()
        made = self._runner.server()
        self._silent.add(made)
        asyncio.get_running_loop().call_later(ADMIN_REQUEST_S, self._end_silent, made)
        return made

    def _end_silent(self, protocol: web.RequestHandler) -> None:
        if protocol in self._silent:
            self._silent.discard(protocol)
            if protocol.transport is not None:
                protocol.transport.abort()

    def _probed(self, path: str) -> Reply | None:
        """What a probe is told; None: this path needs a place of its own."""
        state = self.state()
        known = {"/healthz": (200, "ok"),
                 "/readyz": (200 if state == "serving" else 503, state)}
        if path not in known:
            return None
        status, word = known[path]
        return status, b'{"status":"%s"}\n' % word.encode()

    @property
    def _noted(self) -> Middleware:
        @web.middleware
        async def noted(request: web.Request, handler: Handler) -> web.StreamResponse:
            self._silent.discard(request.protocol)
            return await handler(request)

        return noted

    # --- what handlers ask ---

    def running(self) -> Instance:
        """The balancer, if it has begun. Else a Refusal."""
        if not self.ready:
            raise Refusal(503, "the process is starting", headers={"retry-after": "1"})
        return self._instance

    def runtime(self) -> Runtime:
        """Return what is running. Raises Refusal while the process starts."""
        return self.running().running()

    def status(self, age_s: float = 0) -> dict[str, Any]:
        """Everything that is counted; for many who look, one that may be so old."""
        runtime = self.runtime()
        now_s = time.monotonic()
        if self._looked is None or now_s - self._looked[0] >= age_s:
            self._looked = now_s, status(runtime)
        return self._looked[1]

    def state(self) -> str:
        """starting, serving or draining."""
        runtime = self._instance.runtime
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
        subscription = self._instance.events()
        self._following = keep_going(
            "keeping the last events", lambda: self._follow(subscription))

    async def _follow(self, subscription: Subscription) -> None:
        async for event in subscription:
            self._event_count += 1
            self._events.append((self._event_count, event_json(event)))

    async def stop(self) -> None:
        """Close everything; answers under way have half a second."""
        for sock in tuple(self._servers):
            self.unlisten(sock)
        self._streams.end()
        self._probes.end()
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
        transports = self._probes.transports()
        if self._runner is not None and self._runner.server is not None:
            for protocol in self._runner.server.connections:
                if protocol.transport is not None:
                    transports.append(protocol.transport)
        for transport in transports:
            sock = transport.get_extra_info("socket")
            if sock is not None:
                fds.append(sock.fileno())
        for fd in fds:
            if fd >= 0:
                os.close(fd)
