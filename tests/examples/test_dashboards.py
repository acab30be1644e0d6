"""Dashboards by team over server-sent events, and users on all their devices."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import httpx
from websockets.asyncio.client import connect

from tests.examples.conftest import Example
from tests.examples.event_source import Event, EventSource
from tests.flow.conftest import DEADLINE_S

Run = Callable[[str], Example]
TEAMS = [f"team-{i}" for i in range(8)]
VIEWERS = 3                     # of each team
FIGURES = 20


def browser(url: str) -> httpx.AsyncClient:
    return httpx.AsyncClient(base_url=url, trust_env=False, timeout=DEADLINE_S)


async def read(source: EventSource, n: int) -> list[str]:
    """The next `n` figures; then the viewer leaves, in the middle of the stream."""
    got = []
    stream = source.events()
    async for event in stream:
        assert event.type == "figure"
        got.append(event.data)
        if len(got) == n:
            break
    await stream.aclose()
    return got


def test_a_team_has_its_dashboards_where_it_talks(example: Run) -> None:
    chat = example("chat.toml")
    homes = {team: chat.who(f"/teams/{team}/messages", "POST") for team in TEAMS}

    async def main() -> None:
        async with browser(chat.url) as http:
            sources = [EventSource(http, f"/dashboards/{team}/events")
                       for team in TEAMS for _ in range(VIEWERS)]
            teams = [team for team in TEAMS for _ in range(VIEWERS)]

            async def post(team: str, begin: int, end: int) -> None:
                for i in range(begin, end):
                    await http.post(f"/teams/{team}/messages", content=f"{team}: {i}")

            def figures(team: str, begin: int, end: int) -> list[str]:
                return [f"{team}: {i}" for i in range(begin, end)]

            half = FIGURES // 2
            reading = [asyncio.create_task(read(one, 1 + half)) for one in sources]
            await asyncio.gather(*(post(team, 0, half) for team in TEAMS))
            got = await asyncio.wait_for(asyncio.gather(*reading), DEADLINE_S)
            for team, one in zip(teams, got, strict=True):      # ("": posted to find the home)
                assert one == ["", *figures(team, 0, half)]
            assert [one.server for one in sources] == [homes[team] for team in teams]
            # While they are away there is more, which only that server knows.
            await asyncio.gather(*(post(team, half, FIGURES) for team in TEAMS))
            got = await asyncio.wait_for(
                asyncio.gather(*(read(one, FIGURES - half) for one in sources)), DEADLINE_S)
            assert got == [figures(team, half, FIGURES) for team in teams]
            assert [one.server for one in sources] == [homes[team] for team in teams]

    asyncio.run(main())


def test_the_devices_of_a_user_meet(example: Run) -> None:
    chat = example("chat.toml")
    users = [f"user-{i}" for i in range(40)]
    homes = {user: chat.who(f"/users/{user}/settings") for user in users}
    assert len(set(homes.values())) == 3
    url = chat.url.replace("http://", "ws://")

    async def device(user: str) -> None:
        async with connect(f"{url}/users/{user}/socket", proxy=None, open_timeout=DEADLINE_S) as ws:
            assert ws.response is not None
            assert ws.response.headers["x-server"] == homes[user]
            for i in range(20):
                await ws.send(f"{user} {i}")
                assert await ws.recv() == f"{homes[user]}: {user} {i}"

    async def listen(user: str) -> None:
        """A stream for the browser; what another device sends comes out of it."""
        async with browser(chat.url) as http:
            source = EventSource(http, f"/users/{user}/events")
            got: list[Event] = []
            async with http.stream("GET", f"/users/{user}/events") as first:
                lines = first.aiter_lines()
                assert await anext(lines) == ": here"           # so that it is heard
                await http.post(f"/users/{user}/messages", content="mail")
                assert await anext(lines) == ""
                assert await anext(lines) == "data: mail"
                assert first.headers["x-server"] == homes[user]
                assert first.headers["cache-control"] == "no-store"

                async def all_of_it() -> None:
                    async for event in source.events():
                        got.append(event)

                reading = asyncio.create_task(all_of_it())
                await asyncio.wait_for(source.begun.wait(), DEADLINE_S)
                for text in ("1", "2", "end"):
                    await http.post(f"/users/{user}/messages", content=text)
                await asyncio.wait_for(reading, DEADLINE_S)
            assert got == [Event("message", "1"), Event("message", "2")]
            assert source.server == homes[user]

    async def main() -> None:
        await asyncio.gather(*(device(user) for user in users[:20] for _ in range(2)))
        await asyncio.gather(*(listen(user) for user in users[:4]))

    asyncio.run(main())
