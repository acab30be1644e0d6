"""Signals of `fastlb serve`, at any moment; and what must not hold the process up."""

from __future__ import annotations

import fcntl
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import fastlb
from tests.flow.conftest import DEADLINE_S, Origin, wait_until
from tests.flow.test_process import Process, Serve, serve, short  # noqa: F401

NOBODY = "127.0.0.1:1"


@pytest.fixture
def names() -> Iterator[socket.socket]:
    """A name server that never answers."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind(("127.0.0.1", 0))
        sock.settimeout(DEADLINE_S)
        yield sock


def starting(
    serve: Serve, names: socket.socket, folder: Path, timeout: str  # noqa: F811
) -> Process:
    """A process that waits for a name to be resolved."""
    config = folder / "fastlb.toml"
    config.write_text(
        f'[dns]\nnameservers = ["127.0.0.1:{names.getsockname()[1]}"]\ntimeout = "{timeout}"\n'
        f'[listeners.l]\nbind = "tcp://unix:{folder}/l.sock"\npool = "p"\n'
        '[pools.p]\nservers = ["name.test:80"]\n')
    process = serve(str(config))
    names.recv(512)                     # it asks, and so it has begun
    return process


def test_signals_wait_until_the_process_serves(
    serve: Serve, names: socket.socket, tmp_path: Path  # noqa: F811
) -> None:
    process = starting(serve, names, tmp_path, "1s")
    for number in (signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2):
        process.process.send_signal(number)
    process.ready()
    wait_until(lambda: "reloaded; differences: 0" in process.log())
    wait_until(lambda: "SIGUSR2: ignored; only fastlb serve --supervise can be upgraded"
               in process.log())
    assert process.process.poll() is None


def test_a_start_can_be_ended(
    serve: Serve, names: socket.socket, tmp_path: Path  # noqa: F811
) -> None:
    process = starting(serve, names, tmp_path, "60s")
    process.process.terminate()
    assert process.ended() == 0
    assert "SIGTERM: ending before it serves" in process.log()
    assert "ready: " not in process.log() and not (tmp_path / "l.sock").exists()


STUCK = """
import time

def here(request):
    open("entered", "w").close()
    time.sleep(1000)

async def control(request):
    here(request)

blocks = here
"""


@pytest.mark.parametrize("policy", ["here", "control", "blocks"])
def test_a_second_signal_ends_a_process_whose_policy_is_stuck(
    serve: Serve, tmp_path: Path, policy: str  # noqa: F811
) -> None:
    (tmp_path / "stuck.py").write_text(STUCK)
    (tmp_path / "fastlb.toml").write_text(
        f'threads = 1\nadmin = {{ bind = "http://unix:{tmp_path}/admin.sock" }}\n'
        f'[listeners.l]\nbind = "http://unix:{tmp_path}/l.sock"\n'
        f'[[listeners.l.routes]]\nname = "r"\n'
        f'policy = {{ call = "stuck:{policy}", blocking = {str(policy == "blocks").lower()} }}\n')
    process = serve("fastlb.toml", cwd=tmp_path).ready()
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(str(tmp_path / "l.sock"))
        client.sendall(b"GET / HTTP/1.1\r\nHost: a.test\r\n\r\n")
        wait_until(lambda: (tmp_path / "entered").exists())
        process.process.terminate()
        if policy == "here":
            wait_until(lambda: "accepting no more" in process.log())
        process.process.send_signal(signal.SIGINT)
        assert process.ended() == (0 if policy == "blocks" else 1)     # (it holds nothing up)
    if policy != "blocks":
        assert "ended after a second signal, though a policy goes on" in process.lines[-1]
    assert not (tmp_path / "l.sock").exists() and not (tmp_path / "admin.sock").exists()


def test_closed_standard_descriptors_are_not_used_for_sockets(
    origin: Origin, tmp_path: Path
) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notify:
        notify.bind(str(tmp_path / "notify"))
        notify.settimeout(DEADLINE_S)
        process = subprocess.Popen(
            [sys.executable, "-m", "fastlb", "serve", *short(origin)],
            env={**os.environ, "NOTIFY_SOCKET": str(tmp_path / "notify")},
            preexec_fn=lambda: os.closerange(0, 3),
        )
        try:
            assert notify.recv(100) == b"READY=1"
            for number in range(3):
                assert os.readlink(f"/proc/{process.pid}/fd/{number}") == "/dev/null"
        finally:
            process.terminate()
        assert process.wait(DEADLINE_S) == 0


@pytest.mark.parametrize("command", [
    ["explain", "{config}", "/"], ["replay", "{config}", "/dev/null"], ["check", "{config}"],
    ["schema"], ["version", "-v"], ["demo", "--seconds", "1"]], ids=lambda command: command[0])
def test_closed_standard_descriptors_end_no_command(command: list[str], tmp_path: Path) -> None:
    config = tmp_path / "fastlb.toml"
    config.write_text('[listeners.l]\nbind = "http://127.0.0.1:0"\npool = "p"\n'
                      '[pools.p]\nservers = ["127.0.0.1:1"]\n')
    done = subprocess.run(
        [sys.executable, "-m", "fastlb", *(word.format(config=config) for word in command)],
        preexec_fn=lambda: os.closerange(0, 3), timeout=2 * DEADLINE_S, check=False)
    assert done.returncode == 0


def test_a_stderr_that_nobody_reads_holds_nothing_up(origin: Origin, tmp_path: Path) -> None:
    """Its pipe is full from the first line on."""
    reads, writes = os.pipe()
    fcntl.fcntl(writes, fcntl.F_SETPIPE_SZ, 4096)
    os.write(writes, b"x" * 4096)
    where = f"http://unix:{tmp_path}/admin.sock"
    (tmp_path / "failing.py").write_text("def fail(request):\n    raise ValueError('x' * 10000)\n")
    (tmp_path / "fastlb.toml").write_text(
        f'threads = 1\nadmin = {{ bind = "{where}" }}\n'
        f'[listeners.l]\nbind = "http://unix:{tmp_path}/l.sock"\n'
        '[[listeners.l.routes]]\nname = "r"\npolicy = "failing:fail"\n')
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notify:
        notify.bind(str(tmp_path / "notify"))
        notify.settimeout(DEADLINE_S)
        process = subprocess.Popen(
            [sys.executable, "-m", "fastlb", "serve", "fastlb.toml"], stderr=writes, cwd=tmp_path,
            env={**os.environ, "NOTIFY_SOCKET": str(tmp_path / "notify")},
        )
        try:
            assert notify.recv(100) == b"READY=1"
            for _ in range(3):
                with socket.socket(socket.AF_UNIX) as client:
                    client.settimeout(DEADLINE_S)
                    client.connect(str(tmp_path / "l.sock"))
                    client.sendall(b"GET / HTTP/1.1\r\nHost: a.test\r\nConnection: close\r\n\r\n")
                    assert client.recv(12) == b"HTTP/1.1 503"
            assert fastlb.connect(where).status()["pid"] == process.pid
        finally:
            process.terminate()
        assert process.wait(DEADLINE_S) == 0
    os.close(reads)
    os.close(writes)


def test_files_of_certificates_wake_an_idle_process_once_a_second(
    serve: Serve, origin: Origin, pair: tuple[str, str]  # noqa: F811
) -> None:
    cert, key = pair
    process = serve("--bind", "tls://127.0.0.1:0", "--server", origin.address, "--cert", cert,
                    "--key", key, "--threads", "2").ready()
    process.waits_until_it_sleeps(1.5)
