"""How many sessions there may be, and what is dropped: loops, servers nobody asked, strangers."""

from __future__ import annotations

import socket

from tests.flow.conftest import DEADLINE_S, wait_until
from tests.flow.udp.conftest import Make, Serve
from tests.ports import free_port


def test_there_are_no_more_sessions_than_allowed(site: Make, serve: Serve) -> None:
    server = serve()
    made = site([server.address], max_sessions=3)
    kept = [made.client() for _ in range(3)]
    for client in kept:
        assert made.ask(b"x", client) == b"x"
    late = made.client()
    for _ in range(5):
        late.send(b"let me in")
    made.wait_dropped("sessions_full", 5)
    for client in kept:                         # who is there isn't disturbed
        assert made.ask(b"y", client) == b"y"
    assert made.listener.stats()["datagrams_dropped"] == 5
    made.end()
    assert made.ask(b"now", late) == b"now"


def test_one_source_has_no_more_sessions_than_allowed(site: Make, serve: Serve) -> None:
    made = site([serve().address], max_sessions_per_source=2)
    for host in ("127.0.2.1", "127.0.2.2", "127.0.2.3"):
        for _ in range(2):
            assert made.ask(b"x", made.client(host)) == b"x"
        made.client(host).send(b"too many")
    made.wait_dropped("source_full", 3)
    made.end()
    for _ in range(2):
        assert made.ask(b"x", made.client("127.0.2.1")) == b"x"


def test_a_source_is_counted_while_others_end(site: Make, serve: Serve) -> None:
    """The table of sources loses nobody when those beside them leave it."""
    server = serve(None)
    made = site([server.address], max_sessions_per_source=1, answers=1, idle_timeout="10m")
    hosts = [f"127.0.{3 + n // 100}.{1 + n % 100}" for n in range(300)]
    for n, host in enumerate(hosts):
        made.client(host).send(b"%d" % n)
    wait_until(lambda: len(server.heard) == len(hosts))
    for data, peer in tuple(server.heard):
        if int(data) % 3:
            server.socket.sendto(b"over", peer)
    stay, gone = hosts[::3], hosts[1::3]
    wait_until(lambda: made.sessions == len(stay))
    for host in stay:
        made.client(host).send(b"too many")
    made.wait_dropped("source_full", len(stay))
    for host in gone:
        made.client(host).send(b"again")
    wait_until(lambda: made.sessions == len(stay) + len(gone))


def test_an_ipv6_site_is_one_source(site: Make, serve: Serve) -> None:
    made = site([serve().address], max_sessions_per_source=1, bind="udp://[::1]:0")
    assert made.ask(b"x") == b"x"
    made.client().send(b"too many")
    made.wait_dropped("source_full", 1)


def test_what_comes_from_ourselves_goes_round_no_further(site: Make) -> None:
    """A pool whose server is the listener."""
    port = free_port(socket.SOCK_DGRAM)
    made = site([f"127.0.0.1:{port}"], bind=f"udp://127.0.0.1:{port}")
    client = made.client()
    for _ in range(10):
        client.send(b"round and round")
    made.wait_dropped("loop", 10)
    assert made.sessions == 1


def test_a_server_that_nobody_asked_is_not_a_client(site: Make, serve: Serve) -> None:
    a, b = serve(), serve()
    made = site([a.address, b.address])
    for _ in range(3):
        a.socket.sendto(b"ping-pong", made.where)
    made.wait_dropped("from_server", 3)
    assert not a.heard and not b.heard and made.sessions == 0


def test_a_port_of_a_session_that_has_ended_is_anybodys(site: Make, serve: Serve) -> None:
    server = serve()
    made = site([server.address])
    made.ask(b"x")
    _, (host, port) = server.heard[0]
    made.end()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        client.bind((host, port))
        client.settimeout(DEADLINE_S)
        client.sendto(b"it's me", made.where)
        assert client.recv(100) == b"it's me"
    assert not made.dropped()


def test_datagrams_that_nobody_can_answer_are_dropped(site: Make, serve: Serve) -> None:
    """From port 0, which only a raw socket can send."""
    server = serve()
    made = site([server.address])
    port = made.where[1]
    data = b"spoofed"
    header = (0).to_bytes(2, "big") + port.to_bytes(2, "big") + (8 + len(data)).to_bytes(2, "big")
    with socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_UDP) as raw:
        raw.sendto(header + bytes(2) + data, ("127.0.0.1", 0))
    made.wait_dropped("loop", 1)
    assert not server.heard


def test_a_server_has_no_more_sessions_than_allowed(site: Make, serve: Serve) -> None:
    a, b = serve(lambda data: b"a"), serve(lambda data: b"b")
    made = site([{"address": a.address, "max_connections": 1}, b.address])
    answers = [made.ask(b"x") for _ in range(4)]
    assert sorted(answers) == [b"a", b"b", b"b", b"b"]
    made.end()
    wait_until(lambda: made.balancer.pools["p"].stats()[a.address]["in_flight"] == 0)
