"""Health checks: what servers do decides who gets clients."""

from __future__ import annotations

import logging
import socket
import ssl
import threading
from collections.abc import Callable
from typing import Any, cast

import pytest
import trustme
from hypothesis import given, settings
from hypothesis import strategies as st

import fastlb
from fastlb._core.tables.live import Live
from fastlb.config.health import Health, effective_health
from fastlb.control import checks
from fastlb.control.checks import Visits
from fastlb.control.clock import Clock
from fastlb.control.health import Patient
from tests.flow.conftest import Origin, Site, wait_until
from tests.flow.http.conftest import HttpSite
from tests.flow.http.peers import HttpOrigin, Message, Wire, answer, get

QUICK = {"interval": "30ms", "fast_interval": "20ms", "timeout": "30s"}


class Ward:
    """Origins that are well or not, as the test says, behind one http listener."""

    def __init__(self, site: Callable[..., Site], health: dict[str, Any], n: int = 2) -> None:
        self.well = [answer(b"fine")] * n
        self.checks: list[Message] = []
        self.origins = [HttpOrigin(self._serve(i), f"o{i}") for i in range(n)]
        self.site = HttpSite(site(
            [o.address for o in self.origins], bind="http://127.0.0.1:0",
            pool={"health": {**QUICK, **health}},
        ))

    def _serve(self, i: int):  # type: ignore[no-untyped-def]
        def serve(wire: Wire, request: Message) -> None:
            if request.target == "/healthz":
                self.checks.append(request)
                wire.send(self.well[i])
            else:
                self.origins[i]._echo(wire, request)

        return serve

    def up(self) -> list[int]:
        stats = self.site.site.balancer._instance.runtime
        assert stats is not None
        by_name = {s.address: int(not s.down) for s in stats.live.servers()}
        return [by_name[o.address] for o in self.origins]

    def who(self, n: int = 8) -> set[str]:
        asked = [self.site.ask(get("/")) for _ in range(n)]
        return {str(a.status) if a.status != 200 else a.body[:2].decode() for a in asked}

    def close(self) -> None:
        for one in self.origins:
            one.close()


@pytest.fixture
def ward(site: Callable[..., Site]):  # type: ignore[no-untyped-def]
    made: list[Ward] = []

    def make(n: int = 2, **health: Any) -> Ward:
        made.append(Ward(site, health, n))
        return made[-1]

    yield make
    for one in made:
        one.close()


def test_a_server_that_is_unwell_gets_no_requests_until_it_is_well(
    ward: Callable[..., Ward], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "fastlb.health")
    made = ward(http="/healthz")
    wait_until(lambda: len(made.checks) >= 2)
    assert made.who() == {"o0", "o1"}
    made.well[0] = answer(b"oh", "500 Oh")
    wait_until(lambda: made.up() == [0, 1])
    assert made.who() == {"o1"}
    made.well[0] = answer(b"fine")
    wait_until(lambda: made.up() == [1, 1])
    assert made.who() == {"o0", "o1"}
    where = f"pool pool: server {made.origins[0].address}"
    wait_until(lambda: [one for one in caplog.messages if "server" in one] == [
        f"{where} is down: it answered 500", f"{where} is up"])


def test_what_is_asked(ward: Callable[..., Ward]) -> None:
    made = ward(1, http="/healthz", method="HEAD", host="api.test")
    made.well[0] = answer(b"")
    wait_until(lambda: len(made.checks) >= 2)
    check = made.checks[0]
    assert check.line == "HEAD /healthz HTTP/1.1" and check["host"] == "api.test"
    assert check["user-agent"] == "fastlb-health" and check["connection"] == "close"
    assert made.up() == [1]


