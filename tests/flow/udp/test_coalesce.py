"""Datagrams that wait a little for those that follow (`coalesce`): none of them alone, and none for
long."""

from __future__ import annotations

import socket
from typing import Any

import pytest

from tests.flow.conftest import DEADLINE_S, wait_until
from tests.flow.udp.conftest import DATAGRAM_MAX, Make, Serve
from tests.flow.udp.test_reload import reload

SOL_UDP, UDP_GRO = 17, 104


# (poll(2) knows no time so short)
@pytest.mark.parametrize("mode", ["thread", "threads", "inline"], indirect=True)
def test_what_follows_leaves_together(site: Make) -> None:
    """As one message of the kernel, which a socket with UDP_GRO is handed as it is."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
        server.bind(("127.0.0.1", 0))
        server.setsockopt(SOL_UDP, UDP_GRO, 1)
        server.settimeout(DEADLINE_S)
        made = site([f"127.0.0.1:{server.getsockname()[1]}"], coalesce="10ms")
        client = made.client()
        for round in range(200):        # (a busy machine may come late for some)
            client.send(b"first")
            assert server.recv(DATAGRAM_MAX) == b"first"
            sent = [bytes([round, i]) * 50 for i in range(20)]
            for data in sent:
                client.send(data)
            heard: list[bytes] = []
            while sum(map(len, heard)) < 2000:
                heard.append(server.recv(DATAGRAM_MAX))
            assert b"".join(heard) == b"".join(sent)
            if len(heard) <= 2:         # (a rest may end between two of them)
                break
        else:
            raise AssertionError("each left alone")


@pytest.mark.parametrize("coalesce", ["1us", "300us", "10ms"])
def test_all_arrive_and_are_answered_in_order(site: Make, serve: Serve, coalesce: str) -> None:
    server = serve()
    made = site([server.address], coalesce=coalesce)
    clients = [made.client() for _ in range(3)]
    for n in range(30):
        for client in clients:
            assert made.ask(b"%d" % n, client) == b"%d" % n
    sent = [i.to_bytes(4, "big") + bytes(i % 700) for i in range(300)]
    for data in sent:
        for client in clients:
            client.send(data)
    for client in clients:
        assert [client.recv(DATAGRAM_MAX) for _ in sent] == sent
    assert made.dropped() == {} and len(server.peers) == 3


def test_others_of_the_engine_go_on(site: Make, serve: Serve, origin: Any) -> None:
    """A connection of tcp, while datagrams come without end."""
    server = serve(None)
    made = site([server.address], coalesce="10ms")
    raw = made.balancer.config.model_dump(exclude_unset=True)
    raw["listeners"]["t"] = {"bind": "tcp://127.0.0.1:0", "pool": "t"}
    pools = {**raw["pools"], "t": {"servers": [origin.address]}}
    reload(made, listeners=raw["listeners"], pools=pools)
    url = made.balancer.listeners["t"].url
    client = made.client()
    with socket.create_connection(("127.0.0.1", int(url.rpartition(":")[2])), DEADLINE_S) as tcp:
        other = origin.accept()
        for n in range(20):
            client.send(b"%d" % n)
            tcp.sendall(b"ping")
            assert other.recv(4) == b"ping"
        other.close()
    wait_until(lambda: [data for data, _ in server.heard] == [b"%d" % n for n in range(20)])


def test_it_is_changed_while_a_listener_rests(site: Make, serve: Serve) -> None:
    server = serve()
    made = site([server.address], coalesce="10ms")
    client = made.client()
    for n, coalesce in enumerate(["0s", "10ms", "100us", "0s", "10ms"]):
        assert made.ask(b"a%d" % n, client) == b"a%d" % n
        client.send(b"b%d" % n)
        reload(made, listener={"coalesce": coalesce})
        assert client.recv(100) == b"b%d" % n
    assert len(server.peers) == 1


def test_what_waits_is_sent_when_its_listener_goes(site: Make, serve: Serve) -> None:
    server = serve()
    made = site([server.address], coalesce="10ms")
    client = made.client()
    assert made.ask(b"one", client) == b"one"
    client.send(b"two")
    reload(made, listeners={"other": {"bind": "udp://127.0.0.1:0", "pool": "p"}})
    assert client.recv(100) == b"two"
    client.close()
