"""A real ASGI application (uvicorn) behind us, and a real client (httpx)."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest
import uvicorn

from tests.flow.conftest import wait_until
from tests.flow.http.conftest import HttpSite

Web = Callable[..., HttpSite]


async def application(scope: dict[str, Any], receive: Any, send: Any) -> None:
    assert scope["type"] == "http"
    path = scope["path"]

    async def begin(status: int = 200, *headers: tuple[bytes, bytes]) -> None:
        await send({"type": "http.response.start", "status": status, "headers": list(headers)})

    async def body(data: bytes, more: bool = False) -> None:
        await send({"type": "http.response.body", "body": data, "more_body": more})

    if path == "/events":
        await begin(200, (b"content-type", b"text/event-stream"))
        for i in range(5):
            await body(b"id: %d\ndata: tick\n\n" % i, True)
            await application_may_go_on.wait()
            application_may_go_on.clear()
        await body(b"")
        return
    data = b""
    while True:
        message = await receive()
        data += message.get("body", b"")
        if not message.get("more_body"):
            break
    if path == "/stream":
        await begin()
        for i in range(100):
            await body(b"%d," % i * 100, True)
        await body(b"end")
        return
    seen = {
        "method": scope["method"], "path": path, "query": scope["query_string"].decode(),
        "client": scope["client"], "scheme": scope["scheme"], "size": len(data),
        "headers": {name.decode(): value.decode() for name, value in scope["headers"]},
    }
    text = json.dumps(seen).encode()
    await begin(200, (b"content-length", str(len(text)).encode()), (b"x-app", b"asgi"))
    await body(text)


application_may_go_on = asyncio.Event()


@pytest.fixture(scope="module")
def uvicorn_address() -> Iterator[str]:
    config = uvicorn.Config(application, port=0, log_level="error", forwarded_allow_ips="*",
                            lifespan="off", ws="none",
                            timeout_keep_alive=60)      # not to close under a slow machine's POST
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    wait_until(lambda: server.started)
    host, port = server.servers[0].sockets[0].getsockname()[:2]
    loop = server.servers[0].get_loop()
    application_let_go.append(lambda: loop.call_soon_threadsafe(application_may_go_on.set))
    yield f"{host}:{port}"
    server.should_exit = True
    thread.join()


application_let_go: list[Callable[[], object]] = []


@pytest.fixture
def client(web: Web, uvicorn_address: str) -> Iterator[httpx.Client]:
    site = web([uvicorn_address])
    with httpx.Client(base_url=site.site.listener.url, trust_env=False, timeout=30) as made:
        yield made


@pytest.mark.plain
def test_requests_of_every_method(client: httpx.Client) -> None:
    for method in ("GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"):
        got = client.request(method, "/a/b?c=d&e=%20", content=b"x" * 1000)
        seen = got.json()
        assert seen["method"] == method and seen["path"] == "/a/b" and seen["size"] == 1000
        assert seen["query"] == "c=d&e=%20" and got.headers["x-app"] == "asgi"
        assert seen["headers"]["x-forwarded-for"] == "127.0.0.1"
        assert seen["scheme"] == "http"
    assert client.head("/a").content == b""


@pytest.mark.plain
def test_uploads_of_any_size_and_framing(client: httpx.Client) -> None:
    for size in (0, 1, 65536, 5_000_000):
        assert client.post("/up", content=bytes(size)).json()["size"] == size
        pieces = (bytes(min(100_000, size - at)) for at in range(0, size, 100_000))
        assert client.post("/up", content=pieces).json()["size"] == size
    form = client.post("/up", files={"a": ("a.bin", bytes(300_000))})
    assert form.json()["size"] > 300_000


@pytest.mark.plain
def test_streams_arrive_whole(client: httpx.Client) -> None:
    expected = "".join(f"{i}," * 100 for i in range(100)) + "end"
    for _ in range(3):
        assert client.get("/stream").text == expected


@pytest.mark.plain
def test_events_arrive_as_they_are_sent(client: httpx.Client) -> None:
    with client.stream("GET", "/events") as stream:
        assert stream.headers["content-type"] == "text/event-stream"
        lines = stream.iter_lines()
        for i in range(5):
            assert [next(lines) for _ in range(3)] == [f"id: {i}", "data: tick", ""]
            application_let_go[-1]()    # the next one is not sent before this one is here


@pytest.mark.plain
def test_many_clients_at_once_get_their_own(client: httpx.Client) -> None:
    async def main() -> None:
        limits = httpx.Limits(max_connections=50)
        async with httpx.AsyncClient(base_url=str(client.base_url), trust_env=False, limits=limits,
                                     timeout=httpx.Timeout(30, pool=None)) as many:
            async def one(n: int) -> None:
                got = await many.post(f"/{n}", content=b"x" * (n * 37 % 30_000))
                assert got.json()["path"] == f"/{n}"
                assert got.json()["size"] == n * 37 % 30_000

            await asyncio.gather(*(one(n) for n in range(300)))

    asyncio.run(main())
