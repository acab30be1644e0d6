"""Functions that decide where connections go, by who connects and by the first bytes."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest

import fastlb
from fastlb.policy import Connection
from tests.flow.conftest import (
    DEADLINE_S,
    Dress,
    Origin,
    Site,
    read_exactly,
    read_to_end,
    reset,
    wait_until,
)

pytestmark = pytest.mark.modes("inline")

Decide = Callable[[Connection], Any]


class Decided:
    """A balancer with two pools, a and b, of one origin each, and a tcp listener."""

    def __init__(self, threads: int, stack: ExitStack, dress: Dress) -> None:
        self.dress = dress
        self.lb = fastlb.Balancer(threads=threads)
        self.a, self.b = Origin(), Origin()
        stack.callback(self.a.close)
        stack.callback(self.b.close)
        self.pool_a = self.lb.pool("a", [self.a.address], **dress.pool)
        self.pool_b = self.lb.pool("b", [self.b.address], **dress.pool)
        self.listener = self.lb.listen(
            name="l", pool=self.pool_a, **dress.listener("tcp://127.0.0.1:0"))
        self._stack = stack
        self.site: Site | None = None

    def start(self) -> Site:
        self._stack.enter_context(self.lb.background())
        self.site = Site(self.lb, self.listener)
        self.site.context = self.dress.context
        return self.site

    def totals(self) -> dict[str, int]:
        return self.lb._instance.running().policies.totals()["l"]


@pytest.fixture
def decided(mode: int, dress: Dress) -> Iterator[Decided]:
    with ExitStack() as stack:
        made = Decided(mode, stack, dress)
        yield made
        assert made.site is not None
        for client in made.site.clients:
            client.close()
        for connection in (*made.a.accepted, *made.b.accepted):
            connection.close()
        made.site.wait_idle()
        wait_until(lambda: made.totals()["pending"] == 0, "still pending")


@pytest.fixture(params=["sync", "async", "blocking"])
def kind(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


def add(decided: Decided, kind: str, decide: Decide, **keys: Any) -> None:
    async def later(connection: Connection) -> Any:
        await asyncio.sleep(0)
        return decide(connection)

    def now(connection: Connection) -> Any:
        return decide(connection)

    if kind == "blocking":
        keys["blocking"] = True
    keys.setdefault("deadline", f"{DEADLINE_S:.0f}s")       # (a busy machine may need seconds)
    if "first_bytes" in keys:
        keys.setdefault("first_bytes_timeout", keys["deadline"])
    function = later if kind == "async" else now
    assert decided.listener.route(**keys)(function) is function


def serves(origin: Origin, client: Any, sent: bytes = b"") -> None:
    """The client's bytes reach this origin, whose answer reaches the client."""
    server = origin.accept()
    client.sendall(b"more")
    assert read_exactly(server, len(sent) + 4) == sent + b"more"
    server.sendall(b"answer")
    assert read_exactly(client, 6) == b"answer"


def test_the_first_bytes_decide_and_go_on_to_the_server(decided: Decided, kind: str) -> None:
    add(decided, kind, lambda c: decided.pool_b if c.data == b"b first" else None,
        first_bytes="1KiB")
    site = decided.start()
    for sent, origin in ((b"b first", decided.b), (b"a first", decided.a)):
        client = site.connect()
        client.sendall(sent)
        serves(origin, client, sent)


def test_it_sees_no_more_than_it_asks_for(decided: Decided, kind: str) -> None:
    seen: list[bytes] = []
    add(decided, kind, lambda c: seen.append(c.data), first_bytes="4B")
    client = decided.start().connect()
    client.sendall(b"0123456789")
    serves(decided.a, client, b"0123456789")
    assert seen == [b"0123"]


def test_without_first_bytes_it_is_asked_at_once(decided: Decided, kind: str) -> None:
    seen: list[Any] = []
    add(decided, kind, lambda c: (seen.append((c.client, c.local, c.listener, c.data)), "b")[1])
    site = decided.start()
    client = site.connect()
    server = decided.b.accept()
    server.sendall(b"220 ready")                    # the server speaks first
    assert read_exactly(client, 9) == b"220 ready"
    assert seen == [(client.getsockname(), ("127.0.0.1", decided.listener.port), "l", b"")]


