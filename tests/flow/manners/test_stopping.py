"""Every way to stop: from threads, twice, given up, after the loop is gone."""

from __future__ import annotations

import asyncio
import os
import random
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

import fastlb
from tests.flow.conftest import DEADLINE_S, Origin, read_exactly, wait_until


@pytest.fixture
def eager_threads() -> Iterator[None]:
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    yield
    sys.setswitchinterval(interval)


def make(
    origin: Origin, threads: int, bind: str = "tcp://127.0.0.1:0"
) -> tuple[fastlb.Balancer, fastlb.Listener]:
    balancer = fastlb.Balancer(threads=threads)
    return balancer, balancer.listen(bind, pool=balancer.pool("p", [origin.address]))


def open_sockets() -> int:
    count = 0
    for fd in os.listdir("/proc/self/fd"):
        try:
            count += os.readlink(f"/proc/self/fd/{fd}").startswith("socket:")
        except FileNotFoundError:
            pass                        # that of the listing itself
    return count


@pytest.mark.parametrize("threads", [0, 2])
def test_many_threads_stop_it_at_once(
    origin: Origin, threads: int, eager_threads: None
) -> None:
    seed = int.from_bytes(os.urandom(4), "big")
    print(f"seed {seed}")
    choose = random.Random(seed)
    balancer, _ = make(origin, threads)
    problems: list[BaseException] = []

    def stop(timeout_s: float) -> None:
        try:
            for _ in range(3):
                balancer.stop(timeout=timeout_s).wait(DEADLINE_S)
        except BaseException as error:
            problems.append(error)

    for turn in range(40):
        with balancer.background():
            stoppers = [
                threading.Thread(target=stop, args=(choose.choice([0, 1]),)) for _ in range(3)
            ]
            for stopper in stoppers:
                stopper.start()
            if turn % 2:
                for stopper in stoppers:
                    stopper.join()
        for stopper in stoppers:
            stopper.join()
    assert problems == []


@pytest.mark.parametrize("threads", [0, 1])
def test_a_second_stop_ends_what_the_first_waits_for(origin: Origin, threads: int) -> None:
    balancer, listener = make(origin, threads)
    with balancer.background():
        with socket.create_connection(("127.0.0.1", listener.port), timeout=DEADLINE_S) as client:
            server = origin.accept()
            first = balancer.stop()
            client.sendall(b"still here")
            assert read_exactly(server, 10) == b"still here"
            balancer.stop()
            first.wait(DEADLINE_S)
            with pytest.raises(ConnectionResetError):
                client.recv(1)
            with pytest.raises(ConnectionResetError):
                server.recv(1)


@pytest.mark.parametrize("threads", [0, 1])
@pytest.mark.parametrize("patience_s", [0.0, 0.05])
def test_giving_up_to_wait_for_a_stop_ends_it_at_once(
    origin: Origin, threads: int, patience_s: float, tmp_path: Path
) -> None:
    path = tmp_path / "listen.sock"
    balancer, _ = make(origin, threads, f"tcp://unix:{path}")

    async def main() -> None:
        for _ in range(3):              # it can be started again
            await balancer.start()
            client = socket.socket(socket.AF_UNIX)
            client.settimeout(DEADLINE_S)
            client.connect(str(path))
            server = await asyncio.to_thread(origin.accept)
            with pytest.raises(asyncio.TimeoutError):
                await asyncio.wait_for(_awaited(balancer.stop()), patience_s)
            await balancer.stop()
            with pytest.raises(ConnectionResetError):
                server.recv(1)
            assert client.recv(1) == b""        # a unix socket knows no resets
            assert not path.exists()
            client.close()
            server.close()

    asyncio.run(main())


async def _awaited(stopping: fastlb.balancer.Stopping) -> None:
    await stopping


@pytest.mark.parametrize("threads", [0, 1])
def test_a_stop_that_is_cancelled_before_it_begins_is_not_forgotten(
    origin: Origin, threads: int
) -> None:
    balancer, listener = make(origin, threads)

    async def main() -> None:
        await balancer.start()
        task = asyncio.ensure_future(_awaited(balancer.stop()))
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await balancer.stop()
        with pytest.raises(RuntimeError, match="isn't running"):
            listener.url  # noqa: B018 - asking is what fails

    asyncio.run(main())


