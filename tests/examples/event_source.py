"""A client of server-sent events, as browsers have it (WHATWG HTML, 9.2)."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from typing import NamedTuple

import httpx


class Event(NamedTuple):
    type: str
    data: str


class EventSource:
    """Reads a stream; begun anew, it says what it had got."""

    def __init__(self, client: httpx.AsyncClient, path: str) -> None:
        self.client = client
        self.path = path
        self.last_id = ""
        self.server = ""                # that had the stream last
        self.begun = asyncio.Event()

    async def events(self) -> AsyncGenerator[Event, None]:
        headers = {"accept": "text/event-stream", "cache-control": "no-store"}
        if self.last_id:
            headers["last-event-id"] = self.last_id
        async with self.client.stream("GET", self.path, headers=headers) as answer:
            assert answer.status_code == 200
            assert answer.headers["content-type"] == "text/event-stream"
            self.server = answer.headers["x-server"]
            self.begun.set()
            kind, data = "", list[str]()
            async for line in answer.aiter_lines():
                if not line:
                    if data:
                        yield Event(kind or "message", "\n".join(data))
                    kind, data = "", []
                    continue
                name, _, value = line.partition(":")
                value = value.removeprefix(" ")
                if name == "event":
                    kind = value
                elif name == "data":
                    data.append(value)
                elif name == "id":
                    self.last_id = value
