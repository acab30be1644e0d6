"""`fastlb serve` as a process: signals, sockets, descriptors."""

from __future__ import annotations

import json
import os
import re
import resource
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.flow.conftest import (
    DEADLINE_S,
    Origin,
    measures_memory,
    read_exactly,
    wait_until,
)
from tests.ports import free_port


class Process:
    """A running `fastlb serve` whose log lines are read as they come."""

    def __init__(self, *args: str, **keys: Any) -> None:
        self.lines: list[str] = []
        self.process = subprocess.Popen(
            [sys.executable, "-m", "fastlb", "serve", *args],
            stderr=subprocess.PIPE, text=True, **keys,
        )
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stderr is not None
        for line in self.process.stderr:
            self.lines.append(line.rstrip("\n"))

    def log(self) -> str:
        return "\n".join(self.lines)

    def ready(self) -> Process:
        wait_until(lambda: "ready: " in self.log() or self.process.poll() is not None)
        assert self.process.poll() is None, self.log()
        return self

    @property
    def port(self) -> int:
        found = re.search(r"ready: \w+://[^ ]*:(\d+) ->", self.log())
        assert found, self.log()
        return int(found[1])

    def connect(self) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.port), timeout=DEADLINE_S)

    def ended(self) -> int:
        status = self.process.wait(DEADLINE_S)
        self._reader.join()
        return status

    def cpu_ms(self) -> float:
        tasks = Path(f"/proc/{self.process.pid}/task").iterdir()
        return sum(int((task / "schedstat").read_text().split()[0]) for task in tasks) / 1e6

    def descriptors(self) -> int:
        return len(os.listdir(f"/proc/{self.process.pid}/fd"))

    def waits_until_it_sleeps(self, wakes_a_second: float) -> None:
        """For three seconds its threads wake up no more often than this, and twice. (First it has
        things to do still.)"""
        def wakes() -> int:
            tasks = Path(f"/proc/{self.process.pid}/task").iterdir()
            text = "\n".join((task / "status").read_text() for task in tasks)
            return sum(map(int, re.findall(r"^voluntary_ctxt_switches:\s+(\d+)", text, re.M)))

        def sleeps() -> bool:
            before, begun_s = wakes(), time.monotonic()
            time.sleep(3)
            return wakes() - before <= 2 + wakes_a_second * (time.monotonic() - begun_s)

        wait_until(sleeps)


@pytest.fixture
def serve() -> Iterator[Callable[..., Process]]:
    started: list[Process] = []

    def start(*args: str, **keys: Any) -> Process:
        started.append(Process(*args, **keys))
        return started[-1]

    yield start
    for process in started:
        process.process.kill()
        process.ended()


Serve = Callable[..., Process]


def short(origin: Origin, *more: str) -> tuple[str, ...]:
    return ("--bind", "tcp://127.0.0.1:0", "--server", origin.address, *more)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_lets_relays_finish_and_accepts_no_more(
    serve: Serve, origin: Origin, number: signal.Signals
) -> None:
    process = serve(*short(origin, "--threads", "2")).ready()
    client, server = process.connect(), origin.accept()
    process.process.send_signal(number)
    wait_until(lambda: "accepting no more" in process.log())
    refused: list[OSError] = []

    def is_refused() -> bool:
        try:
            process.connect().close()
        except ConnectionRefusedError as error:
            refused.append(error)
        except ConnectionResetError:
            pass                        # it was in the queue when the socket was closed
        return bool(refused)

    wait_until(is_refused)
    client.sendall(b"still here")
    assert read_exactly(server, 10) == b"still here"
    server.sendall(b"good")
    assert read_exactly(client, 4) == b"good"
    client.close()
    server.close()
    origin.listener.close()             # whoever was let in before the first was refused ends, too
    assert process.ended() == 0
    assert process.lines[-1].endswith("INFO fastlb: stopped")


