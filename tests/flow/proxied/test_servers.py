"""Servers that are told of their clients: what they get, when, and on which connections."""

from __future__ import annotations

import asyncio
import socket
import struct
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import fastlb
from tests.flow.conftest import DEADLINE_S, Origin, Site, read_exactly, read_to_end, wait_until
from tests.flow.http.conftest import HttpSite
from tests.flow.http.peers import Message, Wire, answer, get
from tests.flow.proxied.headers import (
    HERE,
    INET,
    INET6,
    LOCAL,
    UNKNOWN,
    V1,
    V1_IPV6,
    V2,
    V2_IPV6,
    ToldOrigin,
    begin,
    met,
    take_header,
    tlv,
    told_v1,
    told_v2,
    v2,
)
from tests.flow.tls.turns import all_is_heard

pytestmark = pytest.mark.modes("tls-servers")

Make = Callable[..., Site]
Web = Callable[..., HttpSite]
Told = Callable[..., ToldOrigin]
DATA_SEGMENTS_IN = 152          # of struct tcp_info
VERSIONS = {"v1": told_v1, "v2": told_v2}


@pytest.fixture
def told() -> Iterator[Told]:
    made: list[ToldOrigin] = []

    def make(**keys: object) -> ToldOrigin:
        made.append(ToldOrigin(**keys))     # type: ignore[arg-type]
        return made[-1]

    yield make
    for one in made:
        one.close()


@pytest.mark.parametrize("version", VERSIONS)
def test_tcp(site: Make, origin: Origin, version: str) -> None:
    made = site([origin.address], pool={"proxy_protocol": version})
    for _ in range(3):
        client = made.connect()
        client.sendall(b"hello")
        header, server = met(origin)
        assert header == VERSIONS[version](client, made)
        assert read_exactly(server, 5) == b"hello"
        server.sendall(b"bye")
        assert read_exactly(client, 3) == b"bye"


@pytest.mark.plain
@pytest.mark.parametrize("version", VERSIONS)
def test_the_first_data_travels_with_it(site: Make, origin: Origin, version: str) -> None:
    made = site([origin.address], **HERE, pool={"proxy_protocol": version})
    begin(made, V1 + b"hello")          # (which is all there before there is a server)
    sock, _ = origin.listener.accept()
    sock.settimeout(DEADLINE_S)
    wanted = (V1 if version == "v1" else V2) + b"hello"
    assert read_exactly(sock, len(wanted)) == wanted
    info = sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 256)
    assert struct.unpack_from("I", info, DATA_SEGMENTS_IN) == (1,)
    sock.close()


@pytest.mark.parametrize("version", VERSIONS)
def test_a_server_that_speaks_first(site: Make, origin: Origin, version: str) -> None:
    made = site([origin.address], pool={"proxy_protocol": version})
    client = made.connect()
    header, server = met(origin)
    assert header == VERSIONS[version](client, made)
    server.sendall(b"220 hello\r\n")
    assert read_exactly(client, 11) == b"220 hello\r\n"
    client.sendall(b"QUIT")
    assert read_exactly(server, 4) == b"QUIT"


def test_a_client_that_has_nothing_to_say(site: Make, origin: Origin) -> None:
    made = site([origin.address], pool={"proxy_protocol": "v2"})
    client = made.connect()
    client.shutdown(socket.SHUT_WR)
    header, server = met(origin)
    assert header == told_v2(client, made)
    assert read_to_end(server) == b""
    server.sendall(b"all")
    server.close()
    assert read_to_end(client) == b"all"


LONG = tlv(0xE0, b"x" * 4000)
PASSED = {
    "v1-v1": (V1, "v1", V1),
    "v1-v2": (V1, "v2", V2),
    "v2-v1": (V2, "v1", V1),
    "ipv6-v1": (V2_IPV6, "v1", V1_IPV6),
    "ipv6-v2": (V1_IPV6, "v2", V2_IPV6),
    "tlvs": (v2(0x11, INET, tlv(2, b"Site.Test"), tlv(0xEE, b"\0\1")), "v2",
             v2(0x11, INET, tlv(2, b"Site.Test"), tlv(0xEE, b"\0\1"))),
    "tlvs-v1": (v2(0x21, INET6, tlv(2, b"site.test")), "v1", V1_IPV6),
    "sums": (v2(0x11, INET, tlv(4, b"pad"), tlv(5, b"id"), tlv(4, b""), crc=True), "v2",
             v2(0x11, INET, tlv(5, b"id"))),
    "unix": (v2(0x31, b"/a".ljust(108, b"\0") + b"/b".ljust(108, b"\0"), tlv(1, b"h2")), "v2",
             v2(0x31, b"/a".ljust(108, b"\0") + b"/b".ljust(108, b"\0"), tlv(1, b"h2"))),
    "unix-v1": (v2(0x31, bytes(216)), "v1", UNKNOWN),
    "long": (v2(0x21, INET6, LONG), "v2", v2(0x21, INET6, LONG)),
}


