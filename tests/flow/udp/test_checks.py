"""Checks of servers of datagrams decide who gets sessions, those that there are as well."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.flow.conftest import Origin, wait_until
from tests.flow.silence import give_up
from tests.flow.udp.conftest import Make, Serve, Server, Site
from tests.ports import free_port

QUICK = {"interval": "30ms", "fast_interval": "20ms", "timeout": "30s", "rise": 1}
PING = {**QUICK, "udp": {"send": r"ping\xff", "expect": r"pong\xff"}, "fall": 2}


def says(
    name: bytes, well: Callable[[], bool] = lambda: True, silent: Callable[[], None] | None = None
) -> Callable[[bytes], bytes | None]:
    """Says its name before what it is sent, and when it is asked that it is well, or nothing:
    `silent` is called then."""
    def answer(data: bytes) -> bytes | None:
        if data != b"ping\xff":
            return name + data
        if well():
            return b"I say pong\xff\0"
        assert silent is not None
        silent()
        return None

    return answer


def down(site: Site, address: str) -> bool:
    return site.balancer._instance.running().live.server("p", address).down


def is_silent(made: Site, server: Server) -> None:
    give_up(made.balancer, ("127.0.0.1", server.port))


def test_a_server_that_does_not_answer_checks_gets_no_sessions(site: Make, serve: Serve) -> None:
    """Those that it had go on to the other one, until it answers again."""
    well = [True]
    a = serve(says(b"a", lambda: well[0], lambda: is_silent(made, a)))
    b = serve(says(b"b"))
    made = site([a.address, b.address], pool={"health": PING})
    clients = [made.client() for _ in range(4)]
    assert sorted(made.ask(b"1", client) for client in clients) == [b"a1", b"a1", b"b1", b"b1"]
    well[0] = False
    wait_until(lambda: down(made, a.address))
    assert {made.ask(b"2", client) for client in (*clients, made.client())} == {b"b2"}
    well[0] = True
    wait_until(lambda: not down(made, a.address))
    assert {made.ask(b"3") for _ in range(2)} == {b"a3", b"b3"}


def test_a_server_that_is_gone_is_down_before_clients_ask(site: Make, serve: Serve) -> None:
    a, b = serve(says(b"a")), serve(says(b"b"))
    made = site([a.address, b.address], pool={"health": {**PING, "fall": 1000}})
    wait_until(lambda: bool(a.heard and b.heard))
    a.close()
    wait_until(lambda: down(made, a.address))
    assert not down(made, b.address)
    assert {made.ask(b"1") for _ in range(4)} == {b"b1"}


def test_when_all_are_down_datagrams_are_dropped(site: Make, serve: Serve) -> None:
    well = [True]
    a = serve(says(b"a", lambda: well[0], lambda: is_silent(made, a)))
    made = site([a.address], pool={"health": PING})
    well[0] = False
    wait_until(lambda: down(made, a.address))
    client = made.client()
    client.send(b"1")
    made.wait_dropped("no_server", 1)
    assert b"1" not in [data for data, _ in a.heard] and made.sessions == 0
    well[0] = True
    wait_until(lambda: not down(made, a.address))
    assert made.ask(b"2", client) == b"a2"


def test_a_port_of_tcp_tells_of_a_server_of_datagrams(site: Make, serve: Serve) -> None:
    """Which is sent nothing by checks."""
    a, b = serve(says(b"a")), serve(says(b"b"), host="127.0.0.2")
    port = free_port()
    beside, other = (Origin(where=(host, port)) for host in ("127.0.0.1", "127.0.0.2"))
    made = site([a.address, b.address], pool={"health": {**QUICK, "tcp": True, "port": port}})
    for one in (beside, other):
        one.accept()
    assert {made.ask(b"1") for _ in range(2)} == {b"a1", b"b1"}
    beside.close()
    wait_until(lambda: down(made, a.address))
    assert {made.ask(b"2") for _ in range(4)} == {b"b2"}
    assert b"ping\xff" not in [data for data, _ in (*a.heard, *b.heard)]
    other.close()


def test_answers_to_checks_are_no_answers_of_sessions(site: Make, serve: Serve) -> None:
    """Each has sockets of its own, and clients hear nothing of checks."""
    a = serve(says(b"a"))
    made = site([a.address], pool={"health": PING})
    client = made.client()
    assert made.ask(b"1", client) == b"a1"
    before = len(a.heard)
    wait_until(lambda: len(a.heard) >= before + 5)
    session, = {peer for data, peer in a.heard if data == b"1"}
    checks = {peer for data, peer in a.heard if data == b"ping\xff"}
    assert session not in checks
    assert made.ask(b"2", client) == b"a2"
    client.setblocking(False)
    with pytest.raises(BlockingIOError):
        client.recv(100)
