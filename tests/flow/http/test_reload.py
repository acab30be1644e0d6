"""Another configuration while serving: all of it or nothing, and nobody notices."""

from __future__ import annotations

import asyncio
import errno
import logging
import os
import socket
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import fastlb
from fastlb._core.tables.build import build_info
from fastlb._core.tables.certificates import H2_AVAILABLE
from tests.flow.conftest import DEADLINE_S, Origin, read_exactly, wait_until
from tests.flow.http.peers import HttpOrigin, Wire, get
from tests.flow.http2.wire import H2Socket
from tests.ports import free_port

pytestmark = pytest.mark.modes("threads", "inline")

Origins = Callable[..., HttpOrigin]
BUILD = build_info()["build"]


class Running:
    """A balancer in the background, and its ports by listener."""

    def __init__(self, balancer: fastlb.Balancer) -> None:
        self.balancer = balancer

    def reload(self, text: str) -> Any:
        return asyncio.run(self.balancer.reload(text))

    def port(self, listener: str) -> int:
        return self.balancer.listeners[listener].port

    def wire(self, listener: str = "web") -> Wire:
        sock = socket.create_connection(("127.0.0.1", self.port(listener)), DEADLINE_S)
        listens = self.balancer.config.listeners.get(listener)
        if listens is not None and listens.h2c:
            # (which stands for a socket)
            sock = H2Socket(sock)           # type: ignore[assignment]
        return Wire(sock)

    def ask(self, path: str = "/", listener: str = "web") -> bytes:
        wire = self.wire(listener)
        wire.send(get(path))
        message = wire.response("GET")
        wire.close()
        return message.body[:2] if message.status == 200 else str(message.status).encode()

    def wait_idle(self) -> None:
        runtime = self.balancer._instance.runtime
        assert runtime is not None
        wait_until(lambda: not any(runtime.counts().values()), "something is still alive")


@pytest.fixture
def run(mode: int) -> Any:
    made: list[tuple[Running, Any]] = []

    def start(text: str) -> Running:
        balancer = fastlb.Balancer(fastlb.config.reader.loads(text), threads=mode)
        background = balancer.background()
        made.append((Running(balancer), background))
        return made[-1][0]

    yield start
    for running, background in made:
        running.wait_idle()
        background.stop()


def toml(
    port: int, server: str, more: str = "", scheme: str = "http", listener: str = ""
) -> str:
    return (
        f'[listeners.web]\nbind = "{scheme}://127.0.0.1:{port}"\npool = "p"\n{listener}\n'
        f'[pools.p]\nservers = ["{server}"]\n{more}\n'
    )


def test_servers_and_keys_change_and_connections_stay(run: Any, origins: Origins) -> None:
    a, b = origins(name="oa"), origins(name="ob")
    running = run(toml(0, a.address))
    port = running.port("web")
    kept = running.wire()
    kept.send(get("/"))
    assert kept.response("GET").body[:2] == b"oa"
    done = running.reload(toml(0, b.address, 'connect_timeout = "2s"'))
    assert {str(one) for one in done.differences} == {
        '~ pools.p.connect_timeout: "500ms" -> "2s"',
        f"- pools.p.servers.{a.address}", f"+ pools.p.servers.{b.address}",
    } and done.warnings == ()
    assert running.port("web") == port and running.ask() == b"ob"
    kept.send(get("/"))
    assert kept.response("GET").body[:2] == b"ob"
    kept.close()


def test_listeners_come_and_go(run: Any, origins: Origins) -> None:
    a = origins(name="oa")
    running = run(toml(0, a.address))
    port = running.port("web")
    more = free_port()                      # (one that the kernel gives to nobody afterwards)
    running.reload(toml(
        0, a.address, f'[listeners.more]\nbind = "http://127.0.0.1:{more}"\npool = "p"'))
    assert running.ask(listener="more") == b"oa" == running.ask()
    idle = running.wire("more")
    idle.send(get("/"))
    idle.response("GET")
    running.reload(toml(0, a.address))
    assert idle.some() == b""
    idle.close()
    assert running.port("web") == port and running.ask() == b"oa"
    with socket.socket() as late:
        late.settimeout(DEADLINE_S)
        assert late.connect_ex(("127.0.0.1", more)) == errno.ECONNREFUSED


def test_a_relay_outlives_its_listener_and_its_pool(run: Any, origins: Origins) -> None:
    a, origin = origins(name="oa"), Origin()
    relay = '[listeners.relay]\nbind = "tcp://127.0.0.1:0"\npool = "q"\n[pools.q]\nservers = ['
    running = run(toml(0, a.address, f'{relay}"{origin.address}"]'))
    client = socket.create_connection(("127.0.0.1", running.port("relay")), DEADLINE_S)
    server = origin.accept()
    for i in range(4):
        running.reload(toml(0, a.address, f'connect_timeout = "{i + 1}s"'))
        client.sendall(b"still here")
        assert read_exactly(server, 10) == b"still here"
    runtime = running.balancer._instance.runtime
    wait_until(lambda: not runtime.retired)
    client.close()
    server.close()
    origin.close()


