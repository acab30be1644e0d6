"""IPv4 clients that a proxy names as IPv6: one that listens on both does (RFC 4291, 2.5.5.2)."""

from __future__ import annotations

import socket
import struct
from collections.abc import Callable

import pytest

from tests.flow.conftest import Site
from tests.flow.http.conftest import HttpSite
from tests.flow.http.peers import HttpOrigin, Wire, get
from tests.flow.proxied.headers import HERE, ToldOrigin, begin, v2
from tests.flow.sniff.conftest import Edge

Web = Callable[..., HttpSite]
Origins = Callable[..., HttpOrigin]
MAPPED = b"\0" * 10 + b"\xff\xff"
V1 = b"PROXY TCP6 ::ffff:10.0.0.1 ::ffff:198.51.100.1 4242 443\r\n"
V2 = v2(0x21, MAPPED + bytes([10, 0, 0, 1]) + MAPPED + bytes([198, 51, 100, 1])
        + struct.pack("!HH", 4242, 443))
PLAIN = b"PROXY TCP4 10.0.0.1 198.51.100.1 4242 443\r\n"
HEADERS = pytest.mark.parametrize("header", [PLAIN, V1, V2], ids=["plain", "v1", "v2"])


@pytest.mark.h2
@HEADERS
@pytest.mark.parametrize("network", ["10.0.0.0/8", "::ffff:10.0.0.0/104"])
def test_a_network_has_mapped_clients(
    web: Web, origins: Origins, header: bytes, network: str
) -> None:
    site = web([origins().address], **HERE, routes=[
        {"name": "no", "match": {"client_ip": network}, "respond": {"body": "{client.ip}"}},
        {"name": "yes", "pool": "pool"}]).site
    wire = Wire(begin(site, header))
    wire.send(get("/"))
    assert wire.response().body == b"{client.ip}"


@HEADERS
def test_servers_are_told_the_plain_address(
    web: Web, origins: Origins, header: bytes
) -> None:
    origin = origins()
    site = web([origin.address], **HERE, forwarded={"headers": ["x-forwarded-for", "forwarded"]},
               routes=[{"name": "all", "pool": "pool", "request_headers": {"set": {
                   "x-to": "{proxy.dst}", "x-ip": "{client.ip}"}}}]).site
    wire = Wire(begin(site, header))
    wire.send(get("/"))
    assert wire.response().status == 200
    got = origin.requests[0]
    assert got["x-ip"] == got["x-forwarded-for"] == "10.0.0.1"
    assert got["forwarded"].startswith("for=10.0.0.1;")
    assert got["x-to"] == "198.51.100.1:443"


@HEADERS
def test_servers_that_speak_the_protocol_are_told_ipv4(
    site: Callable[..., Site], header: bytes
) -> None:
    origin = ToldOrigin()
    try:
        made = site([origin.address], bind="http://127.0.0.1:0",
                    pool={"proxy_protocol": "v1"}, **HERE)
        wire = Wire(begin(made, header))
        wire.send(get("/"))
        assert wire.response().status == 200
        assert origin.headers == [PLAIN]
        wire.close()
    finally:
        origin.close()


@HEADERS
def test_routes_of_tcp_know_mapped_clients(edge: Callable[..., Edge], header: bytes) -> None:
    made = edge([{"name": "in", "match": {"client_ip": "10.0.0.0/8"}, "pool": "a"}],
                pool="b", **HERE)
    client = begin(made, header)
    server = made.origins["a"].accept()
    server.sendall(b"hello")
    assert client.recv(5) == b"hello"
    client.close()


@pytest.mark.parametrize("balance", ["maglev", "ring_hash"])
def test_a_key_is_the_same_for_both_forms(
    site: Callable[..., Site], origins: Origins, balance: str
) -> None:
    made = site([origins(name=str(i)).address for i in range(8)], bind="tcp://127.0.0.1:0",
                pool={"balance": balance, "hash_on": "client.ip"}, **HERE)
    servers = set()
    for header in (PLAIN, V1, V2):
        wire = Wire(begin(made, header))
        wire.send(get("/"))
        servers.add(wire.response().body)
        wire.close()
    assert len(servers) == 1


def test_a_proxy_on_both_families_is_trusted(site: Callable[..., Site], origins: Origins) -> None:
    made = site([origins().address], bind="http://127.0.0.1:0",
                proxy_protocol={"trusted": ["::ffff:127.0.0.0/104"]})
    wire = Wire(begin(made, PLAIN))
    wire.send(get("/"))
    assert wire.response().status == 200


def test_clients_of_a_socket_of_both_families_are_plain() -> None:
    """The kernel names them as mapped; what accept() returns isn't kept so."""
    from tests.core import proxies

    with socket.socket(socket.AF_INET6, socket.SOCK_STREAM) as listener, \
            socket.socket(socket.AF_INET, socket.SOCK_STREAM) as client:
        listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        listener.bind(("::", 0))
        listener.listen(1)
        client.connect(("127.0.0.1", listener.getsockname()[1]))
        assert proxies.accepted(listener.fileno()) == client.getsockname()
