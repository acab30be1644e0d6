"""Datagrams that are decided about one by one: those with one answer, and those with none."""

from __future__ import annotations

import select
import time

import pytest

from tests.flow.conftest import wait_until
from tests.flow.udp.conftest import Make, Serve


def test_each_query_gets_a_server_and_one_answer(site: Make, serve: Serve) -> None:
    a, b = serve(lambda data: b"a" + data), serve(lambda data: b"b" + data)
    made = site([a.address, b.address], answers=1)
    client = made.client()
    answers = [made.ask(b"%d" % i, client) for i in range(10)]
    assert sorted(answer[:1] for answer in answers) == [b"a"] * 5 + [b"b"] * 5
    assert [answer[1:] for answer in answers] == [b"%d" % i for i in range(10)]
    made.wait_idle()                    # nothing waits for idle_timeout
    assert made.totals()["accepted"] == 10


def test_a_second_answer_is_dropped(site: Make, serve: Serve) -> None:
    made = site([serve(lambda data: [b"1", b"2", b"3"]).address], answers=1)
    client = made.client()
    assert made.ask(b"?", client) == b"1"
    client.settimeout(0.1)
    with pytest.raises(TimeoutError):
        client.recv(10)
    made.wait_idle()


def test_queries_under_way_at_once_are_told_apart(site: Make, serve: Serve) -> None:
    server = serve(None)
    made = site([server.address], answers=1)
    client = made.client()
    for i in range(20):
        client.send(b"%d" % i)
    wait_until(lambda: len(server.heard) == 20)
    for data, peer in reversed(server.heard):
        server.socket.sendto(b"re " + data, peer)
    assert {client.recv(10) for _ in range(20)} == {b"re %d" % i for i in range(20)}


def test_a_query_without_an_answer_ends(site: Make, serve: Serve) -> None:
    made = site([serve(None).address], answers=1, idle_timeout="100ms")
    made.client().send(b"?")
    wait_until(lambda: made.totals()["ended_timeout"] == 1)
    made.wait_idle()


def test_a_query_to_nobody_ends_at_once(site: Make, serve: Serve) -> None:
    gone, there = serve(), serve()
    address = gone.address
    gone.close()
    made = site([address, there.address], answers=1)
    client = made.client()
    begun_s = time.monotonic()

    def lost() -> int:
        return int(made.balancer.pools["p"].stats()[address]["connect_failures"])

    for i in range(10):
        before = lost()
        client.send(b"%d" % i)
        wait_until(lambda n=before: lost() > n      # type: ignore[misc]
                   or bool(select.select([client], [], [], 0)[0]))
        if lost() == before:
            assert client.recv(10) == b"%d" % i
    # One finds out, and its server is left out for a second; then one of each thread looks again.
    assert 1 <= lost() <= 2 * (1 + time.monotonic() - begun_s)
    made.wait_idle()


def test_messages_without_answers_share_a_socket_for_each_server(
    site: Make, serve: Serve
) -> None:
    a, b = serve(None), serve(None)
    made = site([a.address, b.address], answers=0)
    clients = [made.client() for _ in range(6)]
    for i in range(60):
        clients[i % 6].send(b"line %02d" % i)
    wait_until(lambda: len(a.heard) + len(b.heard) == 60)
    assert len(a.heard) == len(b.heard) == 30
    assert {data for data, _ in a.heard + b.heard} == {b"line %02d" % i for i in range(60)}
    assert made.sessions <= 4               # 2 a thread
    a.socket.sendto(b"unasked", a.heard[0][1])
    made.wait_dropped("unasked", 1)


def test_each_datagram_of_a_client_is_decided_about(site: Make, serve: Serve) -> None:
    a, b = serve(lambda data: b"a"), serve(lambda data: b"b")
    made = site([a.address, b.address], pick="datagram")
    client = made.client()
    assert sorted(made.ask(b"x", client) for _ in range(6)) == [b"a"] * 3 + [b"b"] * 3
    assert made.sessions == 2 and len(a.peers) == len(b.peers) == 1
