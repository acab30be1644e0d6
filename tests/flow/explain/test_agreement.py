"""What explain says, and what the engine does: for random configurations and requests, the same
route, and for policies that hash the same server."""

from __future__ import annotations

import random
import socket
import socketserver
import threading
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, given, seed, settings
from hypothesis import strategies as st

import fastlb
from fastlb.config.effective import effective
from fastlb.explain.explainer import Explainer
from fastlb.explain.wire import parse_url, request_bytes
from tests.flow.conftest import DEADLINE_S, wait_until
from tests.flow.explain.pairs import KEYED, configurations, request

REQUESTS = 50           # of a configuration
ORIGINS = 6
SEED = random.SystemRandom().randrange(1 << 32)


class _Origin(socketserver.StreamRequestHandler):
    """Says which one it is."""

    def handle(self) -> None:
        answer = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nX-Server: %d\r\n\r\n" % (
            self.server.server_address[1])      # type: ignore[index]
        while line := self.rfile.readline():
            length = 0
            while line not in (b"\r\n", b""):
                if line.lower().startswith(b"content-length:"):
                    length = int(line.partition(b":")[2])
                line = self.rfile.readline()
            self.rfile.read(length)
            self.wfile.write(answer)


class _Server(socketserver.ThreadingTCPServer):
    daemon_threads = True


@pytest.fixture(scope="module")
def servers() -> Iterator[list[str]]:
    running = [_Server(("127.0.0.1", 0), _Origin) for _ in range(ORIGINS)]
    for server in running:
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    yield [f"127.0.0.1:{server.server_address[1]}" for server in running]
    for server in running:
        server.shutdown()
        server.server_close()


class _Client:
    """Sends requests one after the other, on a connection as long as it lasts."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._sock: socket.socket | None = None

    def ask(self, raw: bytes) -> tuple[int, dict[str, str]]:
        if self._sock is None:
            self._sock = socket.create_connection(("127.0.0.1", self._port), timeout=DEADLINE_S)
            self._file = self._sock.makefile("rb")
        self._sock.sendall(raw)
        status = int(self._file.readline().split()[1])
        fields = {}
        while (line := self._file.readline()) not in (b"\r\n", b""):
            name, _, value = line.decode("latin-1").partition(":")
            fields[name.lower()] = value.strip()
        self._file.read(int(fields.get("content-length", 0)))
        if fields.get("connection") == "close":
            self.close()
        return status, fields

    @property
    def source(self) -> str:
        if self._sock is None:
            return "127.0.0.1"
        return f"127.0.0.1:{self._sock.getsockname()[1]}"

    def close(self) -> None:
        if self._sock is not None:
            self._file.close()
            self._sock.close()
            self._sock = None


def route_of(status: int, fields: dict[str, str]) -> str | None:
    if "location" in fields:
        return fields["location"].removeprefix("/to/").partition("?")[0]
    if "x-fastlb-route" in fields:
        return fields["x-fastlb-route"]
    return "" if "x-server" in fields else None


def compare(config: dict[str, Any], chance: random.Random, n: int) -> None:
    built = fastlb.Config.build(config)
    offline = Explainer.offline(effective(built))
    balancer = fastlb.Balancer(built, threads=1)
    with balancer.background():
        client = _Client(balancer.listeners["web"].port)
        live = balancer._instance.running().live
        for _ in range(n):
            asked = request(chance)
            wait_until(lambda: not any(s.in_flight for s in live.servers()), "something goes on")
            said = balancer.explain(**asked, client=client.source)
            before = offline.explain(**asked, client=client.source)
            status, fields = client.ask(request_bytes(
                asked["method"], parse_url(asked["url"]), asked["headers"], asked["body"], ""))
            check(said, status, fields)
            assert before.route == said.route and before.action == said.action
            assert before.sent.partition("X-Request-Id")[0] == \
                said.sent.partition("X-Request-Id")[0]
            if said.pool is not None and is_keyed(said.pools[0]):
                assert before.server == said.server
        client.close()


def is_keyed(pool: Any) -> bool:
    """Whether a key picks the server: not where another pool stands in for it."""
    return pool.balance in KEYED and pool.picked_in == pool.name


def check(said: Any, status: int, fields: dict[str, str]) -> None:
    if said.answer is not None:
        assert status == said.answer.status
        assert fields.get("x-fastlb-error", "responded") == said.answer.reason
        shown = {name.lower(): value for name, value in said.response_headers}
        fields.pop("connection", None)
        assert fields | {"date": ""} == shown | {"date": ""}
        if said.answer.reason == "responded":
            assert route_of(status, fields) == said.route
        return
    if "x-server" not in fields:        # no server can be had
        assert status == 503 and said.server is None
        return
    assert route_of(status, fields) == said.route
    assert [route.name for route in said.routes if route.outcome == "taken"] == \
        ([said.route] if said.route else [])
    server = f"127.0.0.1:{fields['x-server']}"
    # (a share of others is what a thousand picks show: what is rare may not be among them)
    assert server in {one.address for one in said.candidates
                      if one.share > 0 or said.pools[0].balance not in ("round_robin", "random")}
    if said.pool is not None and (is_keyed(said.pools[0]) or said.pools[0].certain):
        assert server == said.server


def agree(servers: list[str], examples: int) -> None:
    print(f"seed {SEED}")

    @seed(SEED)
    @settings(max_examples=examples, deadline=None, database=None,
              suppress_health_check=list(HealthCheck))
    @given(config=configurations(servers), chance=st.randoms(use_true_random=True))
    def run(config: dict[str, Any], chance: random.Random) -> None:
        compare(config, chance, REQUESTS)

    run()


def test_explain_names_what_the_engine_does(servers: list[str]) -> None:
    agree(servers, 40)


@pytest.mark.soak
@pytest.mark.timeout(600)
def test_explain_names_what_the_engine_does_10_000_times(servers: list[str]) -> None:
    agree(servers, 200)
