"""Connections that an http listener of the same process goes on with."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest
import websockets

import fastlb
from fastlb._core.tables.certificates import H2_AVAILABLE
from tests.core.openings import CONNECT_4
from tests.flow.conftest import DEADLINE_S, read_to_end, reset, wait_until
from tests.flow.http.peers import HttpOrigin, Message, Wire, get
from tests.flow.http2.peers import Client
from tests.flow.sniff.conftest import Edge, Make
from tests.flow.tls.peers import Authority
from tests.flow.tls.turns import all_is_heard

ALL = {"name": "http", "match": {"protocol": ["http/1.1", "h2", "websocket"]}, "listener": "web"}
SECURE = {"name": "https", "match": {"protocol": "tls"}, "listener": "secure"}
MQTT = {"name": "mqtt", "match": {"protocol": "mqtt"}, "pool": "a"}

has_h2 = pytest.mark.skipif(not H2_AVAILABLE, reason="built without HTTP/2")


@pytest.fixture
def origin() -> Iterator[HttpOrigin]:
    made = HttpOrigin()
    yield made
    made.close()


@pytest.fixture
def handing(
    edge: Make, origin: HttpOrigin, tls: dict[str, Any]
) -> Callable[..., Edge]:
    """Makes an Edge in front of the http listener `web` and the https listener `secure`, whose
    pool is one of `origin`."""

    def make(bind: str = "tcp://127.0.0.1:0", **keys: Any) -> Edge:
        web = {"bind": "http://127.0.0.1:0", "pool": "b", **keys.pop("web", {})}
        others = {"web": web}
        routes = [ALL, MQTT]
        if bind.startswith("tcp"):
            others["secure"] = {"bind": "https://127.0.0.1:0", "pool": "b", "tls": tls}
            routes.append(SECURE)
        made = edge(keys.pop("routes", routes), bind=bind, others=others, **keys)
        made.balancer.pools["b"].set_servers([origin.address]).wait(DEADLINE_S)
        return made

    return make


def handed(made: Edge, listener: str = "web") -> dict[str, int]:
    return made.balancer.listeners[listener].stats()


def test_requests_go_on_as_if_they_had_come_to_the_listener(
    handing: Callable[..., Edge], origin: HttpOrigin
) -> None:
    """One connection, several requests, the first of them pipelined with the next."""
    made = handing()
    wire = Wire(made.connect())
    wire.send(get("/1") + get("/2", "X-Forwarded-For: 10.9.9.9"))
    for path in ("/1", "/2"):
        assert wire.response().body.startswith(b"origin GET " + path.encode())
    wire.send(get("/3", method="POST", body=b"x" * 50_000))
    assert wire.response().body.endswith(b"x" * 50_000)
    assert [one.target for one in origin.requests] == ["/1", "/2", "/3"]
    assert origin.requests[1]["x-forwarded-for"] == "127.0.0.1"     # and the first hop isn't ours
    assert origin.requests[0]["x-forwarded-proto"] == "http"
    assert handed(made)["accepted"] == 1 and handed(made)["requests"] == 3
    assert handed(made, "edge")["accepted"] == handed(made, "edge")["closed"] == 1
    assert handed(made, "edge")["in_flight"] == 0 and handed(made)["in_flight"] == 1
    wire.close()
    made.wait_idle()
    assert handed(made)["closed"] == 1
    assert made.ended() == {"done": 1, "handed_over": 1}


def test_the_relay_beside_it_stays_one(handing: Callable[..., Edge]) -> None:
    made = handing()
    made.serves(made.says(CONNECT_4), "a", CONNECT_4)


def test_byte_by_byte(handing: Callable[..., Edge]) -> None:
    made = handing(sniff_whole_timeout="60s")
    wire = Wire(made.connect())
    for byte in get("/slow"):
        wire.send(bytes([byte]))
    assert wire.response().status == 200


def test_what_is_none_is_told_so_by_the_listener(handing: Callable[..., Edge]) -> None:
    made = handing()
    wire = Wire(made.says(b"GET /\x01 HTTP/1.1\r\nHost: a\r\n\r\n"))
    assert wire.response().status == 400
    assert wire.to_end() == b""


def test_a_head_that_does_not_end_has_the_listeners_time(handing: Callable[..., Edge]) -> None:
    made = handing(sniff_whole_timeout="20ms", web={"request_header_timeout": "30ms"})
    wire = Wire(made.says(get("/")[:-2]))
    assert wire.response().status == 408


def test_the_listeners_limit_holds(handing: Callable[..., Edge]) -> None:
    made = handing(web={"max_connections": 1})
    first = Wire(made.says(get("/")))
    assert first.response().status == 200
    second = made.says(get("/"))
    with pytest.raises(ConnectionResetError):
        second.recv(1)
    wait_until(lambda: made.ended() == {"handed_over": 1, "listener_full": 1})
    wait_until(lambda: handed(made, "edge")["refused"] == 1)
    first.close()
    made.wait_idle()
    third = Wire(made.says(get("/")))
    assert third.response().status == 200


def test_ends_are_counted_where_they_were(handing: Callable[..., Edge]) -> None:
    made = handing()
    wire = Wire(made.says(get("/")))
    assert wire.response().status == 200
    wire.close()
    made.wait_idle()
    found = made.scraped()
    assert found("fastlb_sessions_total", listener="edge", route="http", pool="",
                 reason="handed_over") == 1
    assert found("fastlb_requests_total", listener="web", route="", pool="b", code="200") == 1


def test_records_are_those_of_requests(handing: Callable[..., Edge]) -> None:
    made = handing()
    records = made.balancer.records()
    wire = Wire(made.says(get("/x")))
    assert wire.response().status == 200
    wire.close()
    made.wait_idle()
    taken: list[fastlb.Record] = []
    wait_until(lambda: (taken.extend(records.take()), len(taken) == 1)[1])
    assert (taken[0].kind, taken[0].listener, taken[0].path) == ("http", "web", "/x")
    assert taken[0].client_ip == "127.0.0.1" and 0 < taken[0].duration < 60
    records.close()


def test_who_leaves_is_let_go(handing: Callable[..., Edge], origin: HttpOrigin) -> None:
    def hang(wire: Wire, request: Message) -> bool:
        wire.to_end()
        return False

    made = handing()
    origin.serve = hang
    client = made.says(get("/"))
    wait_until(lambda: len(origin.requests) == 1)
    reset(client)
    made.wait_idle()


async def _chat(port: int, scheme: str = "ws", **keys: Any) -> None:
    async with websockets.connect(
            f"{scheme}://site.test/chat", host="127.0.0.1", port=port, open_timeout=DEADLINE_S,
            ping_interval=None, close_timeout=DEADLINE_S, **keys) as client:
        await client.send("hello")
        assert await client.recv() == "hello"
        await client.send(b"x" * 100_000)
        assert await client.recv() == b"x" * 100_000


def test_websockets(handing: Callable[..., Edge], authority: Authority) -> None:
    async def echo(peer: Any) -> None:
        async for message in peer:
            await peer.send(message)

    made = handing()

    async def all_of_it() -> None:
        async with websockets.serve(
                echo, "127.0.0.1", 0, open_timeout=DEADLINE_S, ping_interval=None,
                close_timeout=DEADLINE_S) as server:
            port = next(iter(server.sockets)).getsockname()[1]
            change = made.balancer.pools["b"].set_servers([f"127.0.0.1:{port}"])
            await asyncio.to_thread(change.wait, DEADLINE_S)
            await _chat(made.listener.port, proxy=None)
            await _chat(made.listener.port, "wss", proxy=None, ssl=authority.trusting())

    asyncio.run(all_of_it())


@has_h2
def test_http2_by_prior_knowledge(handing: Callable[..., Edge], origin: HttpOrigin) -> None:
    """A route for it says that it is spoken, whatever the listener's own address lets in."""
    made = handing()
    client = Client(made.connect())
    assert client.get("/a").body.startswith(b"origin GET /a")
    streams = [client.ask(f"/{i}", method="POST", body=b"y" * 20_000) for i in range(5)]
    for stream in streams:
        assert bytes(client.answer(stream).body).endswith(b"y" * 20_000)
    assert handed(made)["requests"] == 6
    client.close()
    made.wait_idle()
    plain = Client(_connected(made.balancer.listeners["web"].port))
    assert b" 505 " in read_to_end(plain.sock)                  # (h2c = false)
    plain.close()


