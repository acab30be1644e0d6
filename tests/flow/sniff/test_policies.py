"""Functions of routes of tcp listeners, and of the listener where no route fits."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from typing import Any

import pytest

import fastlb
from fastlb.policy import Connection
from tests.core.openings import CONNECT_4, HELLO
from tests.flow.conftest import DEADLINE_S, wait_until
from tests.flow.sniff.conftest import PATIENT, Make
from tests.flow.tls.peers import Authority


@pytest.fixture(params=["sync", "async", "blocking"])
def kind(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


def policy(kind: str, decide: Callable[[Connection], Any], **keys: Any) -> dict[str, Any]:
    async def later(connection: Connection) -> Any:
        await asyncio.sleep(0)
        return decide(connection)

    def now(connection: Connection) -> Any:
        return decide(connection)

    return {"call": later if kind == "async" else now, "blocking": kind == "blocking",
            "deadline": f"{DEADLINE_S:.0f}s", **keys}


def test_a_routes_function_sees_the_first_bytes_and_the_name(edge: Make, kind: str) -> None:
    seen: list[Any] = []

    def decide(c: Connection) -> Any:
        assert c.tls is not None
        seen.append((c.data[:3], c.tls.sni, c.listener))
        return "b"

    made = edge([
        {"name": "tls", "match": {"protocol": "tls"}, "pool": "a",
         "policy": policy(kind, decide, first_bytes="3B")},
        {"name": "mqtt", "match": {"protocol": "mqtt"}, "pool": "a"},
    ])
    made.serves(made.says(HELLO), "b", HELLO)
    made.serves(made.says(CONNECT_4), "a", CONNECT_4)
    assert seen == [(HELLO[:3], "example.com", "edge")]
    totals = made.balancer._instance.running().policies.totals()["edge/tls"]
    assert totals["calls"] == 1 and totals["failures"] == 0


def test_none_leaves_it_to_the_route_or_else_the_listener(edge: Make, kind: str) -> None:
    nothing = policy(kind, lambda c: None)
    made = edge([
        {"name": "tls", "match": {"protocol": "tls"}, "pool": "a", "policy": nothing},
        {"name": "mqtt", "match": {"protocol": "mqtt"}, "policy": nothing},
    ], pool="b")
    made.serves(made.says(HELLO), "a", HELLO)
    made.serves(made.says(CONNECT_4), "b", CONNECT_4)


def test_the_listeners_own_decides_where_no_route_fits(edge: Make, kind: str) -> None:
    seen: list[bytes] = []
    made = edge(
        [{"name": "mqtt", "match": {"protocol": "mqtt"}, "pool": "a"}], pool="a",
        policy=policy(kind, lambda c: (seen.append(c.data), "b")[1], first_bytes="64KiB",
                      first_bytes_timeout="20ms"))
    made.serves(made.says(CONNECT_4), "a", CONNECT_4)
    made.serves(made.says(b"own protocol"), "b", b"own protocol")
    assert seen == [b"own protocol"]


def test_it_can_close_or_ask_for_more(edge: Make, kind: str) -> None:
    def decide(c: Connection) -> Any:
        if b"stop" in c.data:
            return fastlb.Close()
        return fastlb.More() if len(c.data) < 8 else "b"

    made = edge([{"name": "all", "pool": "a", "policy": policy(
        kind, decide, first_bytes="1KiB", first_bytes_timeout="60s")}])
    client = made.says(b"\xff\xff\xff\xff")
    policies = made.balancer._instance.running().policies
    wait_until(lambda: policies.totals()["edge/all"]["calls"] == 1)
    client.sendall(b"\xff\xff\xff\xff")
    made.serves(client, "b", b"\xff" * 8)
    assert made.says(b"\xffstop").recv(1) == b""
    wait_until(lambda: made.ended().get("responded") == 1)


def test_nobody_to_go_to_is_an_end(edge: Make, kind: str) -> None:
    made = edge([{"name": "all", "policy": policy(kind, lambda c: None)}])
    client = made.says(HELLO)
    with pytest.raises(ConnectionResetError):
        client.recv(1)
    wait_until(lambda: made.ended() == {"no_route": 1})


@pytest.mark.parametrize("size", ["0B", "5B", "64KiB"])
def test_behind_tls_it_sees_no_more_than_it_asks_for(
    edge: Make, tls: dict[str, Any], authority: Authority, kind: str, size: str
) -> None:
    """Though more was read to tell the protocol; and more than that, if it wants it."""
    seen: list[int] = []

    def decide(c: Connection) -> Any:
        seen.append(len(c.data))
        return None if size != "64KiB" or len(c.data) == 40_000 else fastlb.More()

    made = edge([{"name": "all", "pool": "a", "policy": policy(
        kind, decide, first_bytes=size, first_bytes_timeout="60s")}],
        bind="tls://127.0.0.1:0", tls=tls)
    raw = socket.create_connection(("127.0.0.1", made.listener.port), DEADLINE_S)
    client = authority.trusting().wrap_socket(raw, server_hostname="site.test")
    made.clients.append(client)
    data = b"\xff" * 40_000
    client.sendall(data)
    made.serves(client, "a", data)
    assert seen[-1] == {"0B": 0, "5B": 5, "64KiB": 40_000}[size]


def test_routes_are_added_in_python(mode: int) -> None:
    from tests.flow.conftest import Origin, Site, read_exactly

    origins = [Origin(), Origin()]
    lb = fastlb.Balancer(threads=mode)
    a, b = (lb.pool(name, [origin.address]) for name, origin in zip("ab", origins, strict=True))
    edge = lb.listen("tcp://127.0.0.1:0", name="edge", pool=a, sniff_timeout=PATIENT,
                     sniff_whole_timeout=PATIENT)

    @edge.route(match={"protocol": "mqtt"}, first_bytes="1KiB", deadline=PATIENT)
    def by_bytes(connection: Connection) -> Any:
        return b if b"sensor" in connection.data else None

    with lb.background():
        site = Site(lb, edge)
        for data, origin in ((CONNECT_4, origins[1]), (HELLO, origins[0])):
            client = site.connect()
            client.sendall(data)
            server = origin.accept()
            assert read_exactly(server, len(data)) == data
            client.close()
            server.close()
        site.wait_idle()
    for origin in origins:
        origin.close()
