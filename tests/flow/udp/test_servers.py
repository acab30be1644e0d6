"""Servers that go: whose sessions move, and whose don't."""

from __future__ import annotations

import socket

import pytest

from tests.flow.conftest import DEADLINE_S, wait_until
from tests.flow.udp.conftest import Make, Serve
from tests.ports import free_port


def test_a_server_that_dies_loses_only_its_own(site: Make, serve: Serve) -> None:
    servers = [serve(lambda data, i=i: b"%d" % i) for i in range(3)]
    made = site([s.address for s in servers], {"balance": "maglev", "hash_on": "client.ip"},
                max_sessions_per_source=0)
    clients = [made.client(f"127.0.3.{i}") for i in range(1, 40)]
    before = [made.ask(b"x", client) for client in clients]
    assert set(before) == {b"0", b"1", b"2"}
    servers[1].close()
    for client, was in zip(clients, before, strict=True):
        if was != b"1":
            assert made.ask(b"x", client) == was
            continue
        client.settimeout(0.2)
        for _ in range(150):                # the datagram that finds out is lost
            client.send(b"x")
            try:
                assert client.recv(10) in (b"0", b"2")
                break
            except TimeoutError:
                continue
        else:
            pytest.fail("it didn't move")
        client.settimeout(DEADLINE_S)
    after = [made.ask(b"x", client) for client in clients]
    for was, now in zip(before, after, strict=True):
        assert now == was if was != b"1" else now in (b"0", b"2")
    for client in clients:
        client.close()
    assert made.balancer.pools["p"].stats()[servers[1].address]["connect_failures"] >= 1


def test_a_session_is_kept_where_that_is_wanted(site: Make, serve: Serve) -> None:
    a = serve(lambda data: b"a", port=free_port(socket.SOCK_DGRAM))
    b = serve(lambda data: b"b", port=free_port(socket.SOCK_DGRAM))
    made = site([a.address, b.address], on_server_down="keep")
    client = made.client()
    first = made.ask(b"x", client)
    server = {b"a": a, b"b": b}[first]
    port = server.port
    server.close()
    client.settimeout(0.2)
    for _ in range(3):
        client.send(b"x")
        with pytest.raises(TimeoutError):
            client.recv(10)
    # (None of them may be on its way still when there is a server again.)
    wait_until(lambda: sum(made.listener.stats()[f"datagrams_{one}"] for one in ("in", "dropped"))
               >= 4)
    client.settimeout(DEADLINE_S)
    again = serve(lambda data: first + b" again", port=port)
    assert made.ask(b"x", client) == first + b" again"
    assert len(again.heard) == 1 and made.sessions == 1


def test_who_drains_keeps_sessions_until_time_is_up(site: Make, serve: Serve) -> None:
    a, b = serve(lambda data: b"a"), serve(lambda data: b"b")
    made = site([a.address, b.address])
    client, other = made.client(), made.client()
    first, second = made.ask(b"x", client), made.ask(b"x", other)
    assert {first, second} == {b"a", b"b"}
    where = {b"a": a.address, b"b": b.address}
    pool = made.balancer.pools["p"]
    pool.servers[where[first]].drain()
    assert made.ask(b"x", client) == first
    assert made.ask(b"x") == second
    pool.servers[where[first]].disable("100ms")
    wait_until(lambda: made.totals()["ended_removed"] == 1)
    assert made.ask(b"x", client) == second
    for one in made.clients:
        one.close()


def test_nobody_is_there(site: Make, serve: Serve) -> None:
    gone = serve()
    address = gone.address
    gone.close()
    made = site([address])
    client = made.client()
    client.send(b"1")
    wait_until(lambda: made.balancer.pools["p"].stats()[address]["connect_failures"] == 1)
    assert made.balancer.pools["p"].servers[address].state == "failing"


def test_a_pool_without_servers_drops(site: Make, serve: Serve) -> None:
    made = site([])
    made.client().send(b"anybody?")
    made.wait_dropped("no_server", 1)
    wait_until(lambda: made.totals()["ended_no_server"] == 1)


def test_a_removed_server_keeps_its_sessions_until_it_is_cut(site: Make, serve: Serve) -> None:
    a, b = serve(lambda data: b"a"), serve(lambda data: b"b")
    made = site([a.address])
    client = made.client()
    assert made.ask(b"x", client) == b"a"
    made.balancer.pools["p"].set_servers([b.address], drain_timeout="10m")
    assert made.ask(b"x", client) == b"a"
    wait_until(lambda: made.ask(b"x") == b"b")
    assert made.ask(b"x", client) == b"a"
    made.advance("9m")
    assert made.ask(b"x", client) == b"a"
    made.advance("2m")
    wait_until(lambda: made.totals()["ended_removed"] >= 1)
    assert made.ask(b"x", client) == b"b"
    for one in made.clients:
        one.close()