def _connected(port: int) -> socket.socket:
    return socket.create_connection(("127.0.0.1", port), DEADLINE_S)


def secured(made: Edge, authority: Authority, *offers: str) -> ssl.SSLSocket:
    client = authority.trusting(offers=list(offers)).wrap_socket(
        _connected(made.listener.port), server_hostname="site.test")
    made.clients.append(client)
    return client


def test_tls_ends_at_the_listener_that_it_is_handed_to(
    handing: Callable[..., Edge], authority: Authority, origin: HttpOrigin
) -> None:
    made = handing()
    wire = Wire(secured(made, authority))
    for i in range(3):
        wire.send(get(f"/{i}"))
        assert wire.response().status == 200
    assert origin.requests[0]["x-forwarded-proto"] == "https"
    assert handed(made, "secure")["requests"] == 3
    assert made.totals()["handshakes"] == 1


@has_h2
def test_http2_over_tls(handing: Callable[..., Edge], authority: Authority) -> None:
    made = handing()
    sock = secured(made, authority, "h2", "http/1.1")
    assert sock.selected_alpn_protocol() == "h2"
    client = Client(sock)
    assert client.get("/b").status == 200
    client.close()


def test_a_client_of_httpx(
    handing: Callable[..., Edge], authority: Authority
) -> None:
    made = handing()
    port = made.listener.port
    with httpx.Client(
            verify=authority.trusting(), trust_env=False, timeout=DEADLINE_S) as client:
        for _ in range(3):
            got = client.get(f"https://127.0.0.1:{port}/c", headers={"Host": "site.test"},
                             extensions={"sni_hostname": "site.test"})
            assert got.status_code == 200
            assert client.get(f"http://127.0.0.1:{port}/d").status_code == 200


