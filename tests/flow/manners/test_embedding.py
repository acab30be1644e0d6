"""A balancer inside someone's program: starts, stops, forks, exits."""

from __future__ import annotations

import asyncio
import logging
import multiprocessing
import os
import resource
import signal
import socket
import subprocess
import sys
import textwrap
import threading
import time
from pathlib import Path

import pytest
import uvloop

import fastlb
from tests.flow.conftest import DEADLINE_S, Origin, forks_with_threads, read_exactly, wait_until

PRELUDE = """
import asyncio, os, signal, socket, sys, threading, time
import fastlb

origin = socket.create_server(("127.0.0.1", 0), backlog=100)

def echo(connection):
    try:
        while data := connection.recv(4096):
            connection.sendall(data)
    except OSError:
        pass

def accept():
    while True:
        connection, _ = origin.accept()
        try:
            threading.Thread(target=echo, args=(connection,), daemon=True).start()
        except RuntimeError:        # Python 3.12 begins no thread while the interpreter goes
            return

threading.Thread(target=accept, daemon=True).start()

def make(threads):
    lb = fastlb.Balancer(threads=threads)
    pool = lb.pool("p", [f"127.0.0.1:{origin.getsockname()[1]}"])
    return lb, lb.listen("tcp://127.0.0.1:0", pool=pool)

def traffic(port):
    ready = threading.Semaphore(0)
    def ask():
        try:
            with socket.create_connection(("127.0.0.1", port)) as sock:
                while True:
                    sock.sendall(b"x" * 1000)
                    if not sock.recv(1000):
                        return
                    ready.release()
        except OSError:
            pass
    for _ in range(4):
        threading.Thread(target=ask, daemon=True).start()
    for _ in range(20):
        assert ready.acquire(timeout=30)
"""


def run_program(body: str, threads: int) -> subprocess.CompletedProcess[str]:
    names = f"\nTHREADS = {threads}\nDEADLINE_S = {DEADLINE_S}\n"
    text = PRELUDE + names + textwrap.dedent(body)
    # (Python 3.12 and later warn of any fork beside threads)
    quiet = "ignore:This process:DeprecationWarning"
    return subprocess.run(
        [sys.executable, "-W", quiet, "-c", text], capture_output=True, text=True, timeout=120
    )


def open_descriptors() -> set[str]:
    return set(os.listdir("/proc/self/fd"))


@pytest.mark.parametrize("threads", [0, 1, 2])
@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
def test_async_with_serves_on_any_loop(origin: Origin, loop: str, threads: int) -> None:
    async def main() -> None:
        balancer = fastlb.Balancer(threads=threads)
        pool = balancer.pool("p", [origin.address])
        listener = balancer.listen("tcp://127.0.0.1:0", pool=pool)
        async with balancer:
            reader, writer = await asyncio.open_connection("127.0.0.1", listener.port)
            writer.write(b"hello")
            server = await asyncio.to_thread(origin.accept)
            assert await asyncio.to_thread(read_exactly, server, 5) == b"hello"
            server.sendall(b"world")
            assert await reader.readexactly(5) == b"world"
            assert pool.stats()[origin.address]["in_flight"] == 1
            assert listener.stats()["accepted"] == 1
            writer.close()
            server.close()
        assert pool.stats() == {}
        with pytest.raises(RuntimeError, match="isn't running"):
            listener.url  # noqa: B018 - asking is what fails

    runner = uvloop.new_event_loop() if loop == "uvloop" else asyncio.new_event_loop()
    try:
        runner.run_until_complete(main())
    finally:
        runner.close()


@pytest.mark.parametrize("threads", [0, 2])
def test_start_and_stop_leave_no_descriptor_and_no_thread(origin: Origin, threads: int) -> None:
    balancer = fastlb.Balancer(threads=threads)
    listener = balancer.listen("tcp://127.0.0.1:0", pool=balancer.pool("p", [origin.address]))

    def once() -> None:
        with balancer.background():
            with socket.create_connection(("127.0.0.1", listener.port)):
                origin.accept().close()

    once()
    before, threads_before = open_descriptors(), set(threading.enumerate())
    for _ in range(50):
        once()
    origin.accepted.clear()
    # (What tests before this one have left may end meanwhile.)
    wait_until(lambda: open_descriptors() <= before)
    wait_until(lambda: set(threading.enumerate()) <= threads_before)


