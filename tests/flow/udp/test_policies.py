"""A function of the program says where datagrams go."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import pytest

import fastlb
from fastlb.policy import Connection
from tests.flow.conftest import DEADLINE_S, wait_until
from tests.flow.udp.conftest import Make, Serve, Site


def of_kind(kind: str, decide: Any) -> Any:
    async def later(connection: Connection) -> Any:
        await asyncio.sleep(0)
        return decide(connection)

    return later if kind == "async" else decide


def test_the_first_datagram_decides(site: Make, serve: Serve) -> None:
    a, b = serve(lambda data: b"a"), serve(lambda data: b"b")
    seen: list[Any] = []

    def decide(connection: Connection) -> Any:
        seen.append((connection.data, connection.client, connection.local, connection.listener))
        servers = made.balancer.pools["p"].servers
        return servers[b.address if connection.data == b"to b" else a.address]

    made = site([a.address, b.address], policy=decide)
    client = made.client()
    assert made.ask(b"to b", client) == b"b"
    assert made.ask(b"to a", client) == b"b"        # the session is there
    assert made.ask(b"to a") == b"a"
    assert seen[0] == (b"to b", client.getsockname(), made.where, "l")
    assert len(seen) == 2


@pytest.mark.parametrize("later", ["async", "blocking"])
def test_a_datagram_waits_for_its_policy(serve: Serve, later: str) -> None:
    a, b = serve(lambda data: b"a" + data), serve(lambda data: b"b" + data)
    lb = fastlb.Balancer(threads=1)
    pool_a, pool_b = lb.pool("a", [a.address]), lb.pool("b", [b.address])
    listener = lb.listen("udp://127.0.0.1:0", name="l", pool=pool_a, idle_timeout="10m")

    def decide(connection: Connection) -> Any:
        return pool_b if connection.data.startswith(b"b") else None

    listener.route(blocking=later == "blocking", deadline="30s")(of_kind(later, decide))
    with lb.background():
        made = Site(lb, listener)
        big = b"b" + bytes(30_000)
        assert made.ask(big) == b"b" + big
        assert made.ask(b"else") == b"aelse"
        made.advance("11m")
        made.wait_idle()
        for client in made.clients:
            client.close()


def test_a_policy_may_drop_and_may_fail(site: Make, serve: Serve) -> None:
    server = serve()

    def decide(connection: Connection) -> Any:
        if connection.data == b"bad":
            return fastlb.Close()
        if connection.data == b"bug":
            raise RuntimeError("out of order")
        return None

    made = site([server.address], policy=decide)
    for data in (b"bad", b"bug"):
        made.client().send(data)
    made.wait_dropped("policy", 2)
    assert made.ask(b"good") == b"good"
    assert not made.counts()["chunks"]


def test_each_datagram_by_what_it_says(site: Make, serve: Serve) -> None:
    """As calls of SIP, many of which come from one address: each stays with its server."""
    servers = [serve(lambda data, i=i: b"%d" % i) for i in range(4)]

    def by_call(connection: Connection) -> Any:
        call = connection.data.partition(b"Call-ID: ")[2].partition(b"\r\n")[0]
        return made.balancer.pools["p"].hash(call.decode())

    made = site([s.address for s in servers], {"balance": "maglev"}, pick="datagram",
                policy=by_call)
    client = made.client()
    calls = [b"INVITE\r\nCall-ID: %d\r\n\r\n" % i for i in range(24)]
    first = [made.ask(call, client) for call in calls]
    assert len(set(first)) > 1
    assert [made.ask(call, client) for call in calls] == first
    assert [made.ask(call) for call in calls[:6]] == first[:6]     # from elsewhere, too
    wait_until(lambda: sum(len(s.heard) for s in servers) == 54)


@pytest.mark.parametrize("later", ["async", "blocking"])
def test_who_decides_about_each_datagram_can_not_be_waited_for(serve: Serve, later: str) -> None:
    lb = fastlb.Balancer(threads=1)
    pool = lb.pool("p", [serve().address])
    listener = lb.listen("udp://127.0.0.1:0", name="l", pool=pool, answers=1)
    listener.route(blocking=later == "blocking")(of_kind(later, lambda connection: None))
    with pytest.raises(fastlb.ConfigError, match="can't be waited for"), lb.background():
        pass


def test_a_listener_goes_while_a_policy_is_at_work(serve: Serve) -> None:
    server = serve()
    asked, go_on = threading.Event(), threading.Event()
    lb = fastlb.Balancer(threads=1)
    pool = lb.pool("p", [server.address])
    listener = lb.listen("udp://127.0.0.1:0", name="l", pool=pool)

    @listener.route(blocking=True, deadline="60s")
    def decide(connection: Connection) -> None:
        asked.set()
        go_on.wait(DEADLINE_S)

    with lb.background():
        made = Site(lb, listener)
        made.client().send(b"slow to decide about")
        assert asked.wait(DEADLINE_S)
        raw = {"listeners": {"other": {"bind": "udp://127.0.0.1:0", "pool": "p"}},
               "pools": {"p": {"servers": [server.address]}}}
        loop = lb._instance.running().loop
        assert loop is not None
        asyncio.run_coroutine_threadsafe(
            lb.reload(fastlb.Config.build(raw)), loop).result(DEADLINE_S)
        go_on.set()
        made.wait_dropped("policy", 1)
        made.wait_idle()
        for client in made.clients:
            client.close()
    assert not server.heard
