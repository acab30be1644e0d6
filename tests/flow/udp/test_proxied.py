"""The PROXY protocol of datagrams: of proxies in front, and to servers."""

from __future__ import annotations

import socket
import struct
from typing import Any

import pytest

from tests.flow.conftest import DEADLINE_S, wait_until
from tests.flow.udp.conftest import Make, Serve

SIGNATURE = b"\r\n\r\n\0\r\nQUIT\n"
TRUSTED = {"trusted": ["127.0.0.0/8"]}


def header(source: tuple[str, int], to: tuple[str, int], tlvs: bytes = b"",
           command: int = 0x21) -> bytes:
    """Version 2, of a datagram over IPv4 (doc/proxy-protocol.txt, 2.2)."""
    body = (socket.inet_aton(source[0]) + socket.inet_aton(to[0])
            + struct.pack("!HH", source[1], to[1]) + tlvs)
    return SIGNATURE + bytes([command, 0x12]) + struct.pack("!H", len(body)) + body


def mapped_header(ip: str, port: int) -> bytes:
    """A header over IPv6 whose addresses are IPv4 ones in their mapped form (RFC 4291, 2.5.5.2)."""
    mapped = b"\0" * 10 + b"\xff\xff"
    body = (mapped + socket.inet_aton(ip) + mapped + socket.inet_aton("127.0.0.1")
            + struct.pack("!HH", port, 53))
    return SIGNATURE + b"\x21\x22" + struct.pack("!H", len(body)) + body


def test_clients_are_who_a_trusted_proxy_says(site: Make, serve: Serve) -> None:
    servers = [serve(lambda data, i=i: b"%d" % i + data) for i in range(4)]
    made = site([s.address for s in servers], {"balance": "maglev", "hash_on": "client.ip"},
                proxy_protocol=TRUSTED)
    records = made.balancer.records()
    proxy = made.client()
    by_client: dict[int, set[bytes]] = {}
    for round in range(3):
        for n in range(1, 20):
            said = header((f"192.0.2.{n}", 4000 + round), made.where) + b"hello"
            answer = made.ask(said, proxy)
            assert answer[1:] == b"hello"
            by_client.setdefault(n, set()).add(answer[:1])
    assert all(len(answers) == 1 for answers in by_client.values())
    assert len(set.union(*by_client.values())) > 1
    assert made.sessions == 57              # one for each client, though one socket sends for all
    made.end()
    wait_until(lambda: not made.sessions)
    told = records.wait(DEADLINE_S)
    assert told
    assert {record.client_ip for record in told} <= {f"192.0.2.{n}" for n in range(1, 20)}
    records.close()


def test_a_mapped_source_is_the_same_source(site: Make, serve: Serve) -> None:
    """Each client counts by itself, in either form of its address."""
    made = site([serve().address], proxy_protocol=TRUSTED, max_sessions_per_source=2)
    proxy = made.client()
    for n in range(1, 5):                   # no more than two of each, and four of two sources
        header_of = header if n % 2 else (lambda where, to: mapped_header(*where))
        for ip in ("192.0.2.1", "192.0.2.2"):
            said = header_of((ip, 4000 + n), ("127.0.0.1", 53)) + b"hello"
            if n <= 2:
                assert made.ask(said, proxy) == b"hello"
            else:
                proxy.send(said)
    made.wait_dropped("source_full", 4)
    assert made.sessions == 4


@pytest.mark.parametrize("keys", [{}, {"pick": "datagram"}, {"answers": 1}], ids=str)
def test_a_policy_sees_a_mapped_source_in_its_plain_form(
    site: Make, serve: Serve, keys: dict[str, Any]
) -> None:
    seen: list[Any] = []
    made = site([serve().address], policy=lambda connection: seen.append(connection.client),
                proxy_protocol=TRUSTED, **keys)
    assert made.ask(mapped_header("192.0.2.1", 4000) + b"hello") == b"hello"
    assert seen == [("192.0.2.1", 4000)]


@pytest.mark.parametrize("bad", [
    SIGNATURE, SIGNATURE + b"\x21\x12\x00\xff" + b"short", SIGNATURE + b"\x31\x12\x00\x00",
    SIGNATURE + b"\x21\x11\x00\x0c" + bytes(12) + b"a stream, and no datagram",
    b"\r\n\r\n\0\r",
])
def test_a_broken_header_goes_nowhere(site: Make, serve: Serve, bad: bytes) -> None:
    server = serve()
    made = site([server.address], proxy_protocol=TRUSTED)
    made.client().send(bad)
    made.wait_dropped("proxy_header", 1)
    assert not server.heard and made.sessions == 0


def test_a_stranger_can_not_say_who_it_is(site: Make, serve: Serve) -> None:
    server = serve()
    made = site([server.address], proxy_protocol={"trusted": ["192.0.2.0/24"]})
    client = made.client()
    client.send(header(("10.0.0.1", 1), made.where) + b"x")
    made.wait_dropped("proxy_header", 1)
    assert made.ask(b"plain", client) == b"plain"
    assert len(server.heard) == 1


def test_without_a_header_where_it_is_required(site: Make, serve: Serve) -> None:
    server = serve()
    made = site([server.address], proxy_protocol={**TRUSTED, "required": True})
    client = made.client()
    client.send(b"plain")
    made.wait_dropped("proxy_header", 1)
    assert made.ask(header(("10.0.0.1", 1), made.where) + b"told", client) == b"told"
    local = header(("0.0.0.0", 0), ("0.0.0.0", 0), command=0x20)
    assert made.ask(local + b"checks itself", client) == b"checks itself"


@pytest.mark.parametrize("size", [0, 1, 1400, 60_000])
def test_servers_are_told_of_clients(site: Make, serve: Serve, size: int) -> None:
    seen: list[bytes] = []

    def answer(data: bytes) -> bytes:
        seen.append(data)
        return data[28:]

    made = site([serve(answer).address], {"proxy_protocol": "v2"})
    client = made.client()
    data = bytes(size)
    for _ in range(2):
        assert made.ask(data, client) == data
    assert seen == [header(client.getsockname(), made.where) + data] * 2


def test_what_came_as_one_has_a_header_each(site: Make, serve: Serve) -> None:
    server = serve(None)
    made = site([server.address], {"proxy_protocol": "v2"})
    client = made.client()
    client.setsockopt(17, 103, 400)         # SOL_UDP, UDP_SEGMENT
    client.send(bytes(range(256)) * 5)
    begin = header(client.getsockname(), made.where)

    def ours() -> list[bytes]:              # (the port may have been another test's)
        return [data for data, _ in server.heard if data[:28] == begin]

    wait_until(lambda: len(ours()) == 4,
               lambda: f"{[data[:40] for data, _ in server.heard]}, dropped: {made.dropped()}")
    assert b"".join(data[28:] for data in ours()) == bytes(range(256)) * 5


def test_a_header_goes_on_with_what_it_had(site: Make, serve: Serve) -> None:
    seen: list[Any] = []

    def answer(data: bytes) -> bytes:
        seen.append(data)
        return b"ok"

    made = site([serve(answer).address], {"proxy_protocol": "v2"}, proxy_protocol=TRUSTED)
    authority = b"\x02\x00\x0bexample.com"
    said = header(("192.0.2.9", 99), ("198.51.100.1", 53), authority)
    assert made.ask(said + b"question") == b"ok"
    assert seen == [said + b"question"]
