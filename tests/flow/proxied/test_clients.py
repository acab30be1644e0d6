"""Clients of whom a proxy in front tells: who they are then, and what comes behind the header."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import fastlb
from fastlb._core.tables.certificates import H2_AVAILABLE
from tests.flow.conftest import Origin, Site, read_exactly, read_to_end, wait_until
from tests.flow.http.conftest import HttpSite
from tests.flow.http.peers import HttpOrigin, Message, Wire, answer, get
from tests.flow.observe.test_metrics import Scraped
from tests.flow.proxied.headers import (
    HERE,
    INET,
    LOCAL,
    OF_AN_IP,
    TRUSTED,
    UNKNOWN,
    V1,
    V1_IPV6,
    V2,
    begin,
    is_closed,
    tlv,
    v2,
)
from tests.flow.tls.turns import all_is_heard

pytestmark = pytest.mark.modes("tls")

Web = Callable[..., HttpSite]
Make = Callable[..., Site]
Origins = Callable[..., HttpOrigin]


def show(wire: Wire, request: Message) -> None:
    """Answers with who asks, and the fields that begin with x-."""
    lines = sorted(f"{key}: {value}" for key, value in request.fields if key.startswith("x-proxy"))
    wire.send(answer("\n".join([request["x-forwarded-for"], *lines]).encode()))


def ask(client: socket.socket, path: str = "/") -> str:
    wire = Wire(client)
    wire.send(get(path))
    return wire.response().body.decode()


@pytest.mark.h2
@pytest.mark.parametrize("version", [1, 2])
@pytest.mark.parametrize("ip", OF_AN_IP)
def test_the_client_is_whom_the_header_names(
    web: Web, origins: Origins, ip: str, version: int
) -> None:
    site = web([origins(show).address], **HERE).site
    client = begin(site, OF_AN_IP[ip][version - 1])
    assert ask(client) == ip
    assert ask(client) == ip, "and with the next request"
    assert site.totals()["proxy_headers"] == 1


@pytest.mark.parametrize("header", [V1, V2, UNKNOWN, LOCAL, v2(0, b"", tlv(1, b"h2"))])
def test_it_comes_in_any_pieces(web: Web, origins: Origins, header: bytes) -> None:
    site = web([origins(show).address], **HERE).site
    one_by_one = [header[i : i + 1] for i in range(len(header))]
    wanted = "192.0.2.7" if header in (V1, V2) else "127.0.0.1"
    for pieces in (one_by_one, [header[:6], header[6:]], [header[:12], header[12:]],
                   [header[:-1], header[-1:]]):
        assert ask(begin(site, *pieces)) == wanted
    assert site.totals()["proxy_headers"] == 4


@pytest.mark.plain
@pytest.mark.parametrize("header", [V1, V2, LOCAL])
def test_what_is_right_behind_it_is_not_lost(web: Web, origins: Origins, header: bytes) -> None:
    site = web([origins(show).address], **HERE).site
    request = get("/a") + get("/b")
    for cut in (0, 1, 20, len(request)):
        wire = Wire(begin(site, header + request[:cut], request[cut:]))
        assert [wire.response().status for _ in range(2)] == [200, 200]
        wire.close()


@pytest.mark.plain
def test_bytes_of_tcp_behind_it(site: Make, origin: Origin) -> None:
    made = site([origin.address], **HERE)
    for header in (V1, V2, LOCAL, UNKNOWN):
        client = begin(made, header + b"hello" * 20_000)
        client.shutdown(socket.SHUT_WR)
        server = origin.accept()
        assert read_to_end(server) == b"hello" * 20_000
        server.sendall(b"bye")
        server.close()
        assert read_to_end(client) == b"bye"


def test_a_header_alone_that_ends(site: Make, origin: Origin) -> None:
    made = site([origin.address], **HERE)
    client = begin(made, V2)
    client.shutdown(socket.SHUT_WR)
    server = origin.accept()
    assert read_to_end(server) == b""
    server.sendall(b"a banner")
    server.close()
    assert read_to_end(client) == b"a banner"


@pytest.mark.parametrize("header", [LOCAL, UNKNOWN, v2(0x11, INET, command=0x20),
                                    b"PROXY UNKNOWN 192.0.2.7 198.51.100.1 4242 443\r\n"])
def test_a_proxy_may_speak_for_itself(web: Web, origins: Origins, header: bytes) -> None:
    site = web([origins(show).address], proxy_protocol={**TRUSTED, "required": True}).site
    assert ask(begin(site, header)) == "127.0.0.1"


@pytest.mark.h2
def test_facts_go_into_fields(web: Web, origins: Origins) -> None:
    names = ("authority", "unique_id", "alpn", "vpce", "dst")
    site = web([origins(show).address], **HERE, routes=[{
        "name": "all", "pool": "pool", "request_headers": {"set": {
            f"x-proxy-{name.replace('_', '-')}": f"<{{proxy.{name}}}>" for name in names}},
    }]).site
    header = v2(0x11, INET, tlv(2, b"Site.Test"), tlv(5, b"\0id\n"), tlv(1, b"h2"),
                tlv(0xEA, b"\x01vpce-08d2bf15fac5001c9"), crc=True)
    assert ask(begin(site, header)).split("\n")[1:] == [
        "x-proxy-alpn: <h2>", "x-proxy-authority: <site.test>",
        "x-proxy-dst: <198.51.100.1:443>", "x-proxy-unique-id: <0069640a>",
        "x-proxy-vpce: <vpce-08d2bf15fac5001c9>",
    ]
    nobody = ["x-proxy-alpn: <>", "x-proxy-authority: <>", "x-proxy-dst: <>",
              "x-proxy-unique-id: <>", "x-proxy-vpce: <>"]
    odd = v2(0x31, bytes(216), tlv(2, b"not a\r\nname: x"))
    assert ask(begin(site, odd)).split("\n") == ["unix:", *nobody]
    assert ask(begin(site)).split("\n")[1:] == nobody
    assert ask(begin(site, V1_IPV6)).split("\n")[3] == "x-proxy-dst: <[2001:db8::1]:443>"


@pytest.mark.parametrize("scheme", ["tcp", "http"])
@pytest.mark.parametrize(("kind", "fact"), [(2, "authority"), (5, "unique_id")])
def test_keys_have_their_servers(
    site: Make, origins: Origins, scheme: str, kind: int, fact: str
) -> None:
    servers = [origins(name=f"o{i}") for i in range(8)]
    made = site([one.address for one in servers], bind=f"{scheme}://127.0.0.1:0", **HERE,
                pool={"balance": "maglev", "hash_on": f"proxy.{fact}"})
    found = {}
    for i in range(12):
        name = f"a{i}.test".encode()
        said = {ask(begin(made, v2(0x11, INET, tlv(kind, name)))).split()[0] for _ in range(3)}
        assert len(said) == 1
        found[name] = said.pop()
    assert len(set(found.values())) > 2
    assert made.totals()["keys_missing"] == 0
    ask(begin(made, V2))
    assert made.totals()["keys_missing"] == 1


def test_addresses_are_hashed_and_matched(site: Make, origins: Origins) -> None:
    one, other = origins(name="one"), origins(name="other")
    config = fastlb.Config.build({
        "listeners": {"l": {"bind": "http://127.0.0.1:0", **HERE, "pool": "rest", "routes": [
            {"name": "r", "match": {"client_ip": "192.0.2.0/24"}, "pool": "known"}]}},
        "pools": {"known": {"servers": [one.address]}, "rest": {"servers": [other.address]}},
    })
    made = site([], config=config)
    assert ask(begin(made, V1)).startswith("one")
    assert ask(begin(made, V1_IPV6)).startswith("other")
    assert ask(begin(made)).startswith("other")


def test_policies_and_records_know_the_client(site: Make, origins: Origins) -> None:
    seen: list[tuple[str, int]] = []

    def policy(request: fastlb.Request) -> None:
        assert request.client is not None
        seen.append(tuple(request.client))

    config = fastlb.Config.build({
        "listeners": {"l": {"bind": "http://127.0.0.1:0", **HERE, "pool": "p", "routes": [
            {"name": "r", "policy": {"call": policy, "deadline": "10m"}}]}},
        "pools": {"p": {"servers": [origins().address]}},
    })
    made = site([], config=config)
    with made.balancer.records() as records:
        ask(begin(made, V2))
        (record,) = records.take()
    assert seen == [("192.0.2.7", 4242)]
    assert (record.client_ip, record.client_port) == ("192.0.2.7", 4242)


def test_sessions_of_tcp_are_recorded_with_the_client(site: Make, origin: Origin) -> None:
    made = site([origin.address], **HERE)
    with made.balancer.records() as records:
        client = begin(made, V2)
        origin.accept().close()
        assert read_to_end(client) == b""
        client.close()
        made.wait_idle()
        (record,) = records.take()
    assert (record.client_ip, record.client_port, record.reason) == ("192.0.2.7", 4242, "done")


@pytest.mark.plain
def test_a_policy_of_tcp_sees_what_is_behind_it(site: Make, origin: Origin) -> None:
    seen: list[Any] = []

    def policy(connection: fastlb.Connection) -> None:
        seen.append((tuple(connection.client), connection.data[:5]))

    made = site([origin.address], **HERE, policy={
        "call": policy, "deadline": "10m", "first_bytes": "5B", "first_bytes_timeout": "10m"})
    begin(made, V2 + b"hello, you")
    assert read_exactly(origin.accept(), 10) == b"hello, you"
    assert seen == [(("192.0.2.7", 4242), b"hello")]


@pytest.mark.plain
def test_clients_of_a_unix_socket_are_believed(
    site: Make, origins: Origins, tmp_path: Path
) -> None:
    made = site([origins(show).address], bind=f"http://unix:{tmp_path}/s",
                proxy_protocol={"trusted": ["192.0.2.0/24"], "required": True})
    for header in (V1, V2):
        for pieces in ([header], [header[i : i + 1] for i in range(len(header))]):
            assert ask(begin(made, *pieces)) == "192.0.2.7"


def test_idle_connections_hold_what_was_told(web: Web, origins: Origins) -> None:
    site = web([origins(show).address], **HERE).site
    clients = [begin(site, V2) for _ in range(20)]
    for client in clients:
        assert ask(client) == "192.0.2.7"
    assert site.counts()["proxied"] == 20
    for client in clients:
        client.close()
    wait_until(lambda: site.counts()["proxied"] == 0)


def test_a_server_that_speaks_first(site: Make, origin: Origin) -> None:
    """With a header nobody waits; without one, for as long as one may come."""
    made = site([origin.address], proxy_protocol={**TRUSTED, "timeout": "50ms"})
    for pieces in ([V1], []):
        client = begin(made, *pieces)
        origin.accept().sendall(b"220 hello\r\n")
        assert read_exactly(client, 11) == b"220 hello\r\n"
    assert not is_closed_soon(client)


@pytest.mark.plain
@pytest.mark.skipif(not H2_AVAILABLE, reason="built without HTTP/2")
@pytest.mark.parametrize("header", [V1, V2])
def test_http2_without_tls_behind_it(web: Web, origins: Origins, header: bytes) -> None:
    from tests.flow.http2.peers import Client

    site = web([origins(show).address], h2c=True, **HERE).site
    client = Client(begin(site, header))
    assert [bytes(client.get("/").body) for _ in range(3)] == [b"192.0.2.7"] * 3
    client.close()


@pytest.mark.plain
def test_a_reload_that_begins_to_listen_to_proxies(site: Make, origins: Origins) -> None:
    origin = origins(show)

    def config(**keys: Any) -> fastlb.Config:
        return fastlb.Config.build({
            "listeners": {"l": {"bind": "http://127.0.0.1:0", "pool": "p", **keys}},
            "pools": {"p": {"servers": [origin.address]}},
        })

    made = site([], config=config())
    before = begin(made)
    assert ask(before) == "127.0.0.1"
    asyncio.run(made.balancer.reload(config(**HERE)))
    all_is_heard(made)
    assert ask(begin(made, V2)) == "192.0.2.7"
    assert ask(before) == "127.0.0.1", "what was begun goes on"


@pytest.mark.plain
def test_headers_are_seen_in_metrics(web: Web, origins: Origins) -> None:
    site = web([origins(show).address], **HERE).site
    for _ in range(2):
        ask(begin(site, V2))
    assert is_closed(begin(site, b"PROXY nobody\r\n"))
    wait_until(lambda: site.totals()["ended_proxy_header"] == 1)
    found = Scraped(site.balancer)
    assert found("fastlb_proxy_headers_total", result="believed") == 2
    assert found("fastlb_proxy_headers_total", result="refused") == 1


def is_closed_soon(client: socket.socket) -> bool:
    client.setblocking(False)
    try:
        return is_closed(client)
    except BlockingIOError:
        return False
