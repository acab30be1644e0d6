"""Editors of a document see each other's edits in one order, on the server that it has."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from urllib.parse import parse_qs, urlsplit

from websockets.asyncio.client import ClientConnection, connect
from websockets.asyncio.server import ServerConnection, serve

from tests.examples.running import Running, Start
from tests.flow.conftest import DEADLINE_S

DOCUMENTS = [f"doc-{i}" for i in range(10)]
EDITORS = 3                     # of each document
EDITS = 10                      # of each editor


class Room:
    """A server of documents: gives edits numbers, and sends them to all who have it open."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.open: dict[str, list[ServerConnection]] = {}
        self.edits: dict[str, list[str]] = {}

    async def serve(self, ws: ServerConnection) -> None:
        assert ws.request is not None
        url = urlsplit(ws.request.path)
        given = parse_qs(url.query)
        document = given["doc_id"][0] if "doc_id" in given else url.path.split("/")[2]
        edits = self.edits.setdefault(document, [])
        others = self.open.setdefault(document, [])
        others.append(ws)
        await ws.send(json.dumps({"server": self.name, "edits": len(edits)}))
        try:
            async for edit in ws:
                edits.append(str(edit))
                text = json.dumps([len(edits) - 1, str(edit)])
                for other in list(others):
                    await other.send(text)
        finally:
            others.remove(ws)


class Editor:
    """An open document."""

    def __init__(self, ws: ClientConnection, home: str) -> None:
        self.ws = ws
        self.home = home
        self.seen: list[str] = []

    async def edit(self, who: str, n: int) -> None:
        for i in range(n):
            await self.ws.send(f"{who} writes {i}")

    async def read(self, n: int) -> None:
        while len(self.seen) < n:
            number, edit = json.loads(await asyncio.wait_for(self.ws.recv(), DEADLINE_S))
            assert number == len(self.seen)
            self.seen.append(edit)


@asynccontextmanager
async def opened(editor: Running, path: str, **headers: str) -> AsyncIterator[Editor]:
    url = editor.url("editor").replace("http://", "ws://")
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    async with connect(f"{url}{path}", additional_headers=named, proxy=None,
                       open_timeout=DEADLINE_S) as ws:
        yield Editor(ws, json.loads(await ws.recv())["server"])


def run(start: Start, test: Callable[[Running, AsyncExitStack], Awaitable[None]]) -> None:
    """The test, with the example in front of rooms of both tiers."""
    async def main() -> None:
        async with AsyncExitStack() as stack:
            servers: dict[str, list[str]] = {}
            for pool, n in (("standard", 3), ("premium", 2)):
                for i in range(n):
                    room = Room(f"{pool} {i}")
                    server = await stack.enter_async_context(serve(room.serve, "127.0.0.1", 0))
                    port = next(iter(server.sockets)).getsockname()[1]
                    servers.setdefault(pool, []).append(f"127.0.0.1:{port}")
            editor = start("documents.toml", servers)
            async with AsyncExitStack() as editors:
                await test(editor, editors)

    asyncio.run(main())


def test_all_edits_are_seen_in_one_order(start: Start) -> None:
    async def edit(editor: Running, stack: AsyncExitStack) -> None:
        for tier in ("", "premium"):
            for document in DOCUMENTS:
                header = {"x_team_tier": tier} if tier else {}
                query = f"tier={tier}&" if tier else ""
                open_by = [                     # programs say it in a header, browsers in the query
                    await stack.enter_async_context(
                        opened(editor, f"/docs/{document}/live", **header)
                        if i % 2 else opened(editor, f"/sync?{query}doc_id={document}"))
                    for i in range(EDITORS)
                ]
                assert len({one.home for one in open_by}) == 1
                assert open_by[0].home.startswith(tier or "standard")
                await asyncio.gather(
                    *(one.edit(f"{document} {i}", EDITS) for i, one in enumerate(open_by)),
                    *(one.read(EDITORS * EDITS) for one in open_by),
                )
                first = open_by[0].seen
                assert all(one.seen == first for one in open_by)
                for i in range(EDITORS):        # of each editor in his order
                    his = [text for text in first if text.startswith(f"{document} {i} ")]
                    assert his == [f"{document} {i} writes {n}" for n in range(EDITS)]

    run(start, edit)


def test_only_the_documents_of_a_server_that_leaves_move(start: Start) -> None:
    async def leave(editor: Running, stack: AsyncExitStack) -> None:
        documents = [f"doc-{i}" for i in range(40)]
        before = {one: await stack.enter_async_context(opened(editor, f"/docs/{one}/live"))
                  for one in documents}
        servers = list(editor.pool("standard").servers.values())
        servers[1].drain()
        moved = set()
        for document, was in before.items():
            async with opened(editor, f"/docs/{document}/live") as one, \
                    opened(editor, f"/sync?doc_id={document}") as other:
                assert one.home == other.home   # wherever it is now, they meet
                if was.home == "standard 1":
                    assert one.home in ("standard 0", "standard 2")
                    moved.add(document)
                else:
                    assert one.home == was.home
            await was.edit("who was there", 1)  # and who was there can finish
            await was.read(1)
        assert 0 < len(moved) < len(documents)

    run(start, leave)
