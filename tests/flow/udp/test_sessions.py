"""Datagrams of a client go to one server, and its answers come back, as they were sent."""

from __future__ import annotations

import asyncio
import random
import socket

import pytest

import fastlb
from tests.flow.conftest import DEADLINE_S, wait_until
from tests.flow.udp.conftest import DATAGRAM_MAX, Make, Serve

pytestmark = pytest.mark.modes("poll")


def test_an_answer_comes_back(site: Make, serve: Serve) -> None:
    server = serve(lambda data: b"you said " + data)
    made = site([server.address])
    client = made.client()
    for word in (b"one", b"two", b""):
        assert made.ask(word, client) == b"you said " + word
    assert len(server.peers) == 1
    assert made.sessions == 1

    def counted() -> tuple[int, ...]:       # (an answer is counted after it was sent)
        stats = made.listener.stats()
        return tuple(stats[f"datagrams_{one}"] for one in ("in", "out", "dropped"))

    wait_until(lambda: counted() == (3, 3, 0), lambda: str(counted()))


@pytest.mark.parametrize("size", [0, 1, 2, 1472, 1473, 9000, 65_000, DATAGRAM_MAX])
def test_datagrams_of_every_size_stay_whole(site: Make, serve: Serve, size: int) -> None:
    made = site([serve().address])
    data = random.Random(size).randbytes(size)
    client = made.client()
    for _ in range(3):
        assert made.ask(data, client) == data


def test_a_client_keeps_its_server(site: Make, serve: Serve) -> None:
    a, b = serve(lambda data: b"a"), serve(lambda data: b"b")
    made = site([a.address, b.address])
    clients = [made.client() for _ in range(4)]
    first = [made.ask(b"x", client) for client in clients]
    assert sorted(first) == [b"a", b"a", b"b", b"b"]
    for _ in range(3):
        assert [made.ask(b"x", client) for client in clients] == first
    assert made.sessions == 4


def test_an_address_keeps_its_server_when_its_port_changes(site: Make, serve: Serve) -> None:
    servers = [serve(str(i).encode().__add__) for i in range(5)]
    made = site([s.address for s in servers], {"balance": "maglev", "hash_on": "client.ip"})
    for n in range(1, 20):
        host = f"127.0.1.{n}"
        assert len({made.ask(b"!", made.client(host)) for _ in range(4)}) == 1
    assert sum(1 for server in servers if server.heard) > 1


def test_a_session_ends_when_nothing_is_said(site: Make, serve: Serve) -> None:
    server = serve()
    made = site([server.address], idle_timeout="2h")
    client = made.client()
    for _ in range(4):                      # what is said keeps it
        made.advance("1h")
        assert made.ask(b"x", client) == b"x"
    made.advance("1h")
    assert made.sessions == 1 and len(server.peers) == 1
    made.advance("61m")
    made.wait_idle()
    wait_until(lambda: made.totals()["ended_done"] == 1)
    assert made.ask(b"again", client) == b"again"
    assert made.totals()["accepted"] == 2


def test_only_the_server_that_was_chosen_is_heard(site: Make, serve: Serve) -> None:
    server, stranger = serve(None), serve(None)
    made = site([server.address])
    client = made.client()
    client.send(b"hello")
    wait_until(lambda: len(server.heard) == 1)
    behind = server.heard[0][1]
    stranger.socket.sendto(b"spoofed", behind)
    server.socket.sendto(b"real", behind)
    assert client.recv(100) == b"real"
    client.settimeout(0.1)
    with pytest.raises(TimeoutError):
        client.recv(100)


def test_many_datagrams_at_once_stay_in_order(site: Make, serve: Serve) -> None:
    server = serve(None)
    made = site([server.address], receive_buffer_size="8MiB")
    client = made.client()
    sizes = random.Random(7)
    sent = [i.to_bytes(4, "big") + bytes(sizes.choice((0, 1, 96, 96, 96, 1400)))
            for i in range(400)]
    for data in sent:
        client.send(data)
    wait_until(lambda: len(server.heard) == len(sent), lambda: f"{len(server.heard)} came")
    assert [data for data, _ in server.heard] == sent
    assert not made.dropped()


