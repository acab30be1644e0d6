"""The same objects over the admin API as inside the process."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Callable
from typing import Any

import pytest

import fastlb
from fastlb import client
from fastlb.control.changes import Change
from tests.flow.admin.conftest import TOKEN, Admin
from tests.flow.conftest import DEADLINE_S, Origin, wait_until
from tests.flow.http.peers import HttpOrigin, get

Make = Callable[..., Admin]
Origins = Callable[..., HttpOrigin]
NOBODY = "127.0.0.1:1"


def names(kind: type) -> set[str]:
    return {name for name in dir(kind) if not name.startswith("_")}


@pytest.mark.parametrize(
    ("local", "remote", "apart"),
    [
        (fastlb.Pool, client.RemotePool, set()),
        (fastlb.RunningServer, client.RemoteServer, set()),
        (Change, client.RemoteChange, {"end", "fail"}),        # for the control plane
    ],
)
def test_the_remote_objects_have_the_same_names(
    local: type, remote: type, apart: set[str]
) -> None:
    assert names(local) - apart == names(remote)
    for name in names(remote):
        mine, theirs = getattr(local, name), getattr(remote, name)
        if inspect.isfunction(mine):
            assert list(inspect.signature(mine).parameters) == list(
                inspect.signature(theirs).parameters), name


def test_pools_and_servers_are_read(admin: Make, origins: Origins) -> None:
    origin = origins()
    running = admin([fastlb.Server(origin.address, weight=3)])
    remote = fastlb.connect(running.url)
    assert list(remote.pools) == ["api"]
    server = remote.pools["api"].servers[origin.address]
    assert (server.address, server.state, server.weight, server.in_flight) == (
        origin.address, "unchecked", 3, 0)
    assert running.web.ask(get("/")).status == 200
    wait_until(lambda: remote.pools["api"].stats()[origin.address]["requests"] == 1)
    wait_until(lambda: remote.listeners["web"]["requests"] == 1)
    (configured,) = remote.config["pools"]["api"]["servers"]
    assert (configured["address"], configured["weight"]) == (origin.address, 3)
    assert repr(server) == f"<RemoteServer api/{origin.address} unchecked>"


def test_servers_are_set_and_weighed(admin: Make, origins: Origins) -> None:
    a, b = origins(name="a"), origins(name="b")
    running = admin([a.address])
    pool = fastlb.connect(running.url).pools["api"]
    change = pool.set_servers([fastlb.Server(b.address, weight=2)], drain_timeout="1s")
    assert change.wait(DEADLINE_S) == 0 and change.done
    assert (change.added, change.kept, change.removed) == ((b.address,), (), (a.address,))
    assert running.web.ask(get("/")).body.startswith(b"b")
    server = pool.servers[b.address]
    server.weight = 5
    assert server.weight == 5 and running.balancer.pools["api"].servers[b.address].weight == 5
    assert pool.add(a.address).added == (a.address,)
    assert set(pool.servers) == {a.address, b.address}
    assert pool.remove(b.address).removed == (b.address,)
    pool.reset().wait(DEADLINE_S)
    assert set(pool.servers) == {a.address}


def test_draining_is_waited_for(admin: Make, origin: Origin) -> None:
    running = admin([origin.address], listen="tcp://127.0.0.1:0")
    inside, server_end = running.site.pair(origin)
    server = fastlb.connect(running.url).pools["api"].servers[origin.address]
    change = server.drain()
    assert server.state == "draining" and not change.done
    with pytest.raises(TimeoutError):
        change.wait(0.01)

    async def wait() -> int:
        await change
        waiting = asyncio.ensure_future(change.drained())
        inside.close()
        server_end.close()
        return await waiting

    assert asyncio.run(wait()) == 0
    server.enable()
    assert server.state == "up"
    server.disable()
    assert running.balancer.pools["api"].servers[origin.address].state == "maintenance"


def test_what_is_left_after_the_timeout_is_reset(admin: Make, origin: Origin) -> None:
    running = admin([origin.address], listen="tcp://127.0.0.1:0")
    inside, _ = running.site.pair(origin)
    server = fastlb.connect(running.url).pools["api"].servers[origin.address]
    assert server.drain("10ms").wait(DEADLINE_S) == 1
    with pytest.raises(ConnectionResetError):
        inside.recv(1)


@pytest.mark.parametrize("unix", [False, True])
def test_events_come_over(admin: Make, origin: Origin, tmp_path: Any, unix: bool) -> None:
    bind = f"http://unix:{tmp_path}/a" if unix else "http://127.0.0.1:0"
    running = admin([origin.address], bind=bind, token=TOKEN)
    remote = fastlb.connect(running.url, token=TOKEN)

    async def first() -> fastlb.Event:
        async for event in remote.events():
            return event
        raise AssertionError("no event")

    async def main() -> fastlb.Event:
        waiting = asyncio.ensure_future(first())
        while not waiting.done():           # the stream may not be open yet
            await asyncio.to_thread(remote.pools["api"].servers[origin.address].drain)
            await asyncio.to_thread(remote.pools["api"].servers[origin.address].enable)
        return await waiting

    event = asyncio.run(main())
    assert (event.pool, event.server) == ("api", origin.address)


def test_mistakes_are_the_same_as_inside(admin: Make) -> None:
    pool = fastlb.connect(admin([NOBODY]).url).pools["api"]
    with pytest.raises(fastlb.ConfigError) as told:
        pool.set_servers(["nowhere"])
    (problem,) = told.value.problems
    assert problem.path == "pools.api.servers[0]"
    with pytest.raises(ValueError, match=r"drain_timeout|timeout"):
        pool.set_servers([NOBODY], drain_timeout="5")


def test_a_wrong_token_is_told(admin: Make) -> None:
    running = admin([NOBODY], token=TOKEN)
    with pytest.raises(RuntimeError, match=r"a token is needed.*FASTLB_TOKEN"):
        fastlb.connect(running.url)
    assert fastlb.connect(running.url, token=TOKEN).status()["state"] == "serving"


def test_nobody_there_is_told() -> None:
    with pytest.raises(ConnectionError, match=r"nobody answers at http://127\.0\.0\.1:1"):
        fastlb.connect("http://127.0.0.1:1")
    with pytest.raises(fastlb.ConfigError, match="is not where an admin API is"):
        fastlb.connect("https://127.0.0.1:1")


def test_a_server_that_is_gone_is_told(admin: Make, origins: Origins) -> None:
    a, b = origins(), origins()
    pool = fastlb.connect(admin([a.address, b.address]).url).pools["api"]
    gone = pool.servers[a.address]
    pool.set_servers([b.address]).wait(DEADLINE_S)
    wait_until(lambda: list(pool.servers) == [b.address])
    with pytest.raises(RuntimeError, match="has no server"):
        gone.drain()
