"""Real applications to balance: an ASGI one under uvicorn, which also speaks WebSocket."""

from __future__ import annotations

import asyncio
import json
import threading
from typing import Any

import uvicorn

DEADLINE_S = 30


class Application:
    """Says who it is and what it got; keeps teams that post, listen and talk."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.listeners: dict[str, list[asyncio.Queue[str]]] = {}
        self.said: dict[str, list[str]] = {}            # by team; a dashboard shows all of it

    async def __call__(self, scope: dict[str, Any], receive: Any, send: Any) -> None:
        if scope["path"].startswith("/dashboards/") and scope["type"] == "http":
            await self._dashboard(scope, receive, send)
        elif scope["type"] == "websocket":
            await self._socket(scope, receive, send)
        elif scope["path"].endswith("/events"):
            await self._events(scope, receive, send)
        else:
            await self._request(scope, receive, send)

    async def _request(self, scope: dict[str, Any], receive: Any, send: Any) -> None:
        data, more = b"", True
        while more:
            message = await receive()
            data += message.get("body", b"")
            more = message.get("more_body", False)
        if scope["path"].endswith("/messages"):
            team = scope["path"].split("/")[2]
            self.said.setdefault(team, []).append(data.decode())
            for queue in self.listeners.get(team, []):
                queue.put_nowait(data.decode())
        said = {
            "name": self.name, "method": scope["method"], "path": scope["path"],
            "headers": {k.decode(): v.decode() for k, v in scope["headers"]},
        }
        text = json.dumps(said).encode()
        headers = [(b"content-type", b"application/json")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": text})

    async def _events(self, scope: dict[str, Any], receive: Any, send: Any) -> None:
        queue: asyncio.Queue[str] = asyncio.Queue()
        team = self.listeners.setdefault(scope["path"].split("/")[2], [])
        team.append(queue)
        headers = [(b"content-type", b"text/event-stream"), (b"x-server", self.name.encode())]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": b": here\n\n", "more_body": True})
        try:
            while (text := await queue.get()) != "end":
                event = f"data: {text}\n\n".encode()
                await send({"type": "http.response.body", "body": event, "more_body": True})
            await send({"type": "http.response.body", "body": b""})
        finally:
            team.remove(queue)

    async def _dashboard(self, scope: dict[str, Any], receive: Any, send: Any) -> None:
        """Events with numbers: who comes back says which was the last that he got."""
        team = scope["path"].split("/")[2]
        last = int(dict(scope["headers"]).get(b"last-event-id", b"-1"))
        queue: asyncio.Queue[str] = asyncio.Queue()
        said = self.said.setdefault(team, [])
        missed = list(enumerate(said))[last + 1:]
        self.listeners.setdefault(team, []).append(queue)
        headers = [(b"content-type", b"text/event-stream"), (b"x-server", self.name.encode())]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        n = len(said)
        leaving = asyncio.create_task(_until_left(receive, queue))
        try:
            for i, text in missed:
                await send({"type": "http.response.body", "body": _event(i, text),
                            "more_body": True})
            while (text := await queue.get()) != "end":
                await send({"type": "http.response.body", "body": _event(n, text),
                            "more_body": True})
                n += 1
            await send({"type": "http.response.body", "body": b""})
        finally:
            leaving.cancel()
            self.listeners[team].remove(queue)

    async def _socket(self, scope: dict[str, Any], receive: Any, send: Any) -> None:
        assert (await receive())["type"] == "websocket.connect"
        await send({"type": "websocket.accept", "headers": [(b"x-server", self.name.encode())]})
        while (message := await receive())["type"] == "websocket.receive":
            await send({"type": "websocket.send", "text": f"{self.name}: {message['text']}"})


async def _until_left(receive: Any, queue: asyncio.Queue[str]) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
    queue.put_nowait("end")


def _event(i: int, text: str) -> bytes:
    return f"id: {i}\nevent: figure\ndata: {text}\n\n".encode()


class Servers:
    """Applications by name, each on a port of its own, on one loop in a thread."""

    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()
        self.thread = threading.Thread(target=self.loop.run_forever, daemon=True)
        self.thread.start()
        self.running: list[uvicorn.Server] = []

    def start(self, name: str) -> str:
        """Its address."""
        config = uvicorn.Config(Application(name), port=0, log_level="error", lifespan="off",
                                ws="websockets-sansio",
                                timeout_keep_alive=60)  # not to close under a slow machine's POST
        server = uvicorn.Server(config)
        server.capture_signals = _no_signals  # type: ignore[method-assign]

        async def begin() -> str:
            config.load()
            server.lifespan = config.lifespan_class(config)
            await server.startup()
            return "{}:{}".format(*server.servers[0].sockets[0].getsockname()[:2])

        address = asyncio.run_coroutine_threadsafe(begin(), self.loop).result(DEADLINE_S)
        self.running.append(server)
        return address

    def stop(self) -> None:
        async def end() -> None:
            for server in self.running:
                server.force_exit = True
                await server.shutdown()

        asyncio.run_coroutine_threadsafe(end(), self.loop).result(DEADLINE_S)
        self.loop.call_soon_threadsafe(self.loop.stop)
        self.thread.join()
        self.loop.close()


def _no_signals() -> Any:
    from contextlib import nullcontext

    return nullcontext()