def test_many_answers_at_once_stay_in_order(site: Make, serve: Serve) -> None:
    answers = [i.to_bytes(4, "big") + bytes(1200) for i in range(300)]
    made = site([serve(lambda data: answers).address])
    client = made.client()
    client.send(b"all of it")
    assert [client.recv(DATAGRAM_MAX) for _ in answers] == answers


def test_segments_of_one_send_are_datagrams_of_their_own(site: Make, serve: Serve) -> None:
    """What a sender hands to the kernel as one (UDP_SEGMENT) comes to us as one (UDP_GRO)."""
    server = serve(None)
    made = site([server.address])
    client = made.client()
    client.setsockopt(17, 103, 500)         # SOL_UDP, UDP_SEGMENT
    data = random.Random(1).randbytes(500 * 20 + 123)
    client.send(data)
    wait_until(lambda: len(server.heard) == 21)
    assert b"".join(part for part, _ in server.heard) == data
    assert {len(part) for part, _ in server.heard} == {500, 123}
    wait_until(lambda: made.listener.stats()["datagrams_in"] == 21)


def test_datagrams_that_are_heard_at_once_are_counted_one_by_one(serve: Serve) -> None:
    """Of two clients, in turns: the engine's loop hears none before all are here."""
    server = serve(None)

    async def main() -> None:
        balancer = fastlb.Balancer(threads=0)
        listener = balancer.listen(
            "udp://127.0.0.1:0", name="l", pool=balancer.pool("p", [server.address]))
        async with balancer:
            where = ("127.0.0.1", listener.port)
            with socket.socket(type=socket.SOCK_DGRAM) as a, \
                    socket.socket(type=socket.SOCK_DGRAM) as b:
                for i in range(20):
                    (a if i % 2 else b).sendto(b"%02d" % i, where)
                while len(server.heard) < 20:
                    await asyncio.sleep(0.001)
            stats = listener.stats()
            assert (stats["datagrams_in"], stats["datagrams_dropped"]) == (20, 0)

    asyncio.run(asyncio.wait_for(main(), DEADLINE_S))
    assert sorted(data for data, _ in server.heard) == [b"%02d" % i for i in range(20)]


@pytest.mark.parametrize("bind", ["udp://0.0.0.0:0", "udp://[::]:0"])
def test_answers_come_from_where_the_client_sent_to(
    site: Make, serve: Serve, bind: str
) -> None:
    if "[" in bind and not socket.has_ipv6:
        pytest.skip("there is no IPv6 here")
    made = site([serve().address], bind=bind)
    port = made.where[1]
    for host in ("::1",) if "[" in bind else ("127.0.0.1", "127.0.0.9", "127.3.2.1"):
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        with socket.socket(family, socket.SOCK_DGRAM) as client:
            client.settimeout(DEADLINE_S)
            client.sendto(b"x", (host, port))
            data, peer = client.recvfrom(100)
            assert data == b"x" and peer[:2] == (host, port)


def test_servers_of_ipv6(site: Make, serve: Serve) -> None:
    made = site([serve(host="::1").address])
    assert made.ask(b"six") == b"six"


def test_records_tell_of_sessions(site: Make, serve: Serve) -> None:
    server = serve()
    made = site([server.address], idle_timeout="10m")
    records = made.balancer.records()
    client = made.client()
    made.ask(b"12345", client)
    made.advance("11m")
    record = next(iter(records))
    records.close()
    assert (record.kind, record.listener, record.pool, record.server) == (
        "udp", "l", "p", server.address)
    assert (record.bytes_in, record.bytes_out, record.reason) == (5, 5, "done")
    assert (record.client_ip, record.client_port) == client.getsockname()