def test_a_start_that_fails_leaves_nothing(origin: Origin) -> None:
    balancer = fastlb.Balancer(threads=2)
    pool = balancer.pool("p", [origin.address])
    balancer.listen("tcp://127.0.0.1:0", name="a", pool=pool)
    balancer.listen(f"tcp://{origin.address}", name="b", pool=pool)
    with pytest.raises(fastlb.BindError):       # what is imported once is imported now
        balancer.background()
    before, threads_before = open_descriptors(), set(threading.enumerate())
    for _ in range(5):
        with pytest.raises(fastlb.BindError, match=r"listeners\.b\.bind: .*is taken: this"):
            balancer.background()
    wait_until(lambda: open_descriptors() <= before)
    wait_until(lambda: set(threading.enumerate()) <= threads_before)


def test_nothing_of_the_program_is_touched(
    origin: Origin, capfd: pytest.CaptureFixture[str]
) -> None:
    handlers = {number: signal.getsignal(number) for number in signal.Signals}
    root = list(logging.getLogger().handlers)
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    balancer = fastlb.Balancer(threads=1)
    listener = balancer.listen("tcp://127.0.0.1:0", pool=balancer.pool("p", ["127.0.0.1:1"]))
    with balancer.background():
        with socket.create_connection(("127.0.0.1", listener.port)) as sock:
            assert sock.recv(1) == b""
        assert {number: signal.getsignal(number) for number in signal.Signals} == handlers
    assert logging.getLogger().handlers == root
    assert resource.getrlimit(resource.RLIMIT_NOFILE) == limits
    assert capfd.readouterr() == ("", "")