@pytest.mark.parametrize(("health", "reply", "up"), [
    ({}, answer(b"", "302 Found", "Location: /login"), 1),
    ({}, answer(b"", "404 Not Found"), 0),
    ({"statuses": ["2xx"]}, answer(b"", "302 Found"), 0),
    ({"statuses": ["404", "500-502"]}, answer(b"", "501 No"), 1),
    ({"body": "all good"}, answer(b"we say: all good here"), 1),
    ({"body": "all good"}, answer(b"all bad"), 0),
    ({"body": "all good"}, b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
                           b"4\r\nall \r\n4\r\ngood\r\n0\r\n\r\n", 1),
    ({"body": "all good"}, answer(b"x" * 100_000 + b"all good"), 0),
    ({}, b"SSH-2.0-x\r\n\r\n", 0),
    ({}, b"HTTP/1.1 200", 0),
])
def test_answers(
    ward: Callable[..., Ward], health: dict[str, Any], reply: bytes, up: int
) -> None:
    made = ward(1, http="/healthz", fall=1, timeout="200ms", **health)
    made.well[0] = reply
    seen = len(made.checks)
    wait_until(lambda: len(made.checks) >= seen + 4)
    wait_until(lambda: made.up() == [up])


def test_when_all_are_down_clients_are_told_at_once(ward: Callable[..., Ward]) -> None:
    made = ward(http="/healthz")
    made.well = [answer(b"", "503 No")] * 2
    wait_until(lambda: made.up() == [0, 0])
    for _ in range(20):
        got = made.site.ask(get("/"))
        assert (got.status, got["x-fastlb-error"]) == (503, "no_server")


def test_when_all_are_down_clients_of_tcp_are_closed_at_once(
    site: Callable[..., Site], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checks, "LATE_SHARE", float("inf"))     # (however late our own loop is)
    origin = Origin()
    made = site([origin.address], pool={"health": {**QUICK, "expect": "x", "timeout": "50ms"}})
    live = made.balancer._instance.runtime.live  # type: ignore[union-attr]
    wait_until(lambda: live.server("pool", origin.address).down)
    for _ in range(20):
        assert made.connect().recv(1) == b""
    origin.close()


@pytest.mark.plain
@pytest.mark.parametrize("kind", ["tcp", "expect"])
def test_checks_of_tcp(site: Callable[..., Site], kind: str) -> None:
    health: dict[str, Any] = {"tcp": True} if kind == "tcp" else {
        "send": "PING\r\n", "expect": "+PONG"}
    reply = [b"+PONG\r\n"]

    def serve(listener: socket.socket) -> None:
        while True:
            try:
                peer, _ = listener.accept()
            except OSError:
                return
            threading.Thread(target=talk, args=(peer,), daemon=True).start()

    def talk(peer: socket.socket) -> None:
        with peer:
            try:
                while data := peer.recv(100):
                    if data == b"PING\r\n":
                        peer.sendall(reply[0])
                        return              # (and so nobody waits for more)
                    peer.sendall(data)
            except OSError:
                pass

    origin = Origin()
    origin.listener.settimeout(None)
    threading.Thread(target=serve, args=(origin.listener,), daemon=True).start()
    made = site([origin.address], pool={"health": {**QUICK, **health}})
    live = made.balancer._instance.runtime.live  # type: ignore[union-attr]
    client = made.connect()
    client.sendall(b"x")
    assert client.recv(1) == b"x"
    server = live.server("pool", origin.address)
    if kind == "expect":
        reply[0] = b"-LOADING\r\n"
    else:
        origin.listener.shutdown(socket.SHUT_RDWR)      # refuses from now on
    wait_until(lambda: server.down)
    assert made.connect().recv(1) == b""
    client.sendall(b"y")
    assert client.recv(1) == b"y"       # who is there stays
    if kind == "expect":
        reply[0] = b"+PONG\r\n"
        wait_until(lambda: not server.down)
    origin.close()


