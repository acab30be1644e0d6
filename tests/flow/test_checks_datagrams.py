"""Checks by datagrams: of servers that answer, that don't, that are gone, and of others that do."""

from __future__ import annotations

import asyncio
import logging
import socket
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

import fastlb
from fastlb.config.health import EffectiveHealth, Health, effective_health
from fastlb.control import checks
from fastlb.control.checks import Report, Visits
from tests.flow.conftest import DEADLINE_S, Origin, Site, wait_until
from tests.flow.silence import give_up
from tests.ports import bind, free_port

LONG = "30s"        # for what must not take it
QUICK = {"interval": "30ms", "fast_interval": "20ms", "timeout": LONG}
QUERY = b"\xff\xff\xff\xffTSource Engine Query\x00"


class Answerer:
    """A server of datagrams that says what it is told to, or nothing."""

    def __init__(self, says: Callable[[bytes], bytes | None], family: int = socket.AF_INET) -> None:
        self.says = says
        self.asked: list[bytes] = []
        self.socket = socket.socket(family, socket.SOCK_DGRAM)
        bind(self.socket, "127.0.0.1" if family == socket.AF_INET else "::1")
        self.where = self.socket.getsockname()[:2]
        self.address = fastlb_address(self.where)
        self.thread = threading.Thread(target=self._serve, daemon=True)
        self.thread.start()

    def _serve(self) -> None:
        while True:
            try:
                data, client = self.socket.recvfrom(65_536)
            except OSError:
                return
            if client[1] == self.where[1]:      # it is us
                return
            self.asked.append(data)
            said = self.says(data)
            if said is not None:
                self.socket.sendto(said, client)

    def close(self) -> None:
        """From then on its host says that nobody is there."""
        self.socket.sendto(b"", self.socket.getsockname())
        self.thread.join(DEADLINE_S)
        self.socket.close()

    def open_again(self) -> None:
        self.socket = socket.socket(self.socket.family, socket.SOCK_DGRAM)
        self.socket.bind(self.where)
        self.thread = threading.Thread(target=self._serve, daemon=True)
        self.thread.start()


def fastlb_address(where: tuple[str, int]) -> str:
    host = f"[{where[0]}]" if ":" in where[0] else where[0]
    return f"{host}:{where[1]}"


@pytest.fixture
def answerer() -> Iterator[Callable[..., Answerer]]:
    made: list[Answerer] = []

    def make(says: Callable[[bytes], bytes | None], **keys: Any) -> Answerer:
        made.append(Answerer(says, **keys))
        return made[-1]

    yield make
    for one in made:
        if one.socket.fileno() >= 0:
            one.close()


def check(where: tuple[str, int], **keys: Any) -> tuple[str | None, Report]:
    """One check of one server: "" if it is well."""
    health = effective_health(Health(**{"timeout": LONG, "udp": {}, **keys}))

    async def ask() -> tuple[str | None, Report]:
        visits, report = Visits(), Report()
        try:
            return await visits.make(where, health, "x:1", report), report
        finally:
            visits.close()

    return asyncio.run(ask())


def test_what_is_sent_and_what_is_expected(answerer: Callable[..., Answerer]) -> None:
    one = answerer(lambda data: b"you said " + data)
    assert check(one.where)[0] == ""
    assert check(one.where, udp={"send": "how are you?", "expect": "are"})[0] == ""
    assert check(one.where, udp={"send": "", "expect": "you said "})[0] == ""
    assert check(one.where, udp={
        "send": r"\xff\xff\xff\xffTSource Engine Query\0", "expect": r"\xffTS"})[0] == ""
    assert check(one.where, udp={"expect": "pong"})[0] == "it said 'you said ping'"
    assert one.asked == [b"ping", b"how are you?", b"", QUERY, b"ping"]


def test_an_empty_answer_is_an_answer(answerer: Callable[..., Answerer]) -> None:
    one = answerer(lambda _: b"")
    assert check(one.where)[0] == ""
    assert check(one.where, udp={"expect": "x"})[0] == "it said ''"


def test_the_longest_answer_there_is(answerer: Callable[..., Answerer]) -> None:
    one = answerer(lambda _: b"x" * 65_503 + b"pong")
    assert check(one.where, udp={"expect": "pong"})[0] == ""


def test_by_ipv6(answerer: Callable[..., Answerer]) -> None:
    one = answerer(lambda _: b"pong", family=socket.AF_INET6)
    assert check(one.where, udp={"expect": "pong"})[0] == ""


def test_another_port(answerer: Callable[..., Answerer], site: Callable[..., Site]) -> None:
    """It is the one that is asked, of the server's own address."""
    one, origin = answerer(lambda _: b"pong"), Origin()
    made = site([origin.address], pool={"health": {
        **QUICK, "udp": {"expect": "pong"}, "port": one.where[1]}})
    server = made.balancer._instance.runtime.live.server(  # type: ignore[union-attr]
        "pool", origin.address)
    wait_until(lambda: len(one.asked) >= 3)
    assert not server.down
    one.says = lambda _: b"no"
    wait_until(lambda: server.down)
    origin.close()


def test_who_is_silent_is_unwell(
    answerer: Callable[..., Answerer], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checks, "LATE_SHARE", float("inf"))     # (however late our own loop is)
    one = answerer(lambda _: None)
    assert check(one.where, timeout="50ms")[0] == "no answer within 0.05 s"
    wait_until(lambda: one.asked == [b"ping"])