def test_the_same_port_may_change_its_protocol(run: Any, origins: Origins) -> None:
    a, port = origins(name="oa"), free_port()
    running = run(toml(port, a.address))
    waiting = running.wire()
    waiting.send(get("/"))
    waiting.response("GET")
    running.reload(toml(port, a.address, scheme="tcp"))
    assert waiting.some() == b""            # it was idle, and its listener is no more
    waiting.close()
    assert running.ask() == b"oa"           # through a relay
    running.reload(toml(port, a.address))
    assert running.ask() == b"oa"


def test_an_address_may_give_way_to_a_wider_one(run: Any, origins: Origins) -> None:
    a, port = origins(name="oa"), free_port()
    running = run(toml(port, a.address))
    running.reload(toml(port, a.address).replace("127.0.0.1:" + str(port), f"0.0.0.0:{port}"))
    assert running.ask() == b"oa"
    running.reload(toml(port, a.address))
    assert running.ask() == b"oa"


@pytest.mark.parametrize(("bad", "path"), [
    ('balance = "least-request"', "pools.p.balance"),
    ('[listeners.more]\nbind = "http://127.0.0.1:{taken}"\npool = "p"', ""),
    ('[[listeners.web.routes]]\nname = "x"\nmatch.path = "/x"\npolicy = "no_such_module:f"',
     "listeners.web.routes.x.policy"),
    ("not toml", ""),
])
def test_a_bad_configuration_changes_nothing(
    run: Any, origins: Origins, bad: str, path: str
) -> None:
    a, b, taken = origins(name="oa"), origins(name="ob"), Origin()
    running = run(toml(0, a.address))
    before = running.balancer.config
    with pytest.raises((fastlb.ConfigError, fastlb.BindError)) as caught:
        running.reload(toml(0, b.address, bad.replace("{taken}", taken.address.split(":")[1])))
    if path:
        assert [one.path for one in caught.value.problems] == [path]  # type: ignore[union-attr]
    assert running.ask() == b"oa" and running.balancer.config == before
    running.reload(toml(0, b.address))
    assert running.ask() == b"ob"
    taken.close()


def test_what_was_set_holds_over_a_reload(run: Any, origins: Origins) -> None:
    a, b, c = origins(name="oa"), origins(name="ob"), origins(name="oc")
    running = run(toml(0, a.address))
    pool = running.balancer.pools["p"]
    pool.set_servers([b.address, c.address]).wait(DEADLINE_S)
    pool.servers[c.address].drain()
    running.reload(toml(0, a.address, 'connect_timeout = "2s"'))
    assert {running.ask() for _ in range(4)} == {b"ob"}
    pool.reset().wait(DEADLINE_S)
    assert {running.ask() for _ in range(4)} == {b"oa"}
    pool.set_servers([b.address]).wait(DEADLINE_S)
    done = running.reload(toml(0, a.address).replace('"p"', '"q"').replace("pools.p", "pools.q"))
    assert done.warnings == ("what was set for pool p went with it",)
    assert running.ask() == b"oa"


def test_checks_follow_their_keys(run: Any, origins: Origins) -> None:
    a = origins(name="oa")
    checks = 'health = { http = "/first", interval = "20ms", fast_interval = "20ms" }'
    running = run(toml(0, a.address, checks))
    wait_until(lambda: any("/first" in one.target for one in a.requests))
    running.reload(toml(0, a.address, checks.replace("first", "second")))
    wait_until(lambda: any("/second" in one.target for one in a.requests))
    running.reload(toml(0, a.address))

    def is_quiet() -> bool:                 # (checks that were under way may come late)
        before = len(a.requests)
        for _ in range(3):
            running.ask("/own")
        time.sleep(0.1)                     # (five intervals of the checks)
        return [one.target for one in a.requests[before:]] == ["/own"] * 3

    wait_until(is_quiet)


def test_lengths_of_timeouts_do_not_run_out(run: Any, origins: Origins) -> None:
    a, origin = origins(name="oa"), Origin()
    relay = '[listeners.relay]\nbind = "tcp://127.0.0.1:0"\npool = "q"\nidle_timeout = "77s"\n'
    running = run(toml(0, a.address, f'{relay}[pools.q]\nservers = ["{origin.address}"]'))
    client = socket.create_connection(("127.0.0.1", running.port("relay")), DEADLINE_S)
    server = origin.accept()
    for i in range(60):
        keys = "\n".join(
            f'[pools.p{k}]\nservers = ["{a.address}"]\nconnect_timeout = "{1000 + i * 8 + k}ms"'
            for k in range(8)
        )
        running.reload(toml(0, a.address, keys))
    assert running.ask() == b"oa"
    runtime = running.balancer._instance.runtime
    assert 77_000 in runtime.live.timeouts_ms()     # somebody still waits with it
    client.sendall(b"x")
    assert read_exactly(server, 1) == b"x"
    client.close()
    server.close()
    origin.close()