@pytest.mark.parametrize("threads", [0, 1])
def test_it_can_be_stopped_after_its_loop_is_closed(origin: Origin, threads: int) -> None:
    balancer, listener = make(origin, threads)
    before, threads_before = open_sockets(), set(threading.enumerate())

    async def main() -> int:
        await balancer.start()
        return listener.port

    for _ in range(2):                  # and started again
        port = asyncio.run(main())
        balancer.stop().wait(DEADLINE_S)
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", port))
    # (What tests before this one have left may end meanwhile.)
    wait_until(lambda: open_sockets() <= before)
    wait_until(lambda: set(threading.enumerate()) <= threads_before)


@pytest.mark.parametrize("threads", [0, 1])
def test_a_loop_that_ends_while_it_drains_ends_it_too(origin: Origin, threads: int) -> None:
    """As when Ctrl-C cancels the main task of asyncio.run() inside of `await lb.stop()`."""
    balancer, listener = make(origin, threads)
    clients = []

    async def main() -> None:
        await balancer.start()
        clients.append(socket.create_connection(("127.0.0.1", listener.port), DEADLINE_S))
        await asyncio.to_thread(origin.accept)
        balancer.stop()                 # and nobody waits for it
        await asyncio.sleep(0)

    asyncio.run(main())
    with pytest.raises(ConnectionResetError):
        clients[0].recv(1)
    clients[0].close()
    balancer.stop().wait(DEADLINE_S)


@pytest.mark.parametrize("threads", [0, 2])
def test_a_stop_without_patience_closes_no_socket_that_an_engine_uses(
    origin: Origin, threads: int
) -> None:
    """The number of a closed socket is at once another one's: an engine must be done with it."""
    balancer, listener = make(origin, threads)
    for _ in range(30):
        with balancer.background():
            engines = balancer._instance.runtime.engines.all if balancer._instance.runtime else []
            clients = [socket.create_connection(("127.0.0.1", listener.port)) for _ in range(5)]
            wait_until(lambda: listener.stats()["accepted"] == 5)
            stopping = balancer.stop(timeout=0)
            with socket.create_server(("127.0.0.1", 0)) as stranger:
                with socket.create_connection(stranger.getsockname()) as client:
                    connection, _ = stranger.accept()
                    stopping.wait(DEADLINE_S)
                    client.sendall(b"mine")
                    assert read_exactly(connection, 4) == b"mine"
                    connection.close()
            assert engines
            for one in clients:
                one.close()
            for server in [origin.accept() for _ in clients]:
                server.close()
        origin.accepted.clear()


# In a process of its own: in the one that runs the tests, descriptor 3 may be somebody's.
PROGRAM_OF_SYSTEMD = """
import os, socket, sys
import fastlb

activated = socket.create_server(("127.0.0.1", 0))
os.dup2(activated.fileno(), 3)
os.environ.update(LISTEN_PID=str(os.getpid()), LISTEN_FDS="1")
balancer = fastlb.Balancer(threads=int(sys.argv[1]))
balancer.listen("tcp://127.0.0.1:0", pool=balancer.pool("p", ["127.0.0.1:9"]))
with balancer.background():
    assert os.environ["LISTEN_FDS"] == "1"
    assert os.path.sameopenfile(3, activated.fileno())
    with socket.create_connection(activated.getsockname()) as client:
        connection, _ = socket.socket(fileno=3).accept()
        assert connection.getpeername() == client.getsockname()
print("its own")
"""


@pytest.mark.parametrize("threads", [0, 1])
def test_sockets_that_systemd_opened_for_the_program_stay_its_own(threads: int) -> None:
    result = subprocess.run(
        [sys.executable, "-c", PROGRAM_OF_SYSTEMD, str(threads)],
        capture_output=True, text=True, timeout=DEADLINE_S * 3,
    )
    assert (result.returncode, result.stdout) == (0, "its own\n"), result.stderr
