"""Reaching `max_connections` is said: in the log, the status and the metrics."""

from __future__ import annotations

import logging

import pytest

import fastlb
from fastlb.control import full
from fastlb.observe.metrics import Metrics
from fastlb.observe.status import status
from tests.flow.conftest import Origin, Site, wait_until


@pytest.mark.parametrize("whose", ["listener", "process"])
def test_a_limit_that_is_reached_is_logged_once_and_counted(
    whose: str, origin: Origin, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(full, "QUIET_S", 0.05)
    caplog.set_level(logging.INFO, "fastlb")
    mine, whole = ({"max_connections": 2}, {}) if whose == "listener" \
        else ({}, {"max_connections": 2})
    name = "listener web" if whose == "listener" else "the process"
    balancer = fastlb.Balancer(threads=1, **whole)
    pool = balancer.pool("p", [origin.address])
    balancer.listen("tcp://127.0.0.1:0", name="web", pool=pool, **mine)
    with balancer.background():
        runtime = balancer._instance.runtime
        assert runtime is not None
        site = Site(balancer, balancer.listeners["web"])
        held = [site.pair(origin) for _ in range(2)]
        waiting = [site.connect() for _ in range(3)]
        line = f"{name} has reached its max_connections (2): new clients wait in the kernel's queue"
        wait_until(lambda: line in caplog.messages)
        assert status(runtime)["listeners"][0]["full"] > 0
        assert b'fastlb_listener_full_total{listener="web"} ' in Metrics(runtime).render()
        for client, server in held:
            client.close()
            server.close()
        for client in waiting:
            origin.accept().close()
            client.close()
        wait_until(lambda: f"{name} has room for connections again" in caplog.messages)
        assert caplog.messages.count(line) == 1
        site.wait_idle()