def test_a_handshake_that_fails_is_one_of_its_listener(
    handing: Callable[..., Edge], authority: Authority
) -> None:
    made = handing()
    context = ssl.create_default_context()          # trusts nobody of ours
    with pytest.raises(ssl.SSLCertVerificationError):
        context.wrap_socket(_connected(made.listener.port), server_hostname="site.test")
    # (its alert may be read, or only the reset that follows it)
    wait_until(lambda: made.ended() in (
        {"handed_over": 1, "client_reset": 1}, {"handed_over": 1, "handshake_failed": 1}))


@pytest.mark.parametrize("protocol", ["http/1.1", "h2"])
def test_what_was_in_tls_that_ended_here_goes_on(
    handing: Callable[..., Edge], authority: Authority, origin: HttpOrigin,
    tls: dict[str, Any], protocol: str,
) -> None:
    """Also where nobody chose a protocol by ALPN."""
    made = handing("tls://127.0.0.1:0", tls=tls, sniff_whole_timeout="60s")
    if protocol == "h2":
        if not H2_AVAILABLE:
            pytest.skip("built without HTTP/2")
        client = Client(secured(made, authority))
        for path in ("/1", "/2"):
            assert client.get(path).status == 200
        client.close()
    else:
        wire = Wire(secured(made, authority))
        wire.send(get("/1") + get("/2")[:10])
        assert wire.response().status == 200
        wire.send(get("/2")[10:])
        assert wire.response().status == 200
        wire.close()
    assert [one.target for one in origin.requests] == ["/1", "/2"]
    assert {one["x-forwarded-proto"] for one in origin.requests} == {"https"}
    one = secured(made, authority)
    one.sendall(CONNECT_4)
    made.serves(one, "a", CONNECT_4)


def test_plain_http_at_an_https_listener_is_told_so(handing: Callable[..., Edge]) -> None:
    made = handing(routes=[{**ALL, "listener": "secure"}])
    wire = Wire(made.says(get("/")))
    assert wire.response().status == 400


def test_a_listener_that_is_removed_lets_its_clients_finish(
    handing: Callable[..., Edge]
) -> None:
    made = handing()
    wire = Wire(made.says(get("/")))
    assert wire.response().status == 200
    raw = made.balancer.config.model_dump(by_alias=True, exclude_unset=True)
    del raw["listeners"]["web"]
    raw["listeners"]["edge"]["routes"] = [MQTT]
    asyncio.run(made.balancer.reload(fastlb.Config.build(raw)))
    all_is_heard(made)
    assert wire.to_end() == b""
    client = made.says(get("/"))
    with pytest.raises(ConnectionResetError):
        client.recv(1)


def test_a_reload_keeps_the_connection(handing: Callable[..., Edge]) -> None:
    made = handing()
    wire = Wire(made.says(get("/")))
    assert wire.response().status == 200
    raw = made.balancer.config.model_dump(by_alias=True, exclude_unset=True)
    raw["listeners"]["web"]["routes"] = [{"name": "gone", "respond": {"status": 410}}]
    asyncio.run(made.balancer.reload(fastlb.Config.build(raw)))
    all_is_heard(made)
    wire.send(get("/"))
    assert wire.response().status == 410


def test_a_stop_waits_for_them(handing: Callable[..., Edge]) -> None:
    made = handing()
    wire = Wire(made.says(get("/")[:5]))
    wait_until(lambda: made.counts()["exchanges"] == 1)
    stopping = made.balancer.stop(timeout=DEADLINE_S)
    wire.send(get("/")[5:])
    assert wire.response().status == 200
    stopping.wait(DEADLINE_S)


@pytest.mark.parametrize("where", ["web", "secure"])
def test_what_a_proxy_told_goes_along(
    handing: Callable[..., Edge], origin: HttpOrigin, authority: Authority, where: str
) -> None:
    """The header belongs to the listener that accepted; the client is who it says in the other."""
    made = handing(proxy_protocol={"trusted": ["127.0.0.0/8"]})
    plain = made.connect()
    plain.sendall(b"PROXY TCP4 192.0.2.7 198.51.100.1 4242 443\r\n")
    sock = plain if where == "web" else authority.trusting().wrap_socket(
        plain, server_hostname="site.test")
    wire = Wire(sock)
    for _ in range(2):
        wire.send(get())
        assert wire.response().status == 200
    assert [one["x-forwarded-for"] for one in origin.requests] == ["192.0.2.7"] * 2
    assert handed(made, where)["accepted"] == 1
    wire.close()