def test_a_program_without_logging_hears_nothing() -> None:
    done = run_program(
        """
        lb, listener = make(1)
        with lb.background():
            traffic(listener.port)
            lb.stop(timeout=0).wait()
        """,
        1,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


@pytest.mark.parametrize("threads", [0, 2])
@pytest.mark.parametrize(
    ("body", "status"),
    [
        ("lb, l = make(THREADS); b = lb.background(); traffic(l.port)", 0),
        ("lb, l = make(THREADS); b = lb.background(); traffic(l.port); sys.exit(3)", 3),
        ("lb, l = make(THREADS); b = lb.background(); traffic(l.port); raise SystemError", 1),
        (
            """
            lb, l = make(THREADS)
            with lb.background():
                traffic(l.port)
                raise SystemError
            """,
            1,
        ),
        (
            """
            async def main():
                lb, l = make(THREADS)
                await lb.start()
                await asyncio.to_thread(traffic, l.port)
            asyncio.run(main())
            """,
            0,
        ),
        (
            """
            async def main():
                lb, l = make(THREADS)
                async with lb:
                    await asyncio.to_thread(traffic, l.port)
                    raise SystemError
            asyncio.run(main())
            """,
            1,
        ),
    ],
    ids=["left", "exit", "raise", "raise-in-with", "start-left", "raise-in-async-with"],
)
def test_the_interpreter_goes_while_traffic_flows(body: str, status: int, threads: int) -> None:
    done = run_program(body, threads)
    assert done.returncode == status, done.stderr
    if status != 1:
        assert done.stderr == ""


@forks_with_threads
@pytest.mark.parametrize("threads", [0, 2])
def test_forks_under_traffic(threads: int) -> None:
    done = run_program(
        """
        lb, listener = make(THREADS)
        with lb.background():
            traffic(listener.port)
            for _ in range(30):
                child = os.fork()
                if child == 0:
                    try:
                        lb.stop()
                    except RuntimeError as error:
                        told = "belongs to process" in str(error)
                    os._exit(0 if told else 1)
                assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
            with socket.create_connection(("127.0.0.1", listener.port)) as sock:
                sock.sendall(b"still here")
                assert sock.recv(100) == b"still here"
            lb.stop(timeout=0).wait()
        """,
        threads,
    )
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("threads", [0, 2])
def test_one_made_before_a_fork_starts_after_it(threads: int) -> None:
    """As in servers that import the application first, and fork their workers then."""
    done = run_program(
        """
        lb, listener = make(THREADS)
        for _ in range(3):
            child = os.fork()
            if child == 0:
                with lb.background():
                    with socket.create_connection(("127.0.0.1", listener.port)) as sock:
                        sock.sendall(b"in the child")
                        assert sock.recv(100) == b"in the child"
                    lb.stop(timeout=0).wait()
                os._exit(0)
            assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        with lb.background():
            traffic(listener.port)
            lb.stop(timeout=0).wait()
        """,
        threads,
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_a_forked_child_holds_none_of_our_sockets(origin: Origin) -> None:
    balancer = fastlb.Balancer(threads=1)
    listener = balancer.listen("tcp://127.0.0.1:0", pool=balancer.pool("p", [origin.address]))
    with balancer.background():
        with socket.create_connection(("127.0.0.1", listener.port), timeout=DEADLINE_S) as client:
            server = origin.accept()
            port = server.getpeername()[1]
            # (another process may have the same port towards another address)
            own = {_inode(fd) for fd in os.listdir("/proc/self/fd")}
            ours = _inodes({listener.port, port}) & own
            ours -= _inodes_of(client, server, origin.listener)
            assert len(ours) == 3           # listening, the client's side, the server's
            reading, writing = os.pipe()
            child = os.fork()
            if child == 0:
                for sock in (server, client, origin.listener):
                    sock.close()        # the test's own
                held = {_inode(fd) for fd in os.listdir("/proc/self/fd")}
                os.write(writing, b"%d" % len(held & ours))
                time.sleep(30)
                os._exit(0)
            try:
                assert os.read(reading, 10) == b"0"
                server.close()
                origin.accepted.clear()
                assert client.recv(1) == b""        # the end comes though the child lives
            finally:
                os.kill(child, signal.SIGKILL)
                os.waitpid(child, 0)
                os.close(reading)
                os.close(writing)


def _inodes(ports: set[int]) -> set[str]:
    """Inodes of the TCP sockets whose own port is one of these."""
    found = set()
    for line in Path("/proc/self/net/tcp").read_text().splitlines()[1:]:
        fields = line.split()
        if int(fields[1].rpartition(":")[2], 16) in ports:
            found.add(fields[9])
    return found - {"0"}


def _inode(fd: str) -> str:
    try:
        return os.readlink(f"/proc/self/fd/{fd}").removeprefix("socket:[").removesuffix("]")
    except OSError:
        return ""


def _inodes_of(*sockets: socket.socket) -> set[str]:
    return {_inode(str(sock.fileno())) for sock in sockets}


@forks_with_threads
def test_multiprocessing_beside_a_balancer(origin: Origin) -> None:
    balancer = fastlb.Balancer(threads=2)
    listener = balancer.listen("tcp://127.0.0.1:0", pool=balancer.pool("p", [origin.address]))
    with balancer.background():
        for method in ("fork", "spawn"):
            with multiprocessing.get_context(method).Pool(2) as workers:
                assert workers.map(abs, [-1, -2, -3]) == [1, 2, 3]
        with socket.create_connection(("127.0.0.1", listener.port), timeout=DEADLINE_S) as client:
            server = origin.accept()
            client.sendall(b"fine")
            assert read_exactly(server, 4) == b"fine"
            server.close()


def test_a_subprocess_inherits_nothing(origin: Origin) -> None:
    balancer = fastlb.Balancer(threads=1)
    listener = balancer.listen("tcp://127.0.0.1:0", pool=balancer.pool("p", [origin.address]))
    with balancer.background():
        with socket.create_connection(("127.0.0.1", listener.port)):
            server = origin.accept()
            script = "import os; print(len([f for f in os.listdir('/proc/self/fd')]))"
            inherited = subprocess.check_output(
                [sys.executable, "-c", script], close_fds=False, text=True
            )
            server.close()
    alone = subprocess.check_output([sys.executable, "-c", script], close_fds=False, text=True)
    assert inherited == alone


def test_adding_to_a_running_balancer_says_so(origin: Origin) -> None:
    balancer = fastlb.Balancer(threads=1)
    balancer.listen("tcp://127.0.0.1:0", pool=balancer.pool("p", [origin.address]))
    with balancer.background():
        with pytest.raises(RuntimeError, match="before it starts"):
            balancer.pool("q")


def test_mistakes_are_told_where_they_are_made() -> None:
    balancer = fastlb.Balancer()
    with pytest.raises(fastlb.ConfigError, match=r"pools\.p\.balance: 'fastest' is not a"):
        balancer.pool("p", balance="fastest")
    with pytest.raises(fastlb.ConfigError, match="there is no pool 'nobody'"):
        balancer.listen("tcp://127.0.0.1:0", pool="nobody")
    balancer.pool("p")
    with pytest.raises(ValueError, match="'p' is taken"):
        balancer.pool("p")
    with pytest.raises(ValueError, match="threads: 65 is not a number from 0 to 64"):
        fastlb.Balancer(threads=65)


def test_the_module_is_its_own_documentation() -> None:
    assert all(getattr(fastlb, name).__doc__ for name in fastlb.__all__ if name[0] != "_")
    assert set(dir(fastlb)) == set(fastlb.__all__)
    with pytest.raises(AttributeError, match="has no attribute 'nothing'"):
        fastlb.nothing  # noqa: B018 - asking is what fails
