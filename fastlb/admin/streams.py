"""What goes on for as long as somebody listens: server-sent events."""

from __future__ import annotations

import asyncio
import dataclasses
import json
from collections.abc import Awaitable
from typing import TYPE_CHECKING, Any

from aiohttp import web

from fastlb.admin.answers import Refusal
from fastlb.config.limits import ADMIN_REQUEST_S, ADMIN_STREAMS_MAX

if TYPE_CHECKING:
    from fastlb.admin.server import AdminServer
    from fastlb.control.events import Event

BEAT_S = 1.0            # between looks at the status
SILENCE_S = 15.0        # then a comment is sent, so that who has gone is noticed


class Streams:
    """Open streams, so many at most. A reader that takes nothing for 10 s is cut off."""

    def __init__(self, server: AdminServer) -> None:
        self._server = server
        self._tasks: set[asyncio.Task[Any]] = set()

    def end(self) -> None:
        for task in tuple(self._tasks):
            task.cancel()

    async def _open(self, request: web.Request) -> web.StreamResponse:
        if len(self._tasks) >= ADMIN_STREAMS_MAX:
            raise Refusal(503, f"{ADMIN_STREAMS_MAX} streams are open, and more can't be")
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        made = web.StreamResponse(
            headers={"cache-control": "no-store", "x-content-type-options": "nosniff",
                     "x-accel-buffering": "no"}
        )
        made.content_type = "text/event-stream"
        made.charset = "utf-8"
        await made.prepare(request)
        return made

    async def events(self, request: web.Request) -> web.StreamResponse:
        """GET /events: each change of a server or a pool, as it happens."""
        subscription = self._server.running().events()
        try:
            made = await self._open(request)
            await _send(made, "hello", {"dropped": 0})
            told = 0
            arrival = asyncio.ensure_future(subscription.__anext__())
            try:
                while True:
                    done, _ = await asyncio.wait({arrival}, timeout=SILENCE_S)
                    if not done:
                        await _within(made.write(b": still here\n\n"))
                        continue
                    try:
                        event = arrival.result()
                    except StopAsyncIteration:
                        return made
                    if subscription.dropped != told:
                        told = subscription.dropped
                        await _send(made, "dropped", {"dropped": told})
                    await _send(made, "event", event_json(event))
                    arrival = asyncio.ensure_future(subscription.__anext__())
            finally:
                arrival.cancel()
        finally:
            subscription.close()

    async def status(self, request: web.Request) -> web.StreamResponse:
        """GET /stream: the status once a second, and the events that the last second had."""
        self._server.running()
        made = await self._open(request)
        seen = 0
        while True:
            seen, recent = self._server.recent(seen)
            await _send(made, "status", {**self._server.status(BEAT_S / 2), "events": recent})
            await asyncio.sleep(BEAT_S)


def event_json(event: Event) -> dict[str, Any]:
    return dataclasses.asdict(event)


async def _send(made: web.StreamResponse, kind: str, data: dict[str, Any]) -> None:
    text = json.dumps(data, ensure_ascii=False, separators=(",", ":"))
    await _within(made.write(f"event: {kind}\ndata: {text}\n\n".encode()))


async def _within(writing: Awaitable[None]) -> None:
    try:
        await asyncio.wait_for(writing, ADMIN_REQUEST_S)
    except (asyncio.TimeoutError, TimeoutError):
        raise ConnectionResetError("the reader takes nothing") from None