def test_who_waits_in_the_queue_at_a_signal_is_served(serve: Serve, origin: Origin) -> None:
    process = serve(*short(origin)).ready()
    process.process.send_signal(signal.SIGSTOP)
    clients = [process.connect() for _ in range(20)]
    for client in clients:
        client.sendall(b"?")
    process.process.send_signal(signal.SIGTERM)
    process.process.send_signal(signal.SIGCONT)
    for _ in clients:
        server = origin.accept()
        assert read_exactly(server, 1) == b"?"
        server.sendall(b"!")
        server.close()
    assert [read_exactly(client, 1) for client in clients] == [b"!"] * 20
    for client in clients:
        client.close()
    assert process.ended() == 0


def test_relays_that_outlast_the_timeout_are_reset(
    serve: Serve, origin: Origin, tmp_path: Path
) -> None:
    config = tmp_path / "fastlb.toml"
    config.write_text(
        f'shutdown_timeout = "200ms"\n[listeners.l]\nbind = "tcp://127.0.0.1:0"\npool = "p"\n'
        f'[pools.p]\nservers = ["{origin.address}"]\n'
    )
    process = serve(str(config)).ready()
    client, server = process.connect(), origin.accept()
    process.process.terminate()
    with pytest.raises(ConnectionResetError):
        client.recv(1)
    with pytest.raises(ConnectionResetError):
        server.recv(1)
    assert process.ended() == 0
    assert "connections that had not ended in time, and were reset: 1" in process.log()


def test_a_second_signal_ends_at_once(serve: Serve, origin: Origin) -> None:
    process = serve(*short(origin)).ready()
    client = process.connect()
    origin.accept()
    process.process.terminate()
    wait_until(lambda: "accepting no more" in process.log())
    process.process.terminate()
    with pytest.raises(ConnectionResetError):
        client.recv(1)
    assert process.ended() == 0
    assert "SIGTERM again: ending at once" in process.log()


@pytest.mark.parametrize("threads", ["1", "2"])
def test_a_port_that_is_taken_is_told_in_one_line(
    serve: Serve, origin: Origin, threads: str
) -> None:
    first = serve(*short(origin, "--threads", threads)).ready()
    bind = f"tcp://127.0.0.1:{first.port}"
    second = serve("--bind", bind, "--server", origin.address, "--threads", threads)
    assert second.ended() == 2
    assert second.lines[-1] == (
        f"--bind: {bind}: the port is taken: another process listens there"
    )
    assert "Traceback" not in second.log()


def test_two_that_agree_share_a_port(serve: Serve, origin: Origin, tmp_path: Path) -> None:
    port = free_port()
    config = tmp_path / "fastlb.toml"
    config.write_text(
        f'threads = 1\n[listeners.l]\nbind = "tcp://127.0.0.1:{port}"\npool = "p"\n'
        f'reuse_port = true\n[pools.p]\nservers = ["{origin.address}"]\n'
    )
    processes = [serve(str(config)).ready() for _ in range(2)]
    assert [process.port for process in processes] == [port, port]


def test_an_address_of_another_machine(serve: Serve) -> None:
    process = serve("--bind", "tcp://192.0.2.1:80", "--server", "127.0.0.1:1")
    assert process.ended() == 2
    assert process.lines[-1] == (
        "--bind: tcp://192.0.2.1:80: this machine has no such address"
    )


@pytest.mark.skipif(os.geteuid() != 0, reason="gives up a capability, which only root has")
def test_no_permission_for_a_low_port_names_the_ways_out() -> None:
    first = int(Path("/proc/sys/net/ipv4/ip_unprivileged_port_start").read_text())
    if first <= 80:
        pytest.skip(f"ports from {first} on need no permission here")
    done = subprocess.run(
        ["setpriv", "--bounding-set=-net_bind_service", "--inh-caps=-net_bind_service",
         sys.executable, "-m", "fastlb", "serve", "--bind", "tcp://127.0.0.1:80",
         "--server", "127.0.0.1:1"],
        capture_output=True, text=True,
    )
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1] == (
        "--bind: tcp://127.0.0.1:80: no permission for port 80:"
        " grant CAP_NET_BIND_SERVICE, lower sysctl net.ipv4.ip_unprivileged_port_start,"
        " or let systemd open it (socket activation)"
    )


