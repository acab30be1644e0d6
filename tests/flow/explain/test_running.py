"""Explanations of a balancer that serves: states as they are now, and nothing changes by asking."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

import fastlb
from tests.flow.conftest import Origin, Site, wait_until
from tests.flow.http.peers import HttpOrigin

Origins = Callable[..., HttpOrigin]


@pytest.fixture
def origins() -> Any:
    made: list[HttpOrigin] = []

    def make(name: str) -> HttpOrigin:
        made.append(HttpOrigin(None, name))
        return made[-1]

    yield make
    for one in made:
        one.close()


def test_a_connection_of_tcp(site: Callable[..., Site], origin: Origin) -> None:
    made = site([origin.address, "127.0.0.2:1"],
                pool={"balance": "ring_hash", "hash_on": "client.address"})
    client = made.connect()
    peer = "{}:{}".format(*client.getsockname())
    said = made.balancer.explain("GET", made.listener.url, client=peer)
    assert (said.mode, said.listener, said.pool) == ("tcp", "listener", "pool")
    assert said.live and said.pools[0].certain
    assert said.pools[0].key is not None and said.pools[0].key.on == "client.address"


def test_asking_takes_no_turn(site: Callable[..., Site], origins: Origins) -> None:
    all_ = [origins(name) for name in "abc"]
    made = site([one.address for one in all_], bind="http://127.0.0.1:0")
    for _ in range(5):
        expected = made.balancer.explain("GET", "/").server
        assert made.balancer.explain("GET", "/").server == expected
        before = served(all_)
        client = made.connect()
        client.sendall(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
        while client.recv(4096):
            pass
        after = served(all_)
        assert [name for name in after if after[name] != before[name]] == [expected]


def served(origins: list[HttpOrigin]) -> dict[str, int]:
    return {one.address: len(one.requests) for one in origins}


def test_states_are_those_of_now(site: Callable[..., Site], origins: Origins) -> None:
    addresses = [origins(name).address for name in "ab"]
    made = site(addresses, bind="http://127.0.0.1:0")
    servers = made.balancer.pools["pool"].servers
    servers[addresses[0]].drain()
    said = made.balancer.explain("GET", "/")
    assert {one.address: (one.state, one.share) for one in said.candidates} == {
        addresses[0]: ("draining", 0.0), addresses[1]: ("unchecked", 1.0)}
    assert said.server == addresses[1] and said.pools[0].certain
    servers[addresses[1]].disable()
    said = made.balancer.explain("GET", "/")
    assert (said.server, said.pools[0].why_none) == (None, "no server can be had")


def test_places_that_are_taken_count(site: Callable[..., Site], origin: Origin) -> None:
    made = site([{"address": origin.address, "max_connections": 1}])
    url = made.listener.url
    assert made.balancer.explain("GET", url).server == origin.address
    client, peer = made.pair(origin)
    said = made.balancer.explain("GET", url)
    assert (said.server, said.pools[0].why_none) == (None, "all servers are full")
    assert said.candidates[0].in_flight == 1
    client.close()
    peer.close()
    wait_until(lambda: made.balancer.explain("GET", url).server == origin.address, "still full")


def test_who_has_to_wait_waits(site: Callable[..., Site], origin: Origin) -> None:
    made = site([origin.address], pool={"limits": {"max_requests": 1, "max_pending": 1}})
    client, peer = made.pair(origin)
    for _ in range(3):                  # and takes nobody's place by being asked about
        said = made.balancer.explain("GET", made.listener.url)
        assert (said.server, said.pools[0].why_none) == (None, "waits for a place")
    assert made.balancer._instance.running().live.pools()[0].pending == 0
    client.close()
    peer.close()


@pytest.mark.plain
def test_a_cookie_that_binds(site: Callable[..., Site], origins: Origins) -> None:
    all_ = [origins(name) for name in "abc"]
    made = site([one.address for one in all_], bind="http://127.0.0.1:0",
                pool={"sticky": {"cookie": "c", "secret": "s" * 32}})
    client = made.connect()
    client.sendall(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
    answer = client.makefile("rb").read().decode()
    cookie = answer.partition("c=")[2].partition(";")[0].split("\r\n")[0]
    said = made.balancer.explain("GET", "/", headers={"Cookie": f"c={cookie}"})
    assert served(all_)[said.server or ""] == 1
    assert said.pools[0].sticky == f"bound to {said.server}" and said.pools[0].certain
    said = made.balancer.explain("GET", "/", headers={"Cookie": "c=other"})
    assert said.pools[0].sticky == "cookie c names no server of ours"


def test_after_a_stop_it_is_as_configured(origins: Origins) -> None:
    lb = fastlb.Balancer(threads=1)
    lb.listen("http://127.0.0.1:0", pool=lb.pool("p", [origins("a").address]))
    assert not lb.explain("GET", "/").live
    with lb.background():
        assert lb.explain("GET", "/").live
    assert not lb.explain("GET", "/").live


def test_a_policy_of_tcp_names_a_server(site: Callable[..., Site], origins: Origins) -> None:
    servers = [origins(name).address for name in "abc"]
    named: list[Any] = []

    def policy(connection: fastlb.Connection) -> Any:
        return named[0] if connection.data == b"second" else None

    made = site(servers, policy={"call": policy, "first_bytes": "100B"})
    named.append(made.balancer.pools["pool"].servers[servers[1]])
    for _ in range(3):
        said = made.balancer.explain("", made.listener.url, body="second", call_policy=True)
        assert said.server == servers[1] and said.pools[0].certain
    said = made.balancer.explain("", made.listener.url, body="other", call_policy=True)
    assert not said.pools[0].certain
