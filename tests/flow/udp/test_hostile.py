"""Floods from made-up sources, and datagrams that are no good: who is there loses nothing."""

from __future__ import annotations

import os
import random
import socket
import struct
import time

import pytest

from tests.flow.conftest import measures_memory, wait_until
from tests.flow.udp.conftest import Make, Serve, Site

FLOOD = 200_000


def spoofed(made: Site, n: int, port: int, seed: int = 1) -> None:
    """Datagrams of 127.0.0.0/8, each of another address, as only a raw socket can send them."""
    chance = random.Random(seed)
    data = b"flood"
    with socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW) as raw:
        for i in range(n):
            source = struct.pack("!I", 0x7F000000 | chance.randrange(1 << 16, 1 << 24))
            size = 8 + len(data)
            udp = struct.pack("!HHHH", chance.randrange(1024, 65536), port, size, 0) + data
            ip = struct.pack("!BBHHHBBH4s4s", 0x45, 0, 20 + size, 0, 0, 64, 17, 0, source,
                             socket.inet_aton("127.0.0.1"))
            raw.sendto(ip + udp, ("127.0.0.1", 0))
            if i % 500 == 0:
                time.sleep(0)


def resident_bytes() -> int:
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


@measures_memory
@pytest.mark.parametrize("mode", ["thread"], indirect=True)
def test_a_flood_of_made_up_sources_costs_nobody_else(site: Make, serve: Serve) -> None:
    server = serve()
    made = site([server.address], max_sessions=500, receive_buffer_size="64MiB")
    friend = made.client()
    assert made.ask(b"before", friend) == b"before"
    spoofed(made, 2_000, made.where[1])
    wait_until(lambda: made.sessions == 500, lambda: str(made.sessions))
    before = resident_bytes()
    for i in range(20):
        spoofed(made, FLOOD // 20, made.where[1], seed=i)
        assert made.ask(b"%d" % i, friend) == b"%d" % i
    wait_until(lambda: made.dropped().get("sessions_full", 0) > FLOOD // 2,
               lambda: str(made.dropped()))
    assert made.sessions == 500
    assert resident_bytes() - before < 32 << 20
    assert set(made.dropped()) <= {"sessions_full", "to_client"}


def test_a_flood_ends_with_nothing_left(site: Make, serve: Serve) -> None:
    server = serve()
    made = site([server.address], max_sessions=300)
    spoofed(made, 3_000, made.where[1])
    wait_until(lambda: is_over(made), lambda: str(made.counts()))
    assert made.ask(b"after") == b"after"


def is_over(made: Site) -> bool:
    made.advance("11m")         # (more than idle_timeout; what was heard after that needs another)
    return not any(made.counts().values())


@pytest.mark.parametrize("answers", [None, 0, 1])
def test_a_flood_where_each_is_decided_about(site: Make, serve: Serve, answers: int | None) -> None:
    keys = {} if answers is None else {"answers": answers}
    made = site([serve(None).address], max_sessions=100, pick="datagram", idle_timeout="300ms",
                **keys)
    spoofed(made, 2_000, made.where[1])
    wait_until(lambda: sum(made.dropped().values()) + made.listener.stats()["datagrams_in"] > 1500,
               lambda: str(made.dropped()))
    made.wait_idle()
    assert not any(one["in_flight"] for one in made.balancer.pools["p"].stats().values())


def test_a_server_that_floods_reaches_only_its_client(site: Make, serve: Serve) -> None:
    answers = [bytes([i % 256]) * (i % 1400) for i in range(500)]
    made = site([serve(lambda data: answers).address])
    loud, quiet = made.client(), made.client()
    loud.send(b"go")
    for i in range(20):
        quiet.send(b"%d" % i)
    got = [loud.recv(2000) for _ in range(400)]
    assert set(got) <= set(answers)


def test_many_clients_at_once(site: Make, serve: Serve) -> None:
    servers = [serve() for _ in range(3)]
    made = site([s.address for s in servers], max_sessions_per_source=0)
    clients = [made.client() for _ in range(300)]
    for round in range(3):
        for i, client in enumerate(clients):
            client.send(b"%d of %d" % (i, round))
        for i, client in enumerate(clients):
            assert client.recv(100) == b"%d of %d" % (i, round)
    assert made.sessions == 300 and not made.dropped()