@pytest.mark.plain
def test_checks_of_tls(site: Callable[..., Site], caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "fastlb.health")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    trustme.CA().issue_cert("api.test").configure_cert(context)
    names: list[str] = []
    context.sni_callback = lambda _, name, __: names.append(name)
    ended: list[str] = []
    plain = threading.Event()

    def serve(listener: socket.socket) -> None:
        while True:
            try:
                peer, _ = listener.accept()
            except OSError:
                return
            with peer:
                if plain.is_set():
                    peer.sendall(b"220 mail.test ESMTP\r\n")
                    continue
                try:
                    with context.wrap_socket(peer, server_side=True) as wrapped:
                        ended.append(wrapped.version() or "")
                except OSError as error:
                    ended.append(str(error))

    origin = Origin()
    origin.listener.settimeout(None)
    threading.Thread(target=serve, args=(origin.listener,), daemon=True).start()
    made = site([origin.address], pool={"health": {**QUICK, "tls": True, "host": "api.test"}})
    server = made.balancer._instance.runtime.live.server(  # type: ignore[union-attr]
        "pool", origin.address)
    wait_until(lambda: len(ended) >= 3)
    assert set(ended) == {"TLSv1.3"} and set(names) == {"api.test"} and not server.down
    plain.set()
    wait_until(lambda: server.down)
    wait_until(lambda: "is down: no TLS: " in caplog.text)
    plain.clear()
    wait_until(lambda: not server.down)
    origin.listener.shutdown(socket.SHUT_RDWR)
    origin.close()


def test_a_server_that_does_not_answer_is_down(
    site: Callable[..., Site], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checks, "LATE_SHARE", float("inf"))     # (however late our own loop is)
    origin = Origin()                   # it accepts, by its queue, and says nothing
    made = site([origin.address], pool={"health": {**QUICK, "http": "/", "timeout": "50ms"}})
    live = made.balancer._instance.runtime.live  # type: ignore[union-attr]
    wait_until(lambda: live.server("pool", origin.address).down)
    origin.close()


@settings(max_examples=200, deadline=None)
@given(st.integers(1, 4), st.integers(1, 4), st.lists(st.booleans(), max_size=60))
def test_transitions_are_those_of_the_model(rise: int, fall: int, checks: list[bool]) -> None:
    """Down after `fall` bad checks in a row, up after `rise` good ones; no one decides alone."""
    live = Live(1)
    server = live.server("p", "127.0.0.1:1")
    health = effective_health(Health(tcp=True, rise=rise, fall=fall))
    patient = Patient(server, ("127.0.0.1", 1), health, cast(Visits, None),     # (it makes none)
                      clock=Clock(live.clock))
    up, row = True, 0
    for good in checks:
        patient.note("" if good else "x")
        if good == up:
            row = 0
        else:
            row += 1
            if row >= (rise if good else fall):
                up, row = good, 0
        assert server.down == (not up)


@pytest.mark.parametrize(("health", "problem"), [
    ({}, "exactly one of tcp, tls, http, grpc, expect, udp; this one has none"),
    ({"tcp": True, "http": "/"}, "this one has tcp and http"),
    ({"tcp": True, "send": "x"}, "send belongs to expect, and this check is of tcp"),
    ({"tcp": True, "host": "x"}, "host belongs to http and grpc and tls, and this check is of tcp"),
    ({"http": "healthz"}, "'healthz' is not a path"),
    ({"http": "/", "statuses": ["ok"]}, "'ok' is not a status"),
    ({"http": "/", "statuses": ["400-300"]}, "ends before it begins"),
    ({"tcp": True, "interval": "1ms"}, "is not from 10ms"),
])
def test_what_is_wrong_is_said(health: dict[str, Any], problem: str) -> None:
    with pytest.raises(fastlb.ConfigError, match=problem):
        fastlb.Config.build({
            "listeners": {"l": {"bind": "tcp://127.0.0.1:0", "pool": "p"}},
            "pools": {"p": {"servers": ["127.0.0.1:1"], "health": health}},
        })
