"""Reaching `max_connections` is said: in the log, the status and the metrics."""

from __future__ import annotations

import logging

import pytest

import fastlb
from fastlb.control import full
from fastlb.observe.metrics import Metrics
from fastlb.observe.status import status
from tests.flow.conftest import Origin, Site, wait_until


def reports_room(site: Site, line: str, caplog: pytest.LogCaptureFixture) -> bool:
    site.advance("11m")             # more than QUIET_S; the last accepts may come after that
    return line in caplog.messages


@pytest.mark.parametrize("whose", ["listener", "process"])
def test_a_limit_that_is_reached_is_logged_once_and_counted(
    whose: str, origin: Origin, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(full, "QUIET_S", 600.0)     # (nothing is quiet before we say so,
    monkeypatch.setattr(full, "REPEAT_S", 1e6)      # and nothing is said twice)
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
        wait_until(lambda: reports_room(site, f"{name} has room for connections again", caplog))
        assert caplog.messages.count(line) == 1
        site.wait_idle()