def test_a_client_that_says_nothing_is_not_waited_for_without_end(
    decided: Decided, kind: str
) -> None:
    seen: list[bytes] = []
    add(decided, kind, lambda c: (seen.append(c.data), "b")[1], first_bytes="1KiB",
        first_bytes_timeout="20ms")
    client = decided.start().connect()
    serves(decided.b, client)
    assert seen == [b""]


def test_it_can_ask_for_more(decided: Decided, kind: str) -> None:
    seen: list[bytes] = []

    def line(c: Connection) -> Any:
        seen.append(c.data)
        return (fastlb.More() if b"\n" not in c.data
                else decided.pool_b if c.data.startswith(b"to b") else None)

    add(decided, kind, line, first_bytes="1KiB")
    client = decided.start().connect()
    client.sendall(b"to")
    wait_until(lambda: len(seen) == 1)
    client.sendall(b" b\nrest")
    serves(decided.b, client, b"to b\nrest")
    assert seen == [b"to", b"to b\nrest"]
    assert decided.totals()["failures"] == 0


@pytest.mark.parametrize("sent", [b"", b"no end", b"0123456789abcdef"],
                         ids=["nothing", "in-time", "in-bounds"])
def test_more_that_does_not_come_is_a_failure(decided: Decided, kind: str, sent: bytes) -> None:
    add(decided, kind, lambda c: fastlb.More(), first_bytes="16B", first_bytes_timeout="20ms",
        on_error="b")
    client = decided.start().connect()
    client.sendall(sent)
    serves(decided.b, client, sent)
    assert decided.totals()["failures"] == 1


def test_more_of_a_client_that_has_no_more_is_a_failure(decided: Decided, kind: str) -> None:
    add(decided, kind, lambda c: fastlb.More(), first_bytes="1KiB", first_bytes_timeout="60s",
        on_error="b")
    client = decided.start().connect()
    client.sendall(b"half")
    client.shutdown(1)
    server = decided.b.accept()
    assert read_to_end(server) == b"half"
    server.sendall(b"answer")
    server.close()
    assert read_to_end(client) == b"answer"


def test_it_closes(decided: Decided, kind: str) -> None:
    add(decided, kind, lambda c: fastlb.Close())
    site = decided.start()
    client = site.connect()
    assert client.recv(1) == b""
    wait_until(lambda: site.totals()["ended_responded"] == 1)


def test_it_names_a_server(decided: Decided, kind: str) -> None:
    add(decided, kind, lambda c: decided.pool_b.servers[decided.b.address])
    client = decided.start().connect()
    serves(decided.b, client)


def test_a_key_stays_with_its_server(kind: str) -> None:
    origins = [Origin() for _ in range(3)]
    lb = fastlb.Balancer(threads=1)
    pool = lb.pool("p", [origin.address for origin in origins], balance="ring_hash")
    listener = lb.listen("tcp://127.0.0.1:0", name="l", pool=pool)

    async def later(c: Connection) -> Any:
        return pool.hash(c.data.decode())

    def now(c: Connection) -> Any:
        return pool.hash(c.data.decode())

    function = later if kind == "async" else now
    listener.route(first_bytes="64B", first_bytes_timeout="30s", deadline="30s",
                   blocking=kind == "blocking")(function)
    with lb.background():
        site = Site(lb, listener)
        for i in range(16):
            for _ in range(3):
                site.connect().sendall(b"k%02d" % i)
        wait_until(lambda: sum(one["connections"] for one in pool.stats().values()) == 48)
        by_server = []
        for origin in origins:
            n = pool.stats()[origin.address]["connections"]
            assert n % 3 == 0
            by_server.append([read_exactly(origin.accept(), 3) for _ in range(n)])
        for keys in by_server:
            assert all(keys.count(key) == 3 for key in keys)
        assert sum(map(bool, by_server)) > 1        # (nor do they all go by the client's address)
        for peer in (*site.clients, *(c for o in origins for c in o.accepted)):
            peer.close()
        site.wait_idle()
    for origin in origins:
        origin.close()


def fail(connection: Connection) -> Any:
    raise RuntimeError("out of order")


