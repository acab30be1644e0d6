"""Health checks of very many servers: begun one after the other, and few at a time."""

from __future__ import annotations

import asyncio
import itertools
import logging
import socket
import time
from pathlib import Path
from typing import Any

import pytest

import fastlb
from fastlb._core.tables.live import Live
from fastlb.compile.snapshot import ServerSpec
from fastlb.config.health import Health as Keys
from fastlb.config.health import effective_health
from fastlb.control import checks
from fastlb.control.checks import Report, Visits
from fastlb.control.clock import Clock
from fastlb.control.events import Events
from fastlb.control.health import FIRST_GAP_S, Health, Patient
from tests.flow.conftest import Origin, Site, wait_until
from tests.flow.test_process import Serve, serve  # noqa: F401


def test_first_checks_of_all_pools_are_begun_one_after_the_other(
    monkeypatch: pytest.MonkeyPatch
) -> None:
    begun: list[float] = []
    waits: list[float] = []

    async def follow(patient: Patient) -> None:
        waits.append(patient.delay_s)

    monkeypatch.setattr(Patient, "follow", follow)

    async def main() -> None:
        live = Live(1)
        health = Health(live, Events(), lambda: None, Clock(live.clock), lambda *_: None)
        keys = effective_health(Keys(tcp=True))
        for i in range(1000):
            health.follow(f"p{i}", keys, [ServerSpec("127.0.0.1:1", ("127.0.0.1", 1), 1, 0)])
            begun.append(health._first_s)
        await asyncio.sleep(0)
        await health.stop()

    asyncio.run(main())
    assert len(waits) == 1000
    assert all(later - before >= FIRST_GAP_S * 0.99
               for before, later in itertools.pairwise(begun))


def test_so_many_checks_are_under_way_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checks, "AT_ONCE", 3)
    listener = socket.create_server(("127.0.0.1", 0), backlog=64)
    keys = effective_health(Keys(expect="hello", timeout="30s"))

    async def main() -> None:
        loop = asyncio.get_running_loop()
        listener.setblocking(False)
        visits = Visits()
        asked = [
            asyncio.ensure_future(visits.make(listener.getsockname(), keys, "s", Report()))
            for _ in range(12)
        ]
        for _ in range(12):
            client, _ = await loop.sock_accept(listener)
            assert len(visits._under_way) <= 3
            await loop.sock_sendall(client, b"hello")
            client.close()
        assert [await one for one in asked] == [""] * 12
        visits.close()

    asyncio.run(main())
    listener.close()


def test_a_check_that_we_were_too_busy_for_says_nothing() -> None:
    listener = socket.create_server(("127.0.0.1", 0))
    keys = effective_health(Keys(expect="hello", timeout="20ms"))

    async def main() -> Any:
        visits = Visits()
        asked = asyncio.ensure_future(
            visits.make(listener.getsockname(), keys, "s", Report()))
        while not visits._under_way:
            await asyncio.sleep(0)
        time.sleep(0.1)                 # the loop stands still
        found = await asked
        visits.close()
        return found

    assert asyncio.run(main()) is None
    listener.close()


def test_bytes_that_are_no_text_are_sent_and_expected() -> None:
    listener = socket.create_server(("127.0.0.1", 0))
    balancer = fastlb.Balancer(threads=1)
    address = f"127.0.0.1:{listener.getsockname()[1]}"
    pool = balancer.pool("p", [address], health={
        "send": r"\x80\xff\0P", "expect": r"\xfe\x01", "interval": "50ms", "timeout": "30s"})
    balancer.listen("tcp://127.0.0.1:0", name="l", pool=pool)
    with balancer.background():
        client, _ = listener.accept()
        with client:
            assert client.recv(4, socket.MSG_WAITALL) == b"\x80\xff\0P"
            client.sendall(b"..\xfe\x01")
            wait_until(lambda: pool.servers[address].state == "up")
    listener.close()


def test_addresses_name_their_link(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "fastlb")
    peer = Origin(socket.AF_INET6)
    port = peer.listener.getsockname()[1]
    balancer = fastlb.Balancer(threads=1)
    pool = balancer.pool("p", [f"[::1%lo]:{port}"], health={
        "tcp": True, "interval": "50ms", "timeout": "30s"})
    balancer.listen("tcp://[::1%lo]:0", name="l", pool=pool)
    with balancer.background():
        site = Site(balancer, balancer.listeners["l"])
        wait_until(lambda: pool.servers[f"[::1%lo]:{port}"].state == "up")
        client = socket.create_connection(("::1", site.listener.port), timeout=30)
        client.sendall(b"hello")
        while True:
            server = peer.accept()
            try:
                if server.recv(5, socket.MSG_WAITALL) == b"hello":
                    break
            except ConnectionResetError:        # a check
                pass
            server.close()
        client.close()
        server.close()
        site.wait_idle()
    peer.close()


@pytest.mark.soak
@pytest.mark.timeout(600)
def test_10000_pools_come_up_under_checks_each_second_and_no_request_fails(
    serve: Serve, tmp_path: Path        # noqa: F811
) -> None:
    n = 10_000
    file = tmp_path / "origin.toml"
    file.write_text('threads = 1\n[listeners.l]\nbind = "http://0.0.0.0:0"\n'
                    'routes = [{ name = "r", respond = { status = 200 } }]\n')
    port = serve(str(file)).ready().port
    balancer = fastlb.Balancer(fastlb.Config.build({
        "listeners": {"l": {"bind": "http://127.0.0.1:0", "routes": [
            {"name": f"r{i}", "match": {"path": f"/{i}"}, "pool": f"p{i}"} for i in range(n)]}},
        "pools": {f"p{i}": {
            "servers": [f"127.1.{i // 250}.{i % 250 + 1}:{port}"],
            # (one that is idle for each pool would be more than there are descriptors)
            "idle_connection_timeout": "1s",
            "health": {"http": "/", "interval": "1s"}} for i in range(n)},
    }), threads=1)
    with balancer.background():
        begun = time.monotonic()
        servers = balancer._instance.running().live.servers()
        site = Site(balancer, balancer.listeners["l"])
        client = site.connect()
        asked = 0
        while asked < n or not all(server.checked for server in servers):
            client.sendall(b"GET /%d HTTP/1.1\r\nHost: a\r\n\r\n" % (asked % n))
            assert client.recv(65536).startswith(b"HTTP/1.1 200 ")
            assert not any(server.down for server in servers[asked % 100 :: 100])
            asked += 1
        print(f"all are up after {time.monotonic() - begun:.1f} s, {asked} requests")
        assert not any(server.down for server in servers)
        client.close()
        site.wait_idle()
