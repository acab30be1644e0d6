"""A pool's limits: how much it gets at a time, and who waits for a place."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

import fastlb
from tests.flow.conftest import Origin, Site, reset, wait_until
from tests.flow.http.conftest import HttpSite
from tests.flow.http.peers import HttpOrigin, Message, Wire, answer, get

pytestmark = [pytest.mark.h2, pytest.mark.modes("threads")]

Web = Callable[..., HttpSite]


class Gatekeeper:
    """An origin that answers nobody before it is told to."""

    def __init__(self) -> None:
        self._open = threading.Semaphore(0)
        self._lock = threading.Lock()
        self.busy = self.busiest = 0
        self.origin = HttpOrigin(self._serve)

    def _serve(self, wire: Wire, request: Message) -> None:
        with self._lock:
            self.busy += 1
            self.busiest = max(self.busiest, self.busy)
        self._open.acquire()
        with self._lock:
            self.busy -= 1
        wire.send(answer(request.target.encode()))

    def let(self, n: int) -> None:
        self._open.release(n)

    @property
    def targets(self) -> list[str]:
        return [request.target for request in self.origin.requests]

    def wait_for(self, n: int) -> None:
        wait_until(lambda: len(self.origin.requests) >= n, f"{n} requests")


@pytest.fixture
def gatekeeper() -> Iterator[Gatekeeper]:
    made = Gatekeeper()
    yield made
    made.let(1000)
    made.origin.close()


def pending(site: HttpSite | Site) -> int:
    runtime = (site if isinstance(site, Site) else site.site).balancer._instance.runtime
    assert runtime is not None
    return sum(pool.pending for pool in runtime.live.pools())


def send(site: HttpSite, target: str, *fields: str) -> Wire:
    wire = site.client()
    wire.send(get(target, *fields))
    return wire


def test_a_pool_gets_so_much_at_a_time_and_no_more(web: Web, gatekeeper: Gatekeeper) -> None:
    site = web([gatekeeper.origin.address], pool={"limits": {"max_requests": 3}})
    wires = [send(site, f"/{i}") for i in range(3)]
    gatekeeper.wait_for(3)
    refused = site.ask(get("/4"))
    assert refused.status == 503 and refused["x-fastlb-error"] == "servers_full"
    assert refused["retry-after"] == "1"
    gatekeeper.let(3)
    assert {wire.response().status for wire in wires} == {200}
    gatekeeper.let(1)
    assert site.ask(get("/5")).status == 200
    assert gatekeeper.busiest == 3


@pytest.mark.parametrize("limit", ["pool", "server"])
def test_who_waits_is_served_in_turn(web: Web, gatekeeper: Gatekeeper, limit: str) -> None:
    server: Any = gatekeeper.origin.address
    limits: dict[str, Any] = {"max_pending": 10, "pending_timeout": "10m"}
    if limit == "pool":
        limits["max_requests"] = 2
    else:
        server = fastlb.Server(server, max_connections=2)
    site = web([server], pool={"limits": limits}, threads=1)
    wires = []
    for i in range(8):
        wires.append(send(site, f"/{i}"))
        gatekeeper.wait_for(min(i + 1, 2))
        wait_until(lambda i=i: pending(site) == max(0, i - 1))     # type: ignore[misc]
    for i in range(8):
        gatekeeper.let(1)
        gatekeeper.wait_for(min(8, i + 3))
    assert gatekeeper.targets == [f"/{i}" for i in range(8)]
    assert {wire.response().status for wire in wires} == {200}
    assert gatekeeper.busiest == 2 and pending(site) == 0


def test_the_queue_is_bounded(web: Web, gatekeeper: Gatekeeper) -> None:
    site = web([gatekeeper.origin.address],
               pool={"limits": {"max_requests": 1, "max_pending": 2, "retry_after": "7s",
                                "pending_timeout": "10m"}})
    wires = [send(site, "/0")]
    gatekeeper.wait_for(1)
    wires += [send(site, "/1"), send(site, "/2")]
    wait_until(lambda: pending(site) == 2)
    refused = site.ask(get("/3"))
    assert refused.status == 503 and refused["x-fastlb-error"] == "queue_full"
    assert refused["retry-after"] == "7"
    gatekeeper.let(3)
    assert {wire.response().status for wire in wires} == {200}


def test_nobody_waits_for_ever(web: Web, gatekeeper: Gatekeeper) -> None:
    site = web([gatekeeper.origin.address], pool={
        "limits": {"max_requests": 1, "max_pending": 2, "pending_timeout": "50ms"}})
    first = send(site, "/0")
    gatekeeper.wait_for(1)
    late = site.ask(get("/1"))
    assert late.status == 503 and late["x-fastlb-error"] == "pending_timeout"
    assert late["retry-after"] == "1"
    wait_until(lambda: pending(site) == 0)
    gatekeeper.let(1)
    assert first.response().status == 200


def test_who_waits_goes_to_a_server_that_comes_up(
    web: Web, gatekeeper: Gatekeeper, origins: Callable[..., HttpOrigin]
) -> None:
    """At once: nobody gives a place back meanwhile."""
    other = origins(name="other")
    site = web([fastlb.Server(gatekeeper.origin.address, max_connections=1),
                fastlb.Server(other.address, state="maintenance")],
               pool={"limits": {"max_pending": 5, "pending_timeout": "10m"}})
    first = send(site, "/0")
    gatekeeper.wait_for(1)
    waiting = send(site, "/1")
    wait_until(lambda: pending(site) == 1)
    site.site.balancer.pools["pool"].servers[other.address].enable()
    assert waiting.response().body.startswith(b"other")
    gatekeeper.let(1)
    assert first.response().status == 200


def test_who_waits_is_told_when_nobody_is_left(web: Web, gatekeeper: Gatekeeper) -> None:
    site = web([fastlb.Server(gatekeeper.origin.address, max_connections=1)],
               pool={"limits": {"max_pending": 5, "pending_timeout": "10m"}})
    first = send(site, "/0")
    gatekeeper.wait_for(1)
    waiting = send(site, "/1")
    wait_until(lambda: pending(site) == 1)
    site.site.balancer.pools["pool"].servers[gatekeeper.origin.address].disable()
    told = waiting.response()
    assert (told.status, told["x-fastlb-error"]) == (503, "no_server")
    gatekeeper.let(1)
    assert first.response().status == 200


def test_a_client_that_leaves_gives_up_its_turn(web: Web, gatekeeper: Gatekeeper) -> None:
    site = web([gatekeeper.origin.address], pool={
        "limits": {"max_requests": 1, "max_pending": 5, "pending_timeout": "10m"}})
    first = send(site, "/0")
    gatekeeper.wait_for(1)
    leaving, staying = send(site, "/1"), send(site, "/2")
    wait_until(lambda: pending(site) == 2)
    reset(leaving.sock)
    wait_until(lambda: pending(site) == 1)
    gatekeeper.let(2)
    assert first.response().status == staying.response().status == 200
    assert gatekeeper.targets == ["/0", "/2"]


def test_who_matters_more_comes_first(
    site: Callable[..., Site], gatekeeper: Gatekeeper
) -> None:
    config = fastlb.Config.model_validate({
        "listeners": {"web": {"bind": "http://127.0.0.1:0", "pool": "p", "routes": [
            {"name": "high", "match": {"path": "/high/*"}, "pool": "p", "priority": "high"},
            {"name": "low", "match": {"path": "/low/*"}, "pool": "p", "priority": "low"},
        ]}},
        "pools": {"p": {
            "servers": [gatekeeper.origin.address],
            "limits": {"max_requests": 1, "max_pending": 9, "pending_timeout": "10m"},
        }},
    })
    web = HttpSite(site([], config=config))
    wires = [send(web, "/0")]
    gatekeeper.wait_for(1)
    for n, target in enumerate(["/low/1", "/2", "/high/3", "/low/4", "/high/5", "/6"], 1):
        wires.append(send(web, target))
        wait_until(lambda n=n: pending(web) == n)                  # type: ignore[misc]
        time.sleep(0.002)               # (turns are told apart by the millisecond)
    for i in range(7):
        gatekeeper.let(1)
        gatekeeper.wait_for(min(7, i + 2))
    assert gatekeeper.targets[1:] == ["/high/3", "/high/5", "/2", "/6", "/low/1", "/low/4"]
    assert {wire.response().status for wire in wires} == {200}


def test_many_threads_keep_to_it_and_nobody_is_forgotten(gatekeeper: Gatekeeper) -> None:
    balancer = fastlb.Balancer(threads=4)
    pool = balancer.pool("p", [gatekeeper.origin.address], limits={
        "max_requests": 3, "max_pending": 1000, "pending_timeout": "10m"})
    listener = balancer.listen("http://127.0.0.1:0", name="web", pool=pool)
    with balancer.background():
        site = HttpSite(Site(balancer, listener))
        gatekeeper.let(100_000)
        statuses: list[int] = []

        def ask() -> None:
            wire = site.client()
            for i in range(40):
                wire.send(get(f"/{i}"))
                statuses.append(wire.response().status)
            wire.close()

        threads = [threading.Thread(target=ask) for _ in range(24)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert statuses == [200] * 24 * 40
        assert gatekeeper.busiest <= 3
        assert pending(site) == 0
        site.wait_idle()


@pytest.mark.plain
@pytest.mark.http1
def test_tcp_waits_too(site: Callable[..., Site], origin: Origin) -> None:
    made = site([fastlb.Server(origin.address, max_connections=1)],
                pool={"limits": {"max_pending": 1, "pending_timeout": "10m"}})
    first, upstream = made.pair(origin)
    second = made.connect()
    second.sendall(b"hello")
    wait_until(lambda: pending(made) == 1)
    third = made.connect()
    assert third.recv(10) == b""            # two wait at most: one has a place, and one waits
    first.close()
    assert upstream.recv(10) == b""
    upstream.close()
    assert origin.accept().recv(10) == b"hello"


def test_tcp_does_not_wait_for_ever(site: Callable[..., Site], origin: Origin) -> None:
    made = site([origin.address], pool={
        "limits": {"max_requests": 1, "max_pending": 1, "pending_timeout": "50ms"}})
    made.pair(origin)
    assert made.connect().recv(10) == b""
    wait_until(lambda: made.totals()["ended_pending_timeout"] == 1)
