"""Connection limits, idle timeouts, and who gets the next connection."""

from __future__ import annotations

import collections
import socket
from collections.abc import Callable

import pytest

from tests.flow.conftest import DEADLINE_S, Origin, Site, read_exactly, wait_until

Make = Callable[..., Site]


@pytest.mark.plain
def test_a_full_listener_lets_the_next_client_wait(site: Make, origin: Origin) -> None:
    made = site([origin.address], max_connections=2)
    first, _ = made.pair(origin)
    made.pair(origin)
    third = made.connect()          # the kernel takes it into the queue
    third.sendall(b"patience")
    origin.listener.settimeout(0.2)
    with pytest.raises(TimeoutError):
        origin.accept()
    assert made.listener.stats()["in_flight"] == 2
    first.close()
    origin.listener.settimeout(DEADLINE_S)
    for server in origin.accepted:
        server.close()
    server = origin.accept()
    assert read_exactly(server, 8) == b"patience"
    origin.close()


def test_a_full_server_is_passed_over(site: Make) -> None:
    a, b = Origin(), Origin()
    made = site([{"address": a.address, "max_connections": 1}, b.address])
    held = [made.connect() for _ in range(5)]
    for _ in range(4):
        b.accept()
    a.accept()
    a.listener.settimeout(0.1)
    with pytest.raises(TimeoutError):
        a.accept()
    assert len(held) == 5
    assert made.balancer._instance.runtime is not None
    a.close()
    b.close()


def test_the_client_is_closed_when_all_servers_are_full(site: Make, origin: Origin) -> None:
    made = site([{"address": origin.address, "max_connections": 1}])
    client, server = made.pair(origin)
    assert made.connect().recv(1) == b""
    wait_until(lambda: made.totals()["ended_servers_full"] == 1)
    client.close()
    server.close()
    made.wait_idle()
    made.pair(origin)
    origin.close()


def test_an_idle_relay_is_reset_after_its_timeout(site: Make, origin: Origin) -> None:
    made = site([origin.address], idle_timeout="2h")
    client, server = made.pair(origin)
    for _ in range(4):              # not idle: every byte starts the time again
        made.advance("1h")
        client.sendall(b".")
        assert server.recv(1) == b"."
    made.advance("1h")
    assert made.totals()["ended_idle"] == 0
    made.advance("61m")
    with pytest.raises(ConnectionResetError):
        client.recv(1)
    with pytest.raises(ConnectionResetError):
        server.recv(1)
    wait_until(lambda: made.totals()["ended_idle"] == 1)


def test_round_robin_takes_turns_by_weight(site: Make) -> None:
    origins = [Origin() for _ in range(3)]
    weights = (5, 1, 1)
    made = site(
        [{"address": o.address, "weight": w} for o, w in zip(origins, weights, strict=True)]
    )
    clients = [made.connect() for _ in range(14)]
    seen = collections.Counter[int]()

    def accept_all() -> bool:
        for i, peer in enumerate(origins):
            peer.listener.setblocking(False)
            try:
                while True:
                    peer.accept()
                    seen[i] += 1
            except BlockingIOError:
                pass
        return seen.total() == len(clients)

    wait_until(accept_all)
    assert [seen[i] for i in range(3)] == [10, 2, 2]
    for peer in origins:
        peer.close()


def test_a_server_of_weight_0_gets_nothing(site: Make) -> None:
    a, b = Origin(), Origin()
    made = site([{"address": a.address, "weight": 0}, b.address])
    for _ in range(4):
        made.pair(b)
    a.listener.setblocking(False)
    with pytest.raises(BlockingIOError):
        a.accept()
    a.close()
    b.close()


@pytest.mark.plain
def test_ring_hash_keeps_a_client_ip_with_its_server(site: Make) -> None:
    origins = [Origin() for _ in range(4)]
    made = site([o.address for o in origins], pool={"balance": "ring_hash"})
    host, _, port = made.listener.url.removeprefix("tcp://").rpartition(":")
    chosen: dict[str, set[int]] = collections.defaultdict(set)
    for _ in range(3):
        for last in range(1, 17):
            ip = f"127.0.0.{last}"
            client = socket.create_connection((host, int(port)), source_address=(ip, 0))
            made.clients.append(client)
            client.sendall(ip.encode() + b"\n")
            chosen[ip].add(_who_got(origins, ip))
    assert all(len(servers) == 1 for servers in chosen.values()), chosen
    assert len({next(iter(s)) for s in chosen.values()}) > 1
    for peer in origins:
        peer.close()


def _who_got(origins: list[Origin], text: str) -> int:
    found: list[int] = []

    def look() -> bool:
        for i, peer in enumerate(origins):
            peer.listener.setblocking(False)
            try:
                server = peer.accept()
            except BlockingIOError:
                continue
            assert read_exactly(server, len(text) + 1) == text.encode() + b"\n"
            found.append(i)
        return bool(found)

    wait_until(look)
    return found[0]


@pytest.mark.plain
def test_ring_hash_moves_only_the_clients_of_a_server_that_is_gone(site: Make) -> None:
    origins = [Origin() for _ in range(3)]
    servers = [o.address for o in origins]
    made = site(servers, pool={"balance": "ring_hash"})
    host, _, port = made.listener.url.removeprefix("tcp://").rpartition(":")

    def ask_all() -> dict[str, int]:
        chosen = {}
        for last in range(1, 25):
            ip = f"127.0.0.{last}"
            client = socket.create_connection((host, int(port)), source_address=(ip, 0))
            made.clients.append(client)
            client.sendall(ip.encode() + b"\n")
            chosen[ip] = _who_got([o for o in origins if o.listener.fileno() >= 0], ip)
        return chosen

    before = {ip: servers[i] for ip, i in ask_all().items()}
    origins.pop(0).close()
    alive = [o.address for o in origins]
    after = {ip: alive[i] for ip, i in ask_all().items()}
    assert {ip for ip in before if before[ip] != after[ip]} == {
        ip for ip in before if before[ip] == servers[0]
    }
    for peer in origins:
        peer.close()