@pytest.mark.parametrize("how", PASSED)
def test_what_a_proxy_told_goes_on(site: Make, origin: Origin, how: str) -> None:
    came, version, goes = PASSED[how]
    made = site([origin.address], **HERE, pool={"proxy_protocol": version})
    client = begin(made, came)
    client.sendall(b"hello")
    header, server = met(origin)
    assert header == goes
    assert read_exactly(server, 5) == b"hello"


def test_tlvs_without_addresses_go_with_those_of_the_connection(
    site: Make, origin: Origin
) -> None:
    made = site([origin.address], **HERE, pool={"proxy_protocol": "v2"})
    client = begin(made, v2(0, b"", tlv(5, b"id")))
    assert met(origin)[0] == told_v2(client, made, tlv(5, b"id"))
    client = begin(made, LOCAL)
    assert met(origin)[0] == told_v2(client, made)


@pytest.mark.plain
@pytest.mark.parametrize(("version", "header"), [("v1", UNKNOWN), ("v2", v2(0, b""))])
def test_a_client_of_a_unix_socket(
    site: Make, origin: Origin, tmp_path: Path, version: str, header: bytes
) -> None:
    made = site([origin.address], bind=f"tcp://unix:{tmp_path}/s", pool={"proxy_protocol": version})
    made.connect().sendall(b"hello")
    assert met(origin)[0] == header


@pytest.mark.plain
def test_a_server_of_a_unix_socket(site: Make, tmp_path: Path) -> None:
    origin = Origin(socket.AF_UNIX, str(tmp_path / "o"))
    made = site([origin.address], pool={"proxy_protocol": "v2"})
    client = made.connect()
    client.sendall(b"hello")
    header, server = met(origin)
    assert header == told_v2(client, made) and read_exactly(server, 5) == b"hello"
    origin.close()


# --- http ---


@pytest.mark.parametrize("version", VERSIONS)
def test_a_connection_is_for_one_client(web: Web, told: Told, version: str) -> None:
    origin = told()
    site = web([origin.address], pool={"proxy_protocol": version})
    clients = [Wire(begin(site.site)) for _ in range(3)]
    for i in range(9):
        clients[i % 3].send(get(f"/{i}"))
        assert clients[i % 3].response().status == 200
    assert origin.headers == [VERSIONS[version](wire.sock, site.site) for wire in clients]
    site.wait_for_idle(3)
    for wire in clients:
        wire.close()
    site.wait_for_idle(0)
    wait_until(lambda: origin.ended == 3)


@pytest.mark.h2
def test_requests_at_a_time_have_connections_of_their_own(web: Web, told: Told) -> None:
    both = threading.Barrier(2)

    def serve(wire: Wire, request: Message) -> None:
        both.wait(DEADLINE_S)
        wire.send(answer(request["x-n"].encode()))

    origin = told(serve=serve)
    site = web([origin.address], pool={"proxy_protocol": "v2"}).site
    clients = [site.connect() for _ in range(2)]
    for i, client in enumerate(clients):
        client.sendall(get("/", f"X-N: {i}"))
    assert [Wire(client).response().body for client in clients] == [b"0", b"1"]
    assert sorted(origin.headers) == sorted(told_v2(client, site) for client in clients)


def test_a_kept_connection_that_its_server_closed(web: Web, told: Told) -> None:
    def serve(wire: Wire, request: Message) -> bool:
        wire.send(answer(b"once"))
        return False

    origin = told(serve=serve)
    site = web([origin.address], pool={"proxy_protocol": "v1"})
    wire = Wire(begin(site.site))
    for _ in range(5):
        wire.send(get())
        assert wire.response().body == b"once"
    assert origin.headers == [told_v1(wire.sock, site.site)] * 5


def test_a_client_with_several_pools_keeps_one(site: Make, told: Told) -> None:
    origins = [told(name="a"), told(name="b")]
    config = fastlb.Config.build({
        "listeners": {"l": {"bind": "http://127.0.0.1:0", "routes": [
            {"name": n, "match": {"path": f"/{n}"}, "pool": n} for n in "ab"]}},
        "pools": {n: {"servers": [one.address], "proxy_protocol": "v2"}
                  for n, one in zip("ab", origins, strict=True)},
    })
    made = HttpSite(site([], config=config))
    wire = Wire(begin(made.site))
    for n in "aabbab":
        wire.send(get(f"/{n}"))
        assert wire.response().body.startswith(n.encode())
    made.wait_for_idle(1)
    assert [len(one.headers) for one in origins] == [2, 2]
    assert {header for one in origins for header in one.headers} == {
        told_v2(wire.sock, made.site)}


