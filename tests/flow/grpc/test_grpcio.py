"""gRPC as it is used: grpcio's clients and servers on either side of fastlb."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from fastlb._core.tables.certificates import H2_AVAILABLE
from tests.flow.conftest import BUILD, wait_until
from tests.flow.http.conftest import HttpSite, web
from tests.flow.observe.test_metrics import Scraped

__all__ = ["web"]

pytestmark = [
    pytest.mark.skipif(BUILD == "asan", reason="grpcio can't be loaded with its runtime"),
    pytest.mark.skipif(not H2_AVAILABLE, reason="built without HTTP/2"),
]
CALLS = Path(__file__).with_name("calls.py")
ROOT = Path(__file__).parents[3]
# (not imported: grpcio is to be loaded in another process)
SCENARIOS = [one.name for one in ast.parse(CALLS.read_text()).body
             if isinstance(one, ast.FunctionDef)
             and [arg.arg for arg in one.args.args] == ["to", "servers"]]


@pytest.fixture(params=["thread", "threads", "inline"])
def mode(request: pytest.FixtureRequest) -> int:
    return {"thread": 1, "threads": 2, "inline": 0}[request.param]


def statuses(site: HttpSite) -> dict[str, float]:
    return {dict(labels)["grpc_code"]: n
            for (name, labels), n in Scraped(site.site.balancer).samples.items()
            if name == "fastlb_grpc_requests_total"}


@pytest.mark.parametrize("secure", [False, True], ids=["h2c", "tls"])
@pytest.mark.parametrize("scenario", SCENARIOS)
def test_calls_go_through(
    web: Callable[..., HttpSite], pair: tuple[str, str], scenario: str, secure: bool
) -> None:
    peers = subprocess.Popen(
        [sys.executable, "-m", "tests.flow.grpc.calls", scenario, *(pair if secure else ())],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=ROOT)
    try:
        assert peers.stdout is not None
        ports = json.loads(peers.stdout.readline())
        pool: dict[str, Any] = {"protocol": "h2", "connect_timeout": "5s"}
        keys: dict[str, Any] = {"h2c": True}
        if secure:
            pool["tls"] = {"ca": pair[0], "server_name": "site.test"}
            keys = {"bind": "https://127.0.0.1:0",
                    "tls": {"certificates": [{"cert": pair[0], "key": pair[1]}]}}
        site = web([f"127.0.0.1:{port}" for port in ports], pool=pool, **keys)
        _, said = peers.communicate(f"{site.site.listener.port}\n", timeout=60)
    finally:
        peers.kill()
        peers.wait()
    assert peers.returncode == 0, said
    if scenario == "statuses":
        wait_until(lambda: statuses(site) == {"NOT_FOUND": 1, "UNIMPLEMENTED": 1})
    if scenario == "spread":
        assert statuses(site) == {"OK": 200}
    if scenario == "taken_back":
        wait_until(lambda: sum(statuses(site).values()) == 2)
        assert "OK" not in statuses(site)