def test_a_failure_goes_where_on_error_says(decided: Decided, kind: str) -> None:
    add(decided, kind, fail, first_bytes="1KiB", on_error="b")
    client = decided.start().connect()
    client.sendall(b"x")
    serves(decided.b, client, b"x")
    assert decided.totals()["failures"] == 1


@pytest.mark.parametrize("value", [42, fastlb.Response(200), "nowhere",
                                   fastlb.Forward(headers={"a": "b"})], ids=repr)
def test_without_on_error_a_failure_closes(decided: Decided, kind: str, value: Any) -> None:
    add(decided, kind, lambda c: value)
    site = decided.start()
    assert site.connect().recv(1) == b""
    wait_until(lambda: site.totals()["ended_policy_failed"] == 1)
    assert decided.totals()["failures"] == 1
    wait_until(lambda: decided.listener.stats()["refused"] == 1)


def test_past_its_deadline_it_has_failed(decided: Decided) -> None:
    async def slow(c: Connection) -> Any:
        await asyncio.sleep(60)

    decided.listener.route(deadline="20ms", on_error="b")(slow)
    client = decided.start().connect()
    serves(decided.b, client)
    assert decided.totals()["late"] == 1


def test_who_leaves_is_not_decided_about(decided: Decided) -> None:
    states: list[str] = []

    async def slow(c: Connection) -> Any:
        states.append("begun")
        try:
            await asyncio.sleep(60)
        finally:
            states.append("ended")

    decided.listener.route(deadline="60s")(slow)
    site = decided.start()
    client = site.connect()
    wait_until(lambda: states == ["begun"])
    reset(client)
    wait_until(lambda: states == ["begun", "ended"])
    site.wait_idle()


def test_who_leaves_before_saying_anything_is_forgotten(decided: Decided, kind: str) -> None:
    add(decided, kind, lambda c: None, first_bytes="1KiB", first_bytes_timeout="60s")
    site = decided.start()
    client = site.connect()
    wait_until(lambda: site.totals()["handshakes"] == decided.dress.clients)
    reset(client)
    wait_until(lambda: site.totals()["ended_client_reset"] == 1)
    site.wait_idle()
    assert decided.totals()["calls"] == 0


def test_bytes_that_come_while_it_decides_follow_the_first(decided: Decided) -> None:
    go = threading.Event()

    async def slow(c: Connection) -> Any:
        while not go.is_set():
            await asyncio.sleep(0.001)
        return "b"

    decided.listener.route(first_bytes="1KiB", deadline="60s")(slow)
    client = decided.start().connect()
    client.sendall(b"first ")
    wait_until(lambda: decided.totals()["pending"] == 1)
    rest = bytes(range(256)) * 200
    client.sendall(rest)
    go.set()
    serves(decided.b, client, b"first " + rest)


def test_the_first_bytes_survive_a_server_that_is_not_there(mode: int) -> None:
    origin = Origin()
    gone = Origin()
    dead = gone.address
    gone.close()
    lb = fastlb.Balancer(threads=mode)
    pool = lb.pool("p", [dead, origin.address])
    listener = lb.listen("tcp://127.0.0.1:0", name="l", pool=pool)
    listener.route(first_bytes="1KiB", deadline="30s")(lambda c: None)
    with lb.background():
        site = Site(lb, listener)
        for _ in range(4):
            client = site.connect()
            client.sendall(b"hello")
            serves(origin, client, b"hello")
        for peer in (*site.clients, *origin.accepted):
            peer.close()
        site.wait_idle()
    origin.close()


def test_a_stop_ends_who_waits(mode: int) -> None:
    lb = fastlb.Balancer(threads=mode)
    listener = lb.listen("tcp://127.0.0.1:0", name="l", pool=lb.pool("p", ["127.0.0.1:1"]))

    async def slow(c: Connection) -> Any:
        await asyncio.sleep(60)

    listener.route(deadline="60s")(slow)
    with lb.background():
        site = Site(lb, listener)
        client = site.connect()
        wait_until(lambda: lb._instance.running().policies.totals()["l"]["pending"] == 1)
        lb.stop(timeout=0.05).wait(DEADLINE_S)
        with pytest.raises(ConnectionResetError):
            client.recv(1)
        client.close()
