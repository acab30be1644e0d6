"""Servers and clients of CoAP, by aiocoap, on one loop in a thread."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import AsyncIterator, Coroutine
from typing import Any, TypeVar

from aiocoap import CHANGED, GET, POST, Context, Message
from aiocoap.resource import ObservableResource, Resource, Site

from tests.flow.conftest import DEADLINE_S
from tests.ports import free_ports

T = TypeVar("T")


class Who(Resource):
    """Says which server this is, and how long what it was sent is."""

    def __init__(self, name: str) -> None:
        super().__init__()
        self.name = name

    async def render_get(self, request: Message) -> Message:
        return Message(payload=self.name.encode())

    async def render_post(self, request: Message) -> Message:
        return Message(code=CHANGED, payload=f"{self.name}: {len(request.payload)}".encode())


class Level(ObservableResource):
    """A number that observers are told of when it changes."""

    def __init__(self) -> None:
        super().__init__()
        self.value = 0

    async def render_get(self, request: Message) -> Message:
        return Message(payload=str(self.value).encode())

    def set(self, value: int) -> None:
        self.value = value
        self.updated_state()


class Coap:
    """`servers` are by their names, which are what they say."""

    def __init__(self, *names: str) -> None:
        self.loop = asyncio.new_event_loop()
        self.thread = threading.Thread(target=self.loop.run_forever, daemon=True)
        self.thread.start()
        self.ports = dict(zip(names, free_ports(len(names), socket.SOCK_DGRAM), strict=True))
        self.levels = {name: Level() for name in names}
        self.servers: dict[str, Context] = {}
        self.clients: list[Context] = []
        for name in names:
            site = Site()
            site.add_resource(["who"], Who(name))
            site.add_resource(["level"], self.levels[name])
            self.servers[name] = self.run(Context.create_server_context(
                site, bind=("127.0.0.1", self.ports[name]), transports=["udp6"]))

    def run(self, what: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(what, self.loop).result(DEADLINE_S)

    def client(self) -> Context:
        """With a port of its own."""
        self.clients.append(self.run(Context.create_client_context(transports=["udp6"])))
        return self.clients[-1]

    def ask(self, client: Context, url: str, payload: bytes | None = None) -> str:
        """What is answered; with a payload, to a POST."""
        message = Message(
            code=GET if payload is None else POST, payload=payload or b"", uri=url)

        async def answered() -> Message:
            return await client.request(message).response

        answer = self.run(answered())
        assert answer.code.is_successful(), answer
        return str(answer.payload.decode())

    def observe(self, client: Context, url: str) -> Observed:
        async def begin() -> Observed:
            return Observed(self, client.request(Message(code=GET, uri=url, observe=0)))

        return self.run(begin())

    def stop(self, name: str) -> None:
        self.run(self.servers.pop(name).shutdown())

    def close(self) -> None:
        for client in self.clients:
            self.run(client.shutdown())
        for name in [*self.servers]:
            self.stop(name)
        self.loop.call_soon_threadsafe(self.loop.stop)
        self.thread.join(DEADLINE_S)
        self.loop.close()


class Observed:
    """What an observer is told, one after the other."""

    def __init__(self, coap: Coap, request: Any) -> None:
        self.coap = coap
        self.request = request
        self.said: AsyncIterator[Message] = aiter(request.observation)

    def first(self) -> str:
        async def answered() -> Message:
            return await self.request.response

        return str(self.coap.run(answered()).payload.decode())

    def next(self) -> str:
        async def told() -> Message:
            return await anext(self.said)

        return str(self.coap.run(told()).payload.decode())

    def cancel(self) -> None:
        async def cancelled() -> None:
            self.request.observation.cancel()

        self.coap.run(cancelled())