def test_a_policy_module_is_imported_again(
    run: Any, origins: Origins, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr("sys.dont_write_bytecode", True)
    sys.modules.pop("reloaded_policy", None)
    a, b = origins(name="oa"), origins(name="ob")
    module = tmp_path / "reloaded_policy.py"
    module.write_text('POOL = "p"\ndef pick(request):\n    return POOL\n')
    route = ('[pools.q]\nservers = ["' + b.address + '"]\n[[listeners.web.routes]]\nname = "all"\n'
             'match.path = "/*"\npool = "p"\n'
             'policy = { call = "reloaded_policy:pick", deadline = "60s" }')
    running = run(toml(0, a.address, route))
    assert running.ask() == b"oa"
    module.write_text('POOL = "q" \ndef pick(request):\n    return POOL\n')
    running.reload(toml(0, a.address, route))
    assert running.ask() == b"ob"
    module.write_text('POOL = "p"\nraise RuntimeError("half way")\n')
    with pytest.raises(fastlb.ConfigError, match="half way"):
        running.reload(toml(0, a.address, route))
    assert running.ask() == b"ob"


def test_what_can_not_change_is_said(run: Any, origins: Origins, mode: int,
                                     caplog: pytest.LogCaptureFixture) -> None:
    a = origins(name="oa")
    running = run(f"threads = 1\n{toml(0, a.address)}")
    caplog.set_level(logging.WARNING, "fastlb")
    done = running.reload(f"threads = 3\nbusy_poll = false\n{toml(0, a.address)}")
    assert any("busy_poll stays" in one for one in done.warnings)
    assert any("threads stays" in one for one in done.warnings) == (mode > 0)
    assert all(f"reload: {one}" in caplog.messages for one in done.warnings)


@pytest.mark.parametrize("listener", ["", "h2c = true"] if H2_AVAILABLE else [""])
def test_reloads_under_load(run: Any, origins: Origins, listener: str) -> None:
    """A short version of the soak test."""
    a, b, echo = origins(name="oa"), origins(name="ob"), Origin()
    more = (f'[listeners.relay]\nbind = "tcp://127.0.0.1:0"\npool = "q"\n[pools.q]\n'
            f'servers = ["{echo.address}"]')
    running = run(toml(0, a.address, more, listener=listener))
    relays, servers = [], []
    for _ in range(5):
        where = ("127.0.0.1", running.port("relay"))
        relays.append(socket.create_connection(where, DEADLINE_S))
        servers.append(echo.accept())
    stopped = threading.Event()
    answers: dict[bytes, int] = {}

    def ask(keep: bool) -> None:
        wire = running.wire()
        while not stopped.is_set():
            if not keep:
                wire.close()
                wire = running.wire()
            wire.send(get("/"))
            try:
                message = wire.response("GET")
                said = message.body[:2] if message.status == 200 else message.line.encode()
            except (OSError, EOFError) as error:
                said = repr(error).encode()
                wire.close()
                wire = running.wire()
            answers[said] = answers.get(said, 0) + 1
        wire.close()

    clients = [threading.Thread(target=ask, args=(keep,)) for keep in (True, False)]
    for one in clients:
        one.start()
    descriptors = len(os.listdir("/proc/self/fd"))
    runtime = running.balancer._instance.runtime
    wait_until(lambda: b"oa" in answers)
    for i in range(30):
        extra = f'[listeners.l{i}]\nbind = "http://127.0.0.1:0"\npool = "p"'
        server = (a, b)[i % 2].address
        running.reload(toml(0, server, f'connect_timeout = "{i + 1}s"\n{more}\n{extra}',
                            listener=listener))
        # What nobody uses any more goes while others are served.
        wait_until(lambda: len(runtime.retired) <= 2, "old snapshots are kept")
    wait_until(lambda: b"ob" in answers)
    running.reload(toml(0, a.address, more, listener=listener))
    stopped.set()
    for one in clients:
        one.join()
    assert set(answers) == {b"oa", b"ob"}, answers
    for client, server in zip(relays, servers, strict=True):
        client.sendall(b"x")
        assert read_exactly(server, 1) == b"x"
        client.close()
        server.close()
    echo.close()
    wait_until(lambda: not runtime.retired)
    assert len(os.listdir("/proc/self/fd")) <= descriptors + 10