def test_a_stale_unix_socket_is_replaced_and_a_live_one_is_not(
    serve: Serve, origin: Origin, tmp_path: Path
) -> None:
    path = tmp_path / "listen.sock"
    stale = socket.socket(socket.AF_UNIX)
    stale.bind(str(path))
    stale.close()
    arguments = ("--bind", f"tcp://unix:{path}", "--server", origin.address)
    first = serve(*arguments).ready()
    second = serve(*arguments)
    assert second.ended() == 2
    assert second.lines[-1] == (
        f"--bind: tcp://unix:{path}: another process listens there"
    )
    origin.accept().close()             # (the second has asked by connecting)
    first.process.terminate()
    assert first.ended() == 0
    assert not path.exists()


def test_systemd_is_told_and_its_sockets_are_used(origin: Origin, tmp_path: Path) -> None:
    notify = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    notify.bind(str(tmp_path / "notify"))
    notify.settimeout(DEADLINE_S)
    with socket.create_server(("127.0.0.1", 0)) as activated:
        port = activated.getsockname()[1]
        # As systemd does it: descriptor 3, and the number of the process that is to take it.
        script = (
            "import os, sys; os.dup2(int(sys.argv[1]), 3); os.set_inheritable(3, True);"
            "os.environ.update(LISTEN_PID=str(os.getpid()), LISTEN_FDS='1');"
            "os.execv(sys.executable, [sys.executable, '-m', 'fastlb', 'serve', *sys.argv[2:]])"
        )
        process = subprocess.Popen(
            [sys.executable, "-c", script, str(activated.fileno()),
             "--bind", f"tcp://127.0.0.1:{port}", "--server", origin.address],
            env={**os.environ, "NOTIFY_SOCKET": str(tmp_path / "notify")},
            pass_fds=[activated.fileno()], stderr=subprocess.DEVNULL,
        )
    try:
        assert notify.recv(100) == b"READY=1"
        client = socket.create_connection(("127.0.0.1", port), timeout=DEADLINE_S)
        server = origin.accept()
        client.sendall(b"activated")
        assert read_exactly(server, 9) == b"activated"
        client.close()
        server.close()
        process.terminate()
        assert notify.recv(100) == b"STOPPING=1\nEXTEND_TIMEOUT_USEC=35000000"
        assert process.wait(DEADLINE_S) == 0
    finally:
        process.kill()
        process.wait()


def test_running_out_of_descriptors_stops_accepting_and_nothing_else(
    serve: Serve, origin: Origin, tmp_path: Path
) -> None:
    config = tmp_path / "fastlb.toml"
    config.write_text(
        f'threads = 1\nmax_connections = 1000\n[listeners.l]\nbind = "tcp://127.0.0.1:0"\n'
        f'pool = "p"\n[pools.p]\nservers = ["{origin.address}"]\n'
    )
    limit = (60, 60)
    process = serve(
        str(config), preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_NOFILE, limit)
    ).ready()
    waiting = [process.connect() for _ in range(60)]
    for i, client in enumerate(waiting):
        client.sendall(bytes([i]))
    wait_until(lambda: "out of file descriptors" in process.log())
    before = process.cpu_ms()
    time.sleep(0.5)
    assert process.cpu_ms() - before < 100      # it waits, and doesn't spin
    served = 0
    while served < len(waiting):                # who could not be accepted waits, and is served
        server = origin.accept()
        number = read_exactly(server, 1)[0]
        server.sendall(bytes([number]))
        assert waiting[number].recv(1) == bytes([number])
        waiting[number].close()
        server.close()
        served += 1
    assert process.process.poll() is None


@measures_memory
def test_many_short_connections_leave_nothing_behind(serve: Serve, origin: Origin) -> None:
    _short_connections(serve, origin, 5_000)


