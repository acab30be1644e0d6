"""The programs of examples/ run, and do what they say."""

from __future__ import annotations

import http.client
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from fastlb.testing import TestBalancer
from tests.flow.conftest import DEADLINE_S, forks_with_threads

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"


def output(*arguments: str) -> str:
    done = subprocess.run(
        [sys.executable, *arguments], capture_output=True, text=True, timeout=120, cwd=EXAMPLES
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stderr == ""
    return done.stdout


def test_embed() -> None:
    assert output("embed.py").splitlines() == [
        "by weight: {'blue': 10, 'green': 20}",
        "green is drained: {'blue': 30}",
    ]


def test_policy() -> None:
    assert output("policy.py").splitlines() == [
        "/plans/1, premium: docs",
        "/plans/1, free: api",
        "/docs/7/edit, key-1: 200 docs",
        "/docs/7/edit, key-2: 302 /plans/premium",
        '/docs/7/edit, key-3: 401 {"error": "who are you?"}',
        "/reports/today: api",
        "the server of docs got x-tenant: acme",
    ]


def test_with_faults() -> None:
    said = output("-m", "pytest", "-q", "-p", "no:cacheprovider", "test_with_faults.py")
    assert "5 passed" in said


@pytest.fixture
def program() -> Iterator[Callable[..., None]]:
    """Starts one, in a group of processes of its own; all of them are gone in the end."""
    running: list[subprocess.Popen[bytes]] = []

    def start(*arguments: str, **environ: str) -> None:
        running.append(subprocess.Popen(
            [sys.executable, *arguments], cwd=EXAMPLES, env={**os.environ, **environ},
            stdin=subprocess.DEVNULL, start_new_session=True,
        ))

    yield start
    for one in running:
        one.send_signal(signal.SIGTERM)
    try:
        for one in running:
            assert one.wait(3 * DEADLINE_S) in (0, -signal.SIGTERM)
    finally:
        for one in running:
            if one.poll() is None:
                os.killpg(one.pid, signal.SIGKILL)
                one.wait()


def ask(port: int, path: str, key: str) -> tuple[str, str]:
    """The answer, and the worker that it went through; over a connection of its own."""
    client = http.client.HTTPConnection("127.0.0.1", port, timeout=DEADLINE_S)
    try:
        client.request("GET", path, headers={"authorization": key})
        got = client.getresponse()
        return got.read().decode(), got.headers["x-worker"]
    finally:
        client.close()


@forks_with_threads
@pytest.mark.parametrize(
    "arguments",
    [
        ["-m", "uvicorn", "fastapi_lifespan:app", "--workers", "2", "--port", "0",
         "--log-level", "warning"],
        ["-m", "gunicorn", "--preload", "--workers", "2", "--worker-class", "asgi",
         "--bind", "127.0.0.1:0", "--log-level", "warning", "fastapi_lifespan:app"],
    ],
    ids=["uvicorn", "gunicorn-preload"],
)
def test_a_policy_in_each_worker_of(
    arguments: list[str], program: Callable[..., None]
) -> None:
    with TestBalancer() as balancer, socket.socket() as keeper:
        standard, premium = balancer.origin("standard"), balancer.origin("premium")
        # Nobody else gets this port, and as it doesn't listen, it gets no connection either.
        keeper.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        keeper.bind(("127.0.0.1", 0))
        port = keeper.getsockname()[1]
        program(
            *arguments, BALANCER_BIND=f"http://127.0.0.1:{port}",
            STANDARD_SERVERS=standard.address, PREMIUM_SERVERS=premium.address,
        )
        workers: set[str] = set()
        deadline = time.monotonic() + 120
        while len(workers) < 2:
            assert time.monotonic() < deadline, workers
            try:
                workers.add(ask(port, "/docs/1/x", "premium-1")[1])
            except ConnectionError:             # it isn't there yet
                time.sleep(0.02)
        for _ in range(20):
            said, worker = ask(port, "/docs/1/x", "premium-1")
            assert said == "premium" and worker in workers
            said, worker = ask(port, "/docs/2/x", "")
            assert said == "standard" and worker in workers
        assert {request.path for request in premium.requests} == {"/docs/1/x"}
        assert {request.path for request in standard.requests} == {"/docs/2/x"}