def test_where_nobody_listens_that_is_known_at_once(answerer: Callable[..., Answerer]) -> None:
    one = answerer(lambda _: b"pong")
    one.close()
    found, report = check(one.where)        # (the other end of its timeout is "no answer")
    assert (found, report.nobody) == ("connection refused", True)


def test_nobody_else_can_answer(answerer: Callable[..., Answerer]) -> None:
    """Neither another port nor another address: their answers are no answers, though they come
    before the server's own."""
    listening, *others = (socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in range(3))
    port = free_port(socket.SOCK_DGRAM)
    listening.bind(("127.0.0.1", port))
    others[0].bind(("127.0.0.1", 0))
    others[1].bind(("127.0.0.2", port))
    said: list[bytes] = []

    def serve() -> None:
        data, client = listening.recvfrom(100)
        for other in others:
            other.sendto(b"pong", client)
        listening.sendto(b"its own", client)
        said.append(data)

    thread = threading.Thread(target=serve)
    thread.start()
    found = check(listening.getsockname(), udp={"expect": "pong"})[0]
    assert found == "it said 'its own'"
    thread.join(DEADLINE_S)
    assert said == [b"ping"]
    for one in (*others, listening):
        one.close()


@pytest.mark.plain
def test_answers_that_get_lost(
    answerer: Callable[..., Answerer], site: Callable[..., Site], caplog: pytest.LogCaptureFixture
) -> None:
    """Fewer than `fall` in a row are no matter; from then on it is down, until `rise` are good."""
    caplog.set_level(logging.INFO, "fastlb.health")
    one = answerer(lambda _: b"pong")
    made = site([one.address], pool={"health": {
        **QUICK, "udp": {"expect": "pong"}, "fall": 3, "rise": 2}})
    runtime = made.balancer._instance.runtime
    assert runtime is not None
    server = runtime.live.server("pool", one.address)
    wait_until(lambda: len(one.asked) >= 2)

    def lost(_: bytes) -> None:
        give_up(made.balancer, one.where)

    one.says = lambda data: b"pong" if len(one.asked) % 3 == 0 else lost(data)
    before = len(one.asked)
    wait_until(lambda: len(one.asked) >= before + 12)
    assert not server.down and "is down" not in caplog.text
    one.says = lost
    wait_until(lambda: server.down)
    wait_until(lambda: f"server {one.address} is down: no answer within 30 s" in caplog.text)
    one.says = lambda _: b"pong"
    wait_until(lambda: not server.down)


@pytest.mark.plain
def test_a_server_that_is_gone_is_down_at_once(
    answerer: Callable[..., Answerer], site: Callable[..., Site], caplog: pytest.LogCaptureFixture
) -> None:
    """Whatever `fall` says, and up again only after `rise`."""
    caplog.set_level(logging.INFO, "fastlb.health")
    one = answerer(lambda _: b"pong")
    made = site([one.address], pool={"health": {
        **QUICK, "udp": {}, "fall": 1000, "rise": 3}})
    runtime = made.balancer._instance.runtime
    assert runtime is not None
    server = runtime.live.server("pool", one.address)
    wait_until(lambda: len(one.asked) >= 2)
    assert not server.down
    one.close()
    wait_until(lambda: server.down)
    wait_until(lambda: f"server {one.address} is down: connection refused" in caplog.text)
    before = len(one.asked)
    one.open_again()
    wait_until(lambda: not server.down)
    assert len(one.asked) - before >= 3


@pytest.mark.plain
def test_a_port_of_tcp_beside(
    answerer: Callable[..., Answerer], site: Callable[..., Site]
) -> None:
    """For a server of datagrams that answers nobody it doesn't know."""
    one, beside = answerer(lambda _: None), Origin()
    _, _, port = beside.address.rpartition(":")
    made = site([one.address], pool={"health": {**QUICK, "tcp": True, "port": int(port)}})
    runtime = made.balancer._instance.runtime
    assert runtime is not None
    server = runtime.live.server("pool", one.address)
    beside.accept()
    beside.accept()
    assert not server.down
    beside.close()
    wait_until(lambda: server.down)
    assert one.asked == []


def test_pools_with_tls_are_asked_by_datagrams_as_others(
    answerer: Callable[..., Answerer]
) -> None:
    one = answerer(lambda _: b"pong")
    balancer = fastlb.Balancer(threads=1)
    pool = balancer.pool("pool", [one.address], tls={"verify": False},
                         health={**QUICK, "udp": {"expect": "pong"}})
    balancer.listen("tcp://127.0.0.1:0", pool=pool)
    with balancer.background():
        runtime = balancer._instance.runtime
        assert runtime is not None
        server = runtime.live.server("pool", one.address)
        wait_until(lambda: len(one.asked) >= 3)
        assert not server.down
        wait_until(lambda: not any(runtime.counts().values()))


def test_it_is_effective_as_it_is_written() -> None:
    found: EffectiveHealth = effective_health(Health(udp={}))  # type: ignore[arg-type]
    assert (found.kind, found.send, found.expect) == ("udp", b"ping", b"")
    found = effective_health(Health(expect="a\\xff", send="\\0"))
    assert (found.kind, found.send, found.expect) == ("expect", b"\0", b"a\xff")
