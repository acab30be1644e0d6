"""Servers and weights that are set while the balancer runs."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable

import pytest

import fastlb
from tests.flow.conftest import DEADLINE_S, Origin, Site, read_exactly, wait_until
from tests.flow.http.conftest import HttpSite
from tests.flow.http.peers import HttpOrigin, get

pytestmark = [pytest.mark.h2, pytest.mark.modes("threads", "inline")]

Web = Callable[..., HttpSite]
Origins = Callable[..., HttpOrigin]


def pool_of(site: Site) -> fastlb.Pool:
    return site.balancer.pools["pool"]


def who(site: HttpSite, n: int = 8) -> set[str]:
    return {made.body[:2].decode() if made.status == 200 else str(made.status)
            for made in (site.ask(get("/")) for _ in range(n))}


def test_servers_are_replaced_in_one_step(web: Web, origins: Origins) -> None:
    a, b, c = origins(name="oa"), origins(name="ob"), origins(name="oc")
    site = web([a.address, b.address])
    change = pool_of(site.site).set_servers([b.address, fastlb.Server(c.address, weight=2)])
    assert change.wait(DEADLINE_S) == 0
    assert (change.added, change.kept, change.removed) == (
        (c.address,), (b.address,), (a.address,))
    assert who(site) == {"ob", "oc"}
    servers = pool_of(site.site).servers
    assert {name: one.weight for name, one in servers.items()} == {b.address: 1, c.address: 2}


@pytest.mark.http1
def test_who_was_there_stays(site: Callable[..., Site], origin: Origin) -> None:
    other = Origin()
    running = site([origin.address])
    client, server = running.pair(origin)
    change = pool_of(running).set_servers([other.address])
    wait_until(lambda: "holds" in repr(change))         # (engines go by it)
    assert list(pool_of(running).servers) == [other.address]
    late = running.connect()
    other.accept().sendall(b"b")
    assert read_exactly(late, 1) == b"b"
    client.sendall(b"still here")
    assert read_exactly(server, 10) == b"still here" and not change.done
    with pytest.raises(TimeoutError):
        change.wait(0.01)
    server.close()
    client.close()
    assert change.wait(DEADLINE_S) == 0
    other.close()


@pytest.mark.http1
def test_what_is_left_after_the_timeout_is_reset(
    site: Callable[..., Site], origin: Origin
) -> None:
    other = Origin()
    running = site([origin.address])
    client, server = running.pair(origin)
    change = pool_of(running).set_servers([other.address], drain_timeout="50ms")
    with pytest.raises(ConnectionResetError):
        client.recv(1)
    with pytest.raises(ConnectionResetError):
        server.recv(1)
    assert change.wait(DEADLINE_S) == 1 == change.reset
    wait_until(lambda: running.totals()["ended_removed"] == 1)
    other.close()


@pytest.mark.http1
def test_one_that_comes_back_is_not_reset(site: Callable[..., Site], origin: Origin) -> None:
    other = Origin()
    running = site([origin.address], idle_timeout="1h")
    client, server = running.pair(origin)
    gone = pool_of(running).set_servers([other.address], drain_timeout="10m")
    pool_of(running).set_servers([other.address, origin.address]).wait(DEADLINE_S)
    running.advance("11m")
    assert gone.wait(DEADLINE_S) == 0
    client.sendall(b"x")
    assert read_exactly(server, 1) == b"x"
    assert pool_of(running).servers[origin.address].state == "up"
    other.close()


@pytest.mark.http1
def test_drain_waits_and_resets_like_a_removal(
    site: Callable[..., Site], origin: Origin
) -> None:
    running = site([origin.address])
    client, _ = running.pair(origin)
    change = pool_of(running).servers[origin.address].drain()
    assert not change.done
    client.close()
    origin.accepted[0].close()
    assert change.wait(DEADLINE_S) == 0
    pool_of(running).servers[origin.address].enable().wait(DEADLINE_S)
    again, _ = running.pair(origin)
    assert pool_of(running).servers[origin.address].disable(timeout=0.05).wait(DEADLINE_S) == 1
    with pytest.raises(ConnectionResetError):
        again.recv(1)


def test_weights_hold_until_they_are_reset(web: Web, origins: Origins) -> None:
    a, b = origins(name="oa"), origins(name="ob")
    site = web([a.address, b.address])
    pool = pool_of(site.site)
    pool.servers[a.address].set_weight(0).wait(DEADLINE_S)
    assert who(site) == {"ob"} and pool.servers[a.address].weight == 0
    runtime = site.site.balancer._instance.runtime
    assert runtime is not None
    assert runtime.overlay.as_json() == {"pool": {"weights": {a.address: 0}}}
    pool.reset().wait(DEADLINE_S)
    assert who(site) == {"oa", "ob"} and runtime.overlay.as_json() == {}
    with pytest.raises(ValueError, match="from 0 to 256"):
        pool.servers[a.address].weight = 257


def test_add_and_remove(web: Web, origins: Origins) -> None:
    a, b = origins(name="oa"), origins(name="ob")
    site = web([{"address": a.address, "weight": 3}])
    pool = pool_of(site.site)
    pool.servers[a.address].set_weight(5).wait(DEADLINE_S)
    assert pool.add(b.address).wait(DEADLINE_S) == 0
    assert who(site) == {"oa", "ob"} and pool.servers[a.address].weight == 5
    pool.remove(a.address).wait(DEADLINE_S)
    assert who(site) == {"ob"}
    with pytest.raises(KeyError):
        pool.remove(a.address)


def test_mistakes_change_nothing(web: Web, origins: Origins) -> None:
    a = origins(name="oa")
    site = web([a.address])
    with pytest.raises(fastlb.ConfigError) as caught:
        pool_of(site.site).set_servers(["10.0.0.1", "10.0.0.2:70000"])
    assert [one.path for one in caught.value.problems] == [
        "pools.pool.servers[0]", "pools.pool.servers[1]"]
    with pytest.raises(ValueError, match="drain_timeout"):
        pool_of(site.site).set_servers([a.address], drain_timeout="soon")
    assert who(site) == {"oa"}


def test_a_pool_is_filled_before_the_start() -> None:
    balancer = fastlb.Balancer(threads=1)
    pool = balancer.pool("pool", ["127.0.0.1:1"])
    change = pool.set_servers(["127.0.0.1:2", "127.0.0.1:1"])
    assert change.done and (change.added, change.kept) == (("127.0.0.1:2",), ("127.0.0.1:1",))
    assert [one.address for one in balancer.config.pools["pool"].servers] == [
        "127.0.0.1:2", "127.0.0.1:1"]


def test_names_are_resolved_before_the_old_ones_go(web: Web, origins: Origins) -> None:
    a, b = origins(name="oa"), origins(name="ob")
    site = web([a.address])
    port = b.address.rpartition(":")[2]
    pool_of(site.site).set_servers([f"localhost:{port}"]).wait(DEADLINE_S)
    assert who(site) == {"ob"}


def test_many_changes_under_load_lose_nothing(web: Web, origins: Origins, mode: int) -> None:
    made = [origins(name=f"o{i}") for i in range(3)]
    site = web([made[0].address])
    pool = pool_of(site.site)
    stopped = threading.Event()
    bad: list[int] = []

    def ask() -> None:
        while not stopped.is_set():
            status = site.ask(get("/")).status
            if status != 200:
                bad.append(status)

    clients = [threading.Thread(target=ask) for _ in range(3)]
    for one in clients:
        one.start()
    for i in range(1000 if mode == 2 else 100):
        change = pool.set_servers([made[i % 3].address, made[(i + 1) % 3].address])
        if i % 10 == 0:
            change.wait(DEADLINE_S)
    change.wait(DEADLINE_S)
    stopped.set()
    for one in clients:
        one.join()
    assert bad == []
    runtime = site.site.balancer._instance.runtime
    assert runtime is not None
    site.wait_idle()
    assert len([one for one in runtime.live.servers() if not one.removed]) == 2
    wait_until(lambda: len(runtime.retired) == 0, "old snapshots are kept")


def test_what_was_known_is_not_looked_at_again(web: Web, origins: Origins) -> None:
    a = origins(name="oa")
    site = web([a.address])
    pool = pool_of(site.site)
    many = [f"127.0.0.2:{port}" for port in range(1, 100)]
    pool.set_servers([*many, fastlb.Server(a.address, weight=5)]).wait(DEADLINE_S)
    pool.set_servers([fastlb.Server(a.address, weight=5), *many[:2]]).wait(DEADLINE_S)
    assert {name: one.weight for name, one in pool.servers.items()} == {
        a.address: 5, many[0]: 1, many[1]: 1}
    for bad in ([many[0], many[0]], [many[0], "127.0.0.2"]):
        with pytest.raises(fastlb.ConfigError) as caught:
            pool.set_servers(bad)
        assert caught.value.problems[0].path == "pools.pool.servers[1]"
    assert pool.set_servers([a.address]).wait(DEADLINE_S) == 0
    assert who(site, 2) == {"oa"}


def test_from_another_loop() -> None:
    balancer = fastlb.Balancer(threads=1)
    pool = balancer.pool("pool", ["127.0.0.1:1"])
    balancer.listen("tcp://127.0.0.1:0", pool=pool)

    async def change() -> None:
        change = await pool.set_servers(["127.0.0.1:2"])
        assert list(pool.servers) == ["127.0.0.1:2"]
        assert await change.drained() == 0

    with balancer.background():
        asyncio.run(change())
    with pytest.raises(RuntimeError):
        _ = pool.servers
