"""Sessions that no server has answered make room for newer ones, and never take TCP's."""

from __future__ import annotations

import logging
import socket
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest

import fastlb
from tests.flow.conftest import wait_until
from tests.flow.udp.conftest import Make, Serve, Site
from tests.flow.udp.test_hostile import spoofed

# (each engine ends sessions of its own)
one_engine = pytest.mark.parametrize("mode", ["thread"], indirect=True)


def evicted(made: Site) -> int:
    return made.totals()["ended_evicted"]


def turned_away(made: Site) -> int:
    """All that a flood has brought beyond the sessions that there are. In one batch of datagrams no
    session makes room for the next one: those are dropped."""
    return evicted(made) + made.dropped().get("sessions_full", 0)


@one_engine
def test_oldest_session_without_an_answer_makes_room(site: Make, serve: Serve) -> None:
    server = serve(lambda data: None if data == b"quiet" else data)
    made = site([server.address], max_sessions=3)
    answered = made.client()
    assert made.ask(b"x", answered) == b"x"
    quiet = [made.client() for _ in range(2)]
    for client in quiet:
        client.send(b"quiet")
    wait_until(lambda: made.sessions == 3)
    late = made.client()
    assert made.ask(b"late", late) == b"late"
    assert evicted(made) == 1 and made.sessions == 3
    assert made.ask(b"y", quiet[1]) == b"y"             # it was the newer one
    assert made.ask(b"z", answered) == b"z"
    assert made.totals()["accepted"] == 4               # nobody else began anew
    quiet[0].send(b"quiet")                             # and now all have been answered
    made.wait_dropped("sessions_full", 1)
    assert evicted(made) == 1


@one_engine
def test_queries_without_an_answer_make_room(site: Make, serve: Serve) -> None:
    made = site([serve(lambda data: None if data == b"quiet" else data).address],
                max_sessions=5, answers=1)
    client = made.client()
    for _ in range(5):
        client.send(b"quiet")
    wait_until(lambda: made.sessions == 5)
    for i in range(5):
        assert made.ask(b"%d" % i) == b"%d" % i
    assert evicted(made) >= 1 and not made.dropped()


def test_source_that_has_all_it_may_ends_nobody_elses_session(site: Make, serve: Serve) -> None:
    made = site([serve(None).address], max_sessions=3, max_sessions_per_source=2)
    made.client("127.0.2.1").send(b"x")
    wait_until(lambda: made.sessions == 1)
    loud = [made.client("127.0.2.2") for _ in range(4)]
    for client in loud:
        client.send(b"x")
    made.wait_dropped("source_full", 2)
    assert made.sessions == 3 and evicted(made) == 0


Both = Callable[..., tuple[Site, Any]]


@pytest.fixture
def both(serve: Serve) -> Iterator[Both]:
    """Makes a balancer with a listener of UDP and one of HTTP."""
    with ExitStack() as stack:
        def make(**keys: Any) -> tuple[Site, Any]:
            lb = fastlb.Balancer(threads=1, shutdown_timeout="10s", **keys)
            lb.listen("http://127.0.0.1:0", name="web",
                      routes=[{"name": "hello", "respond": {"body": "hello"}}])
            listener = lb.listen("udp://127.0.0.1:0", name="l", idle_timeout="10m",
                                 pool=lb.pool("p", [serve(None).address]))
            stack.enter_context(lb.background())
            return Site(lb, listener), lb.listeners["web"]

        yield make


def test_flood_of_udp_leaves_half_of_all_connections_to_tcp(
    both: Both, caplog: pytest.LogCaptureFixture
) -> None:
    made, web = both(max_connections=40)
    with caplog.at_level(logging.WARNING, "fastlb"):
        spoofed(made, 2_000, made.where[1])
        wait_until(lambda: turned_away(made) > 1_000, lambda: str(made.totals()))
        wait_until(lambda: "sessions have reached a limit" in caplog.text)
    wait_until(lambda: made.sessions == 20 and evicted(made) > 0)
    host, _, port = web.url.removeprefix("http://").rpartition(":")
    for _ in range(20):
        with socket.create_connection((host, int(port)), timeout=30) as client:
            client.sendall(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
            assert client.recv(100).startswith(b"HTTP/1.1 200")
    assert caplog.text.count("sessions have reached a limit") == 1
    assert made.balancer._instance.running().effective.sessions_max == 20
    end(made)


def test_sessions_of_the_process_are_bounded_by_a_key(both: Both) -> None:
    made, _ = both(max_connections=40, max_sessions=7)
    spoofed(made, 500, made.where[1])
    wait_until(lambda: turned_away(made) > 300, lambda: str(made.totals()))
    wait_until(lambda: made.sessions == 7 and evicted(made) > 0)
    end(made)


def end(made: Site) -> None:
    for server in made.balancer.pools["p"].servers.values():
        server.drain(0)
    wait_until(lambda: made.sessions == 0)