def test_servers_that_fail_are_left_for_others(site: Make, told: Told, origin: Origin) -> None:
    good, gone = told(), origin.address
    origin.close()
    made = site([gone, good.address], bind="http://127.0.0.1:0",
                pool={"proxy_protocol": "v2"})
    for _ in range(4):
        wire = Wire(begin(made))
        wire.send(get())
        assert wire.response().status == 200
        assert good.headers[-1] == told_v2(wire.sock, made)


@pytest.mark.parametrize("header", [b"", V2])
def test_second_tries_tell_of_the_same_client(web: Web, told: Told, header: bytes) -> None:
    done = threading.Event()

    def slow(wire: Wire, request: Message) -> bool:
        done.wait(DEADLINE_S)
        return False

    first, second = told(serve=slow), told()
    site = web([first.address, second.address], **HERE, pool={
        "proxy_protocol": "v2", "hedge": {"delay": "20ms", "budget": "100%"}})
    wire = Wire(begin(site.site, *([header] if header else [])))
    wire.send(get())
    assert wire.response().status == 200
    done.set()
    wanted = header or told_v2(wire.sock, site.site)
    wait_until(lambda: first.headers != [])         # (it may come to that later than the other)
    assert first.headers == second.headers == [wanted]


@pytest.mark.parametrize("header", [b"", v2(0x11, INET, tlv(2, b"site.test"))])
def test_mirrors_are_told_of_the_same_client(site: Make, told: Told, header: bytes) -> None:
    origin, mirror = told(), told()
    config = fastlb.Config.build({
        "listeners": {"l": {"bind": "http://127.0.0.1:0", **HERE, "routes": [
            {"name": "r", "pool": "p", "mirror": {"pool": "m"}}]}},
        "pools": {"p": {"servers": [origin.address], "proxy_protocol": "v1"},
                  "m": {"servers": [mirror.address], "proxy_protocol": "v2"}},
    })
    made = site([], config=config)
    wire = Wire(begin(made, *([header] if header else [])))
    for _ in range(2):
        wire.send(get())
        assert wire.response().status == 200
    wait_until(lambda: len(mirror.requests) == 2)
    assert set(mirror.headers) == {header or told_v2(wire.sock, made)}
    assert origin.headers == [V1 if header else told_v1(wire.sock, made)]


@pytest.mark.plain
def test_a_reload_that_begins_to_tell(site: Make, told: Told) -> None:
    """A connection on which nothing was told is not for those who are told of, and the other way
    round."""
    origin = told()

    def config(version: str | None) -> fastlb.Config:
        keys = {} if version is None else {"proxy_protocol": version}
        return fastlb.Config.build({
            "listeners": {"l": {"bind": "http://127.0.0.1:0", "pool": "p"}},
            "pools": {"p": {"servers": [origin.address], **keys}},
        })

    made = HttpSite(site([], config=config("v2")))
    wire = Wire(begin(made.site))
    wire.send(get())
    assert wire.response().status == 200
    made.wait_for_idle(1)
    asyncio.run(made.site.balancer.reload(config("v1")))
    clients: list[Wire] = []

    def is_told() -> bool:
        clients.append(Wire(begin(made.site)))
        clients[-1].send(get())
        assert clients[-1].response().status == 200
        return bool(origin.headers[-1] == told_v1(clients[-1].sock, made.site))

    all_is_heard(made.site)         # (an engine reads the new table after its turn)
    assert [is_told() for _ in range(4)] == [True] * 4


@pytest.mark.parametrize("kind", ["tcp", "http", "expect"])
@pytest.mark.parametrize(("version", "header"), [("v1", UNKNOWN), ("v2", LOCAL)])
def test_checks_speak_for_themselves(
    site: Make, origin: Origin, kind: str, version: str, header: bytes
) -> None:
    health = {"tcp": {"tcp": True}, "http": {"http": "/healthz"}, "expect": {"expect": "+OK"}}[kind]
    made = site([origin.address], pool={
        "proxy_protocol": version, "health": {**health, "interval": "1h", "timeout": "10m"}})
    got, server = met(origin) if kind != "tcp" else (header, None)
    if server is None:
        sock, _ = origin.listener.accept()
        sock.settimeout(DEADLINE_S)
        got = take_header(sock)
        sock.close()
    elif kind == "http":
        assert Wire(server).head().target == "/healthz"
        server.sendall(answer(b"fine"))
    else:
        server.sendall(b"+OK\r\n")
    assert got == header
    pool = made.balancer.pools["pool"]
    wait_until(lambda: [one.state for one in pool.servers.values()] == ["up"])
