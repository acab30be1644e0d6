"""What replay says of lists and limits, and what the same requests get when they come again."""

from __future__ import annotations

import http.client
import random
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

import fastlb
from fastlb.config.effective import effective
from fastlb.explain.replay import Replayed, open_log, replay
from tests.flow.conftest import DEADLINE_S, wait_until
from tests.flow.http.peers import HttpOrigin

pytestmark = pytest.mark.plain

CLIENTS = [f"127.0.0.{n}" for n in range(1, 13)]
REQUESTS = 400
# (no unit of a limit comes back while the test runs, nor while a log's times say that it did)
NEW: dict[str, Any] = {
    "networks": {"low": {"cidrs": ["127.0.0.2/31"]}, "odd": {"cidrs": ["127.0.0.7", "127.0.0.9"]},
                 "high": {"cidrs": ["127.0.0.11", "127.0.0.12"]}},
    "rate_limits": {
        "each": {"key": "client.ip", "limit": "1/h", "burst": 12},
        "writes": {"key": "client.ip", "limit": "1/h", "burst": 3},
        "watched": {"limit": "1/h", "burst": 40, "report": True},
    },
}
LISTENER: dict[str, Any] = {"deny": ["low", "odd"], "rate_limit": ["each", "watched"]}
ROUTE: dict[str, Any] = {"deny": {"networks": "high", "report": True}, "rate_limit": "writes"}


def config(server: str, log: Path, is_new: bool) -> fastlb.Config:
    return fastlb.Config.build({
        "access_log": {"path": str(log), "format": "json"},
        "listeners": {"web": {
            "bind": "http://127.0.0.1:0", "pool": "p", **(LISTENER if is_new else {}),
            "routes": [{"name": "w", "match": {"path": "/write"}, "pool": "p",
                        **(ROUTE if is_new else {})}]}},
        "pools": {"p": {"servers": [server]}},
        **(NEW if is_new else {}),
    })


def ask(port: int, client: str, path: str) -> int:
    """The answer's status; a connection that is closed at accept counts as 403, as in replay."""
    connection = http.client.HTTPConnection(
        "127.0.0.1", port, DEADLINE_S, source_address=(client, 0))
    try:
        connection.request("GET", path)
        answer = connection.getresponse()
        answer.read()
        return answer.status
    except (http.client.RemoteDisconnected, ConnectionError):
        return 403
    finally:
        connection.close()


def send(balancer: fastlb.Balancer) -> Counter[tuple[str, int]]:
    chance = random.Random(3)
    port = balancer.listeners["web"].port
    got: Counter[tuple[str, int]] = Counter()
    for _ in range(REQUESTS):
        client, path = chance.choice(CLIENTS), chance.choice(["/read", "/read", "/write"])
        got[client, ask(port, client, path)] += 1
    return got


def told(log: Path, before: fastlb.Config, after: fastlb.Config) -> Replayed:
    with open_log(str(log)) as lines:
        return replay(effective(before), lines, effective(after))


def test_replay_refuses_and_denies_what_is_refused_and_denied(tmp_path: Path) -> None:
    origin = HttpOrigin()
    logs = [tmp_path / "old.json", tmp_path / "new.json"]
    old, new = config(origin.address, logs[0], False), config(origin.address, logs[1], True)
    with fastlb.Balancer(old, threads=1).background() as balancer:
        assert {status for _, status in send(balancer)} == {200}
        wait_until(lambda: logs[0].read_text().count("\n") == REQUESTS)
    said = told(logs[0], old, new).against
    assert said is not None
    with fastlb.Balancer(new, threads=1).background() as balancer:
        got = send(balancer)
        limits = tuple((name, *(limit.stats()[n] for n in ("allowed", "refused", "reported")))
                       for name, limit in balancer.rate_limits.items())
        lists = tuple((name, *(one.stats()[n] for n in ("denied", "reported")))
                      for name, one in balancer.networks.items())
    origin.close()
    assert {status for _, status in got} == {200, 403, 429}
    assert all(denied + reported for _, denied, reported in lists)
    assert {status: load.requests for status, load in said.answers.items()} == {
        str(status): sum(n for (_, had), n in got.items() if had == status)
        for status in (403, 429)}
    refused = Counter[str]()
    for (client, status), n in got.items():
        refused[client] += n if status != 200 else 0
    assert said.clients_refused == dict(refused.most_common(10))
    assert {(one.name, one.allowed, one.refused, one.reported) for one in said.limits} == \
        set(limits)
    assert {(one.name, one.denied, one.reported) for one in said.networks} == set(lists)
