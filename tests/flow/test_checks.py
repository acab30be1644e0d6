"""Servers that answer health checks in ways that nobody expects, and what checks leave alone."""

from __future__ import annotations

import asyncio
import collections
import errno
import itertools
import logging
import os
import resource
import socket
import threading
import time
from collections.abc import Callable, Iterator

import pytest

import fastlb
from fastlb.config.health import EffectiveHealth, Health, effective_health
from fastlb.control.checks import Report, Visits
from tests import ports
from tests.flow.conftest import DEADLINE_S, wait_until
from tests.flow.http.peers import Wire, get

HTTP = effective_health(Health(http="/healthz", timeout="30s"))


class Speaker:
    """Says the same to everybody, piece by piece, whatever it is asked."""

    def __init__(self, pieces: Callable[[], Iterator[bytes]]) -> None:
        self.pieces = pieces
        self.listener = ports.server()
        self.address = self.listener.getsockname()
        self.sent = 0
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        while True:
            try:
                peer, _ = self.listener.accept()
            except OSError as error:
                if error.errno == errno.EMFILE:     # (a test has taken the descriptors away)
                    time.sleep(0.01)                # (until it gives them back)
                    continue
                return
            threading.Thread(target=self._talk, args=(peer,), daemon=True).start()

    def _talk(self, peer: socket.socket) -> None:
        with peer:
            try:
                peer.recv(10_000)
                for piece in self.pieces():
                    peer.sendall(piece)
                    self.sent += len(piece)
            except OSError:
                pass

    def close(self) -> None:
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()


@pytest.fixture
def speaker() -> Iterator[Callable[..., Speaker]]:
    made: list[Speaker] = []

    def make(*pieces: bytes, forever: bytes = b"") -> Speaker:
        made.append(Speaker(lambda: itertools.chain(
            pieces, itertools.repeat(forever) if forever else ())))
        return made[-1]

    yield make
    for one in made:
        one.close()


def check(
    *servers: Speaker, health: EffectiveHealth = HTTP, name: str = "x:1"
) -> list[str | None]:
    """All at once; "" of who is well."""
    async def ask() -> list[str | None]:
        visits = Visits()
        try:
            return list(await asyncio.gather(
                *(visits.make(one.address, health, name, Report()) for one in servers)
            ))
        finally:
            visits.close()

    return asyncio.run(ask())


FINE = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"
SWITCH = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n"


def test_an_answer_that_changes_the_protocol(speaker: Callable[..., Speaker]) -> None:
    one = speaker(SWITCH + b"what then comes")
    assert check(one) == ["it answered 101"]
    wanted = effective_health(Health(http="/", statuses=["101"]))
    assert check(one, health=wanted) == [""]


def test_one_that_says_nonsense_is_no_matter_to_the_others(
    speaker: Callable[..., Speaker]
) -> None:
    bad = [speaker(one) for one in (SWITCH, b"\0\1\2", b"HTTP/1.1 200 OK\r\n: \r\n\r\n", b"")]
    good = [speaker(FINE) for _ in range(4)]
    mixed = [one for pair in zip(bad, good, strict=True) for one in pair]
    found = check(*mixed)
    assert found[1::2] == [""] * 4
    assert all(found[0::2]) and found[0] == "it answered 101"


def test_an_answer_may_be_announced(speaker: Callable[..., Speaker]) -> None:
    early = b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n"
    assert check(speaker(early + FINE), speaker(early, FINE)) == ["", ""]
    assert check(speaker(early)) == ["it closed without an answer"]
    assert check(speaker(early, b"HTTP/1.1 500 Oh\r\n\r\n")) == ["it answered 500"]