@pytest.mark.soak
@pytest.mark.timeout(1800)
def test_a_million_short_connections_leave_nothing_behind(serve: Serve, origin: Origin) -> None:
    _short_connections(serve, origin, 1_000_000)


def _short_connections(serve: Serve, origin: Origin, n: int) -> None:
    process = serve(*short(origin, "--threads", "2")).ready()

    def answer() -> None:
        while True:
            try:
                server, _ = origin.listener.accept()
            except OSError:
                return
            with server:
                server.sendall(server.recv(10))

    threading.Thread(target=answer, daemon=True).start()

    def ask(times: int) -> None:
        for _ in range(times):
            with process.connect() as client:
                client.sendall(b"ping")
                assert client.recv(10) == b"ping"

    ask(n // 10)                    # warm: what is allocated once is allocated now
    descriptors, memory_kib = process.descriptors(), anonymous_kib(process)
    ask(n - n // 10)
    wait_until(lambda: process.descriptors() <= descriptors)
    assert anonymous_kib(process) - memory_kib < 1024


def anonymous_kib(process: Process) -> int:
    text = Path(f"/proc/{process.process.pid}/smaps_rollup").read_text()
    found = re.search(r"Anonymous: +(\d+) kB", text)
    assert found
    return int(found[1])


@measures_memory
@pytest.mark.parametrize(
    "n", [1_000, pytest.param(9_800, marks=[pytest.mark.soak, pytest.mark.timeout(1800)])]
)
def test_idle_connections_cost_little_and_still_work(
    serve: Serve, origin: Origin, n: int
) -> None:
    process = serve(*short(origin, "--threads", "1")).ready()
    pairs = [(process.connect(), origin.accept())]      # (what is made once is there)
    process.waits_until_it_sleeps(0)
    before = anonymous_kib(process)
    for _ in range(n):
        client = process.connect()
        pairs.append((client, origin.accept()))
    each = (anonymous_kib(process) - before) * 1024 / n
    assert each < 1024
    for client, server in pairs:
        client.sendall(b"x")
        assert server.recv(1) == b"x"
        client.close()
        server.close()
    wait_until(lambda: process.descriptors() < 50)


def test_the_descriptor_limit_is_raised_as_far_as_it_may_be(serve: Serve, origin: Origin) -> None:
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    low = (256, min(hard, 4096))
    process = serve(
        *short(origin), preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_NOFILE, low)).ready()
    limits = Path(f"/proc/{process.process.pid}/limits").read_text()
    assert re.findall(r"^Max open files +(\d+) +(\d+) ", limits, re.M) == [(str(low[1]),) * 2]


def test_an_idle_process_sleeps(serve: Serve, origin: Origin) -> None:
    serve(*short(origin, "--threads", "2")).ready().waits_until_it_sleeps(0)


def test_the_log_has_nothing_per_connection_and_can_be_json(serve: Serve, origin: Origin) -> None:
    process = serve(*short(origin, "--log-format", "json")).ready()
    for _ in range(20):
        client, server = process.connect(), origin.accept()
        client.close()
        server.close()
    process.process.terminate()
    assert process.ended() == 0
    entries = [json.loads(line) for line in process.lines]
    assert all({"time", "level", "logger", "message"} == set(entry) for entry in entries)
    assert len(entries) < 8


def test_a_listener_with_routes_alone_is_ready_by_their_number(
    serve: Serve, tmp_path: Path
) -> None:
    path = tmp_path / "a.toml"
    path.write_text(
        '[listeners.a]\nbind = "http://127.0.0.1:0"\nroutes = [\n'
        '    { name = "a", match.path = "/a", respond = {} },\n'
        '    { name = "b", match.path = "/b", respond = {} },\n]\n'
        '[pools.p]\nservers = ["127.0.0.1:1"]\n'
    )
    process = serve(str(path))
    wait_until(lambda: "ready: " in process.log())
    assert re.search(r"ready: http://127\.0\.0\.1:\d+ -> 2 routes \(", process.log())
