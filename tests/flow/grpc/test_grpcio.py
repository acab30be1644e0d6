"""gRPC as it is used: grpcio's clients and servers on either side of fastlb."""

from __future__ import annotations

import ast
import asyncio
import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

import fastlb
from fastlb._core.tables.certificates import H2_AVAILABLE
from tests.flow.conftest import BUILD, wait_until
from tests.flow.http.conftest import HttpSite, web
from tests.flow.http2.test_grpc import calls
from tests.flow.modes import fixture_of

__all__ = ["web"]

pytestmark = [
    pytest.mark.skipif(BUILD == "asan", reason="grpcio can't be loaded with its runtime"),
    pytest.mark.skipif(not H2_AVAILABLE, reason="built without HTTP/2"),
    pytest.mark.timeout(400),
]
HERE = Path(__file__).parent
ROOT = HERE.parents[2]
# (not imported: grpcio is to be loaded in another process)
SCENARIOS = [one.name for one in ast.parse((HERE / "calls.py").read_text()).body
             if isinstance(one, ast.FunctionDef)
             and [arg.arg for arg in one.args.args] == ["to", "servers"]]
RELOADS = 15


mode = fixture_of("thread", "threads", "inline")


class Peers:
    """A process of tests.flow.grpc.calls."""

    def __init__(self, scenario: str, files: tuple[str, ...]) -> None:
        self.scenario = scenario
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tests.flow.grpc.calls", scenario, *files],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
            cwd=ROOT)
        self.servers = [f"127.0.0.1:{port}" for port in self.hear()]

    def hear(self) -> Any:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        assert line, self.process.communicate()[1]
        return json.loads(line)

    def say(self, line: object = "") -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(f"{line}\n")
        self.process.stdin.flush()

    def finish(self) -> dict[str, int]:
        """How often its clients saw each status."""
        heard, said = self.process.communicate(timeout=300)
        assert self.process.returncode == 0, said
        codes: dict[str, int] = json.loads(heard.splitlines()[-1])
        return codes

    def kill(self) -> None:
        self.process.kill()
        with suppress(BrokenPipeError):
            self.process.communicate()


Run = Callable[[str], Peers]
Front = Callable[[list[str]], HttpSite]


@pytest.fixture(params=[False, True], ids=["h2c", "tls"])
def files(request: pytest.FixtureRequest, pair: tuple[str, str]) -> tuple[str, ...]:
    """Of clients and servers that speak TLS, or none."""
    return pair if request.param else ()


@pytest.fixture
def run(files: tuple[str, ...]) -> Iterator[Run]:
    made: list[Peers] = []

    def start(scenario: str) -> Peers:
        made.append(Peers(scenario, files))
        return made[-1]

    yield start
    for one in made:
        one.kill()


@pytest.fixture
def front(web: Callable[..., HttpSite], files: tuple[str, ...], run: Run) -> Front:
    """(asks for `run`, so that peers have gone when all counts have to be at zero)"""
    def make(servers: list[str]) -> HttpSite:
        pool: dict[str, Any] = {"protocol": "h2", "connect_timeout": "600s"}
        if not files:
            return web(servers, pool=pool, h2c=True)
        cert, key = files
        return web(
            servers, bind="https://127.0.0.1:0", tls={"certificates": [{"cert": cert, "key": key}]},
            pool={**pool, "tls": {"ca": cert, "server_name": "site.test"}})

    return make


def agree(site: HttpSite, codes: dict[str, int]) -> None:
    """What clients saw is what was counted. Whether a deadline or a cancellation came first may be
    seen in either way, and what breaks is UNAVAILABLE or, by a client, INTERNAL."""
    same = {"DEADLINE_EXCEEDED": "CANCELLED", "INTERNAL": "UNAVAILABLE"}

    def one_way(found: dict[str, int]) -> dict[str, int]:
        sums: dict[str, int] = {}
        for code, n in found.items():
            sums[same.get(code, code)] = sums.get(same.get(code, code), 0) + n
        return sums

    wait_until(lambda: one_way(calls(site)) == one_way(codes), lambda: f"{calls(site)}, {codes}")


@pytest.mark.parametrize(("scenario", "files"), [
    pytest.param(name, tls, id=f"{name}-{'tls' if tls else 'h2c'}")
    for i, name in enumerate([*SCENARIOS, "draining"])
    for tls in ((False, True) if i % 3 == 0 else (False,))      # a third of them over TLS, too
], indirect=["files"])
def test_calls_go_through(front: Front, run: Run, scenario: str) -> None:
    peers = run(scenario)
    site = front(peers.servers)
    peers.say(site.site.listener.port)
    codes = peers.finish()
    assert sum(codes.values()) > 0
    agree(site, codes)


@pytest.mark.parametrize("scenario", ["while_it_reloads", "calls_while_it_reloads"])
def test_a_reload_breaks_nothing(front: Front, run: Run, scenario: str) -> None:
    """Its servers leave the pool, one by one, and come back."""
    peers = run(scenario)
    site = front(peers.servers)
    peers.say(site.site.listener.port)
    assert peers.hear() == "running"
    raw = site.site.balancer.config.model_dump(by_alias=True, exclude_unset=True)
    for turn in range(RELOADS):
        raw["pools"]["pool"]["servers"] = [
            one for i, one in enumerate(peers.servers) if i != turn % 4]
        raw["pools"]["pool"]["connect_timeout"] = f"{turn + 100}s"
        asyncio.run(site.site.balancer.reload(fastlb.Config.build(raw)))
    with suppress(BrokenPipeError):             # (what went wrong is said at its end)
        peers.say()
    codes = peers.finish()
    assert list(codes) == ["OK"]
    agree(site, codes)


def test_a_server_that_is_killed_ends_no_call_well(front: Front, run: Run) -> None:
    servers = {one.process.pid: one for one in (run("serve"), run("serve"))}
    site = front([one.servers[0] for one in servers.values()])
    peers = run("killed")
    peers.say(site.site.listener.port)
    servers[int(peers.hear().split()[0])].kill()
    peers.say()
    codes = peers.finish()
    assert codes["OK"] >= 20
    assert codes.get("UNAVAILABLE", 0) + codes.get("INTERNAL", 0) >= 2
    agree(site, codes)