@pytest.mark.parametrize("endless", [
    (b"HTTP/1.1 200 OK\r\nX: ", b"y" * 10_000),
    (b"HTTP/1.1 200 OK\r\n", b"X: y\r\n" * 1000),
    (b"", b"HTTP/1.1 100 Continue\r\n\r\n" * 100),
    (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", b"1\r\nx\r\n" * 1000),
    (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1;", b"y" * 10_000),
], ids=["field", "fields", "interim", "body", "extension"])
def test_an_answer_that_never_ends(
    speaker: Callable[..., Speaker], endless: tuple[bytes, bytes]
) -> None:
    """It is given up long before its time is over, and the loop serves others meanwhile."""
    health = effective_health(Health(http="/", timeout="30s", body="is not there"))
    endless_one = speaker(endless[0], forever=endless[1])
    found, = check(endless_one, health=health)
    assert found in ("its answer has no end", "its answer has no 'is not there'") \
        or str(found).startswith("its answer is no HTTP")


def test_want_of_descriptors_says_nothing_of_servers(speaker: Callable[..., Speaker]) -> None:
    one = speaker(FINE)

    async def ask() -> None:
        visits = Visits()
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        free = os.dup(0)
        os.close(free)
        resource.setrlimit(resource.RLIMIT_NOFILE, (free, hard))    # and that one isn't
        try:
            assert await visits.make(one.address, HTTP, "x:1", Report()) is None
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        assert await visits.make(one.address, HTTP, "x:1", Report()) == ""
        visits.close()

    asyncio.run(ask())


def test_what_cannot_be_asked_is_said(speaker: Callable[..., Speaker]) -> None:
    """And is no traceback, and no matter to others."""
    class Odd(Speaker):
        def __init__(self) -> None:
            self.address = ("127.0.0.1", "no port")

    found = check(Odd(), speaker(FINE))
    assert str(found[0]).startswith("it can't be asked: ") and found[1] == ""


class Many:
    """One origin behind 2,000 addresses, which counts what each of them is asked."""

    def __init__(self) -> None:
        self.fine = True
        self.counts: collections.Counter[str] = collections.Counter()
        self.port = 0
        self.ready = threading.Event()
        self.thread = threading.Thread(target=lambda: asyncio.run(self._main()))
        self.thread.start()
        assert self.ready.wait(DEADLINE_S)
        self.addresses = [f"127.1.{i // 250}.{i % 250 + 1}:{self.port}" for i in range(2000)]

    async def _main(self) -> None:
        self.loop, self.over = asyncio.get_running_loop(), asyncio.Event()
        server = await self.loop.create_server(lambda: Once(self), "0.0.0.0", 0, backlog=4096)
        self.port = server.sockets[0].getsockname()[1]
        self.ready.set()
        await self.over.wait()
        server.close()

    def close(self) -> None:
        self.loop.call_soon_threadsafe(self.over.set)
        self.thread.join()


class Once(asyncio.Protocol):
    def __init__(self, many: Many) -> None:
        self.many = many

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        if b"/healthz" not in data:
            self.transport.write(FINE)          # (in one piece, as requests here are small)
            return
        host = data.partition(b"Host: ")[2].partition(b"\r\n")[0].decode()
        self.many.counts[host] += 1
        self.transport.write(FINE if self.many.fine else FINE.replace(b"200 OK", b"503 No"))
        self.transport.close()


def wait_long(true: Callable[[], bool]) -> None:
    """For what thousands have to do, on a machine that has more to do."""
    deadline = time.monotonic() + 120
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.01)


@pytest.mark.slow
@pytest.mark.timeout(400)
def test_two_thousand_servers_are_asked_every_second_beside_traffic(
    caplog: pytest.LogCaptureFixture
) -> None:
    """All of them, again and again. When all go down at once and come back, that is one line for
    each."""
    caplog.set_level(logging.INFO, "fastlb.health")
    many = Many()
    balancer = fastlb.Balancer(threads=2)
    pool = balancer.pool("pool", many.addresses, health={
        "http": "/healthz", "interval": "1s", "timeout": "60s", "rise": 1, "fall": 1})
    listener = balancer.listen("http://127.0.0.1:0", pool=pool)

    def lines(end: str) -> int:
        return sum(one.getMessage().endswith(end) for one in caplog.records)

    with balancer.background():
        wire = Wire(socket.create_connection(("127.0.0.1", listener.port)))

        def ask() -> int:
            wire.send(get("/"))
            return wire.response().status

        wait_long(lambda: ask() == 200 and len(many.counts) == 2000
                  and min(list(many.counts.values())) >= 2)
        many.fine = False
        wait_long(lambda: ask() == 503)
        wait_long(lambda: lines("is down: it answered 503") == 2000)
        many.fine = True
        wait_long(lambda: lines("is up") == 2000)
        assert ask() == 200
        wire.close()
        runtime = balancer._instance.runtime
        assert runtime is not None
        wait_until(lambda: not any(runtime.counts().values()))
    assert lines("is down: it answered 503") == lines("is up") == 2000
    many.close()
