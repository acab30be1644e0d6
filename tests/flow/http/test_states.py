"""Servers that somebody drains or takes out of use, and what is told of that."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Callable
from typing import Any

import pytest

import fastlb
from fastlb.control.events import WAITING_MAX, Events
from tests.flow.conftest import DEADLINE_S, Origin, Site, wait_until
from tests.flow.http.conftest import HttpSite
from tests.flow.http.peers import HttpOrigin, get

pytestmark = pytest.mark.h2

Web = Callable[..., HttpSite]
Origins = Callable[..., HttpOrigin]


def pool_of(site: Site) -> fastlb.Pool:
    return site.balancer.pools["pool"]


def who(site: HttpSite, n: int = 8) -> set[str]:
    return {made.body[:2].decode() if made.status == 200 else str(made.status)
            for made in (site.ask(get("/")) for _ in range(n))}


def test_drain_disable_and_enable(
    web: Web, origins: Origins, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "fastlb.health")
    a, b = origins(name="oa"), origins(name="ob")
    site = web([a.address, b.address])
    servers = pool_of(site.site).servers
    assert [servers[one.address].state for one in (a, b)] == ["unchecked", "unchecked"]
    assert who(site) == {"oa", "ob"}
    servers[a.address].drain()
    assert servers[a.address].state == "draining" and who(site) == {"ob"}
    servers[b.address].disable()
    assert servers[b.address].state == "maintenance" and who(site, 2) == {"503"}
    servers[a.address].enable()
    assert who(site) == {"oa"}
    servers[b.address].enable()
    assert who(site) == {"oa", "ob"}
    where = [f"pool pool: server {one.address}" for one in (a, b)]

    def told() -> list[str]:            # (of the pool there are lines, too)
        return [one for one in caplog.messages if one.startswith(tuple(where))]

    wait_until(lambda: len(told()) >= 4)
    assert told() == [
        f"{where[0]} is draining", f"{where[1]} is in maintenance",
        f"{where[0]} is to be used again", f"{where[1]} is to be used again",
    ]
    site.wait_idle()


@pytest.mark.http1
def test_what_is_under_way_goes_on(site: Callable[..., Site], origin: Origin) -> None:
    running = site([origin.address])
    client, server = running.pair(origin)
    pool_of(running).servers[origin.address].disable()
    client.sendall(b"still here")
    assert server.recv(100) == b"still here"
    assert pool_of(running).servers[origin.address].in_flight == 1
    late = running.connect()
    assert late.recv(1) == b""
    client.close()
    server.close()
    running.wait_idle()


def test_the_configuration_says_how_to_begin(web: Web, origins: Origins) -> None:
    a, b, c = origins(name="oa"), origins(name="ob"), origins(name="oc")
    site = web([
        {"address": a.address, "state": "maintenance"},
        {"address": b.address, "state": "draining"}, c.address,
    ])
    assert who(site) == {"oc"}
    states = {s.address: s.state for s in pool_of(site.site).servers.values()}
    assert states == {a.address: "maintenance", b.address: "draining", c.address: "up"}


def test_what_was_set_outlives_a_new_snapshot(web: Web, origins: Origins) -> None:
    a, b = origins(name="oa"), origins(name="ob")
    site = web([a.address, {"address": b.address, "state": "draining"}])
    servers = pool_of(site.site).servers
    servers[a.address].drain()
    servers[b.address].enable()
    runtime, loop = site.site.balancer._instance.runtime, site.site.balancer._instance._loop
    assert runtime is not None and loop is not None
    done = threading.Event()
    loop.call_soon_threadsafe(lambda: (runtime.update(), done.set()))
    if runtime.engines.inline:
        site.ask(get("/"))
    done.wait(DEADLINE_S)
    assert who(site) == {"ob"}


def test_nobody_looks_whether_a_server_in_maintenance_is_well(
    web: Web, origins: Origins
) -> None:
    a, b = origins(name="oa"), origins(name="ob")
    health = {"http": "/", "interval": "1h", "fast_interval": "1h", "timeout": "30s"}
    site = web([a.address, b.address], pool={"health": health})
    servers = pool_of(site.site).servers
    # More than an interval and what chance adds to it: one check of each, which is over on return.
    site.advance("2h")
    servers[a.address].disable()
    site.advance("1ms")                         # (one that was begun by then is over, too)
    before, of_b = len(a.requests), len(b.requests)
    assert before > 0
    for _ in range(3):
        site.advance("2h")
    assert len(a.requests) == before and len(b.requests) >= of_b + 3
    servers[a.address].enable()
    for _ in range(3):
        site.advance("2h")
    assert len(a.requests) >= before + 2


def test_servers_of_the_next_priority_step_in(web: Web, origins: Origins) -> None:
    first, spare = origins(name="oa"), origins(name="ob")
    site = web([{"address": spare.address, "priority": 1}, first.address])
    assert who(site) == {"oa"}
    pool_of(site.site).servers[first.address].disable()
    assert who(site) == {"ob"}
    pool_of(site.site).servers[first.address].enable()
    wait_until(lambda: who(site, 1) == {"oa"})
    assert who(site) == {"oa"}
    first.close()
    assert who(site) == {"ob"}


def test_near_servers_come_first(origins: Origins) -> None:
    near, far = [origins(name=f"n{i}") for i in range(3)], [origins(name=f"f{i}") for i in range(3)]
    balancer = fastlb.Balancer(threads=1, zone="here")
    pool = balancer.pool("pool", [
        *(fastlb.Server(one.address, zone="there") for one in far),
        *(fastlb.Server(one.address, zone="here") for one in near),
    ])
    listener = balancer.listen("http://127.0.0.1:0", pool=pool)
    with balancer.background():
        site = HttpSite(Site(balancer, listener))
        assert who(site, 12) == {"n0", "n1", "n2"}
        pool.servers[near[0].address].disable()     # 2 of 3 are 93 % of what is needed
        wait_until(lambda: who(site, 1) <= {"f0", "f1", "f2"})
        pool.servers[near[1].address].disable()     # 1 of 3: 47 %
        counts = [who(site, 1).pop()[0] for _ in range(300)]
        assert 0.33 < counts.count("n") / 300 < 0.61
        for one in near:
            pool.servers[one.address].enable()
        wait_until(lambda: all(who(site, 1) < {"n0", "n1", "n2"} for _ in range(30)))
        site.wait_idle()


def test_events(web: Web, origins: Origins) -> None:
    a, b = origins(name="oa"), origins(name="ob")
    site = web([a.address, b.address], pool={"outliers": {"consecutive_failures": 3}})
    balancer = site.site.balancer
    events = balancer.events()
    pool_of(site.site).servers[b.address].drain()
    addresses = a.address, b.address
    a.close()
    for _ in range(3):
        site.ask(get("/"))
    told: list[fastlb.Event] = []

    async def read() -> None:
        async for event in events:
            told.append(event)

    reader = threading.Thread(target=asyncio.run, args=(read(),))
    reader.start()
    wait_until(lambda: {(e.server, e.state) for e in told} >= {
        (addresses[1], "draining"), (addresses[0], "failing"), ("", "unserved")
    }, lambda: str(told))
    assert all(e.pool == "pool" and e.text and e.time > 1.6e9 for e in told)
    events.close()
    reader.join(DEADLINE_S)
    assert not reader.is_alive() and events.dropped == 0


def test_events_end_with_the_balancer() -> None:
    async def main() -> list[Any]:
        balancer = fastlb.Balancer(threads=0)
        balancer.pool("pool", ["127.0.0.1:1"])
        async with balancer:
            events = balancer.events()
            task = asyncio.ensure_future(_all(events))
            await asyncio.sleep(0.01)
        found = await asyncio.wait_for(task, DEADLINE_S)
        with pytest.raises(RuntimeError):
            balancer.events()
        return found

    assert asyncio.run(main()) == []


async def _all(events: Any) -> list[Any]:
    return [event async for event in events]


def test_a_slow_reader_of_events_loses_the_oldest() -> None:
    events = Events()
    reader = events.subscribe()
    for i in range(WAITING_MAX + 7):
        events.tell(logging.INFO, "p", f"s{i}", "up", "is up")
    events.end()
    told = asyncio.run(_all(reader))
    assert reader.dropped == 8 and len(told) == WAITING_MAX - 1     # (the end takes a place too)
    assert told[0].server == "s8" and told[-1].server == f"s{WAITING_MAX + 6}"


def test_a_new_server_begins_slowly(web: Web, origins: Origins) -> None:
    a = origins(name="oa")
    site = web([a.address], pool={"slow_start": "1h"})
    server = pool_of(site.site).servers[a.address]
    assert server.state == "unchecked"              # what was there from the start is warm
    server.drain()
    server.enable()
    assert server.state == "warming" and who(site, 2) == {"oa"}
