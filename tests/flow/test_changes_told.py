"""What is told of servers: who was looked at, what became of them, and how fast they are."""

from __future__ import annotations

import asyncio
import json
import logging
from typing import Any

import pytest

import fastlb
from tests.flow.conftest import Origin, Site, wait_until
from tests.flow.http.peers import HttpOrigin, get


def told(subscription: Any) -> list[tuple[str, str, str]]:
    return [(one.pool, one.server, one.state) for one in subscription._waiting if one is not None]


def test_events_tell_of_servers_that_come_go_and_weigh_and_of_reloads() -> None:
    balancer = fastlb.Balancer(threads=1)
    pool = balancer.pool("p", ["10.0.0.1:1", "10.0.0.2:1"])
    balancer.listen("tcp://127.0.0.1:0", name="l", pool=pool)
    with balancer.background():
        events = balancer.events()
        pool.set_servers(["10.0.0.1:1", "10.0.0.3:1"]).wait(30)
        pool.servers["10.0.0.3:1"].set_weight(7).wait(30)
        assert told(events) == [
            ("p", "10.0.0.3:1", "added"), ("p", "10.0.0.2:1", "removed"),
            ("p", "10.0.0.3:1", "reweighted")]
        assert events._waiting[-1].text == "has weight 7 now, before 1"
        del events
        events = balancer.events()
        asyncio.run(balancer.reload(balancer.config))
        with pytest.raises(fastlb.ConfigError):
            asyncio.run(balancer.reload("threads = x\n"))
        assert told(events) == [("", "", "reloaded"), ("", "", "refused")]


def test_very_many_changes_are_one_log_line(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "fastlb")
    balancer = fastlb.Balancer(threads=1)
    pool = balancer.pool("p", ["10.0.0.1:1"])
    balancer.listen("tcp://127.0.0.1:0", name="l", pool=pool)
    with balancer.background():
        events = balancer.events()
        pool.set_servers([f"10.0.1.{i}:1" for i in range(200)]).wait(30)
        assert len(told(events)) == 201
        wait_until(lambda: any(m.startswith("pool p") for m in caplog.messages))
        assert len([m for m in caplog.messages if m.startswith("pool p")]) == 1


def test_a_server_is_unchecked_until_a_connection_or_a_check_reaches_it(origin: Origin) -> None:
    balancer = fastlb.Balancer(threads=1)
    pool = balancer.pool("p", [origin.address])
    balancer.listen("tcp://127.0.0.1:0", name="l", pool=pool)
    with balancer.background():
        site = Site(balancer, balancer.listeners["l"])
        assert pool.servers[origin.address].state == "unchecked"
        client, server = site.pair(origin)
        wait_until(lambda: pool.servers[origin.address].state == "up")
        client.close()
        server.close()
        site.wait_idle()


def test_a_good_check_makes_a_server_up_and_one_bad_check_makes_it_nothing(
    origin: Origin
) -> None:
    balancer = fastlb.Balancer(threads=1)
    pool = balancer.pool(
        "p", [origin.address, "127.0.0.1:1"],
        health={"tcp": True, "interval": "50ms", "fall": 1000})
    balancer.listen("tcp://127.0.0.1:0", name="l", pool=pool)
    with balancer.background():
        wait_until(lambda: pool.servers[origin.address].state == "up")
        before = len(origin.accepted)
        for _ in range(3):
            origin.accept().close()
        assert len(origin.accepted) == before + 3
        assert pool.servers["127.0.0.1:1"].state == "unchecked"


def test_changing_the_config_that_was_handed_out_changes_nothing() -> None:
    given = fastlb.Config.build({
        "listeners": {"l": {"bind": "tcp://127.0.0.1:0", "pool": "p"}},
        "pools": {"p": {"servers": ["10.0.0.1:1"]}}})
    balancer = fastlb.Balancer(given, threads=1)
    with balancer.background():
        config = balancer.config
        before = json.dumps(config.model_dump(exclude_unset=True))
        config.pools.clear()
        config.listeners["l"].bind.append("nonsense")
        assert json.dumps(balancer.config.model_dump(exclude_unset=True)) == before
        made = asyncio.run(balancer.reload(balancer.config))
        assert made.differences == ()


def test_latency_is_known_without_peak_ewma() -> None:
    origin = HttpOrigin()
    balancer = fastlb.Balancer(threads=1)
    pool = balancer.pool("p", [origin.address])
    balancer.listen("http://127.0.0.1:0", name="l", pool=pool)
    with balancer.background():
        site = Site(balancer, balancer.listeners["l"])
        assert pool.servers[origin.address].latency == 0.0
        client = site.connect()
        client.sendall(get())
        assert client.recv(12) == b"HTTP/1.1 200"
        wait_until(lambda: pool.servers[origin.address].latency > 0.0)
        client.close()
        site.wait_idle()
    origin.close()
