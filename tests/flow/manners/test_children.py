"""Child processes that were made without Python's fork hooks: by subprocess, or by a C library."""

from __future__ import annotations

import pytest

from tests.flow.conftest import forks_with_threads
from tests.flow.manners.test_embedding import run_program


@forks_with_threads
@pytest.mark.parametrize("threads", [0, 1])
def test_a_child_that_holds_our_sockets_does_not_haunt_us(threads: int) -> None:
    """epoll goes on telling of a socket that a child still holds, though we have closed it."""
    done = run_program(
        """
        import ctypes
        from fastlb.testing.clock import Clock
        libc = ctypes.PyDLL(None)
        lb = fastlb.Balancer(threads=THREADS)
        silent = socket.create_server(("127.0.0.1", 0))
        pool = lb.pool("p", [f"127.0.0.1:{silent.getsockname()[1]}"])
        listener = lb.listen("tcp://127.0.0.1:0", pool=pool, idle_timeout="1h")

        def counts():
            return sum(lb._instance.runtime.counts().values())

        def wait_until(true):
            deadline = time.monotonic() + 30
            while not true():
                assert time.monotonic() < deadline
                time.sleep(0.002)

        with lb.background():
            pairs = []
            for _ in range(10):
                client = socket.create_connection(("127.0.0.1", listener.port))
                pairs.append((client, silent.accept()[0]))
            reading, writing = os.pipe()
            child = libc.fork()
            if child == 0:
                libc.close(writing)
                libc.read(reading, ctypes.create_string_buffer(1), 1)
                libc._exit(0)
            os.close(reading)
            Clock(lb._instance.running).advance("61m")
            wait_until(lambda: counts() == 0)       # all timed out; the child holds their sockets
            for client, server in pairs:
                client.sendall(b"anybody?")
                server.sendall(b"anybody?")
            # These use the structs of those that ended, and end as they should.
            for _ in range(20):
                client = socket.create_connection(("127.0.0.1", listener.port))
                server, _ = silent.accept()
                client.sendall(b"ping")
                assert server.recv(4) == b"ping"
                server.sendall(b"pong")
                server.close()
                assert client.recv(4) == b"pong"
                assert client.recv(1) == b""
                client.close()
            wait_until(lambda: counts() == 0)
            os.close(writing)
            os.waitpid(child, 0)
        """,
        threads,
    )
    assert (done.returncode, done.stderr) == (0, "")


@forks_with_threads
def test_starting_programs_under_traffic() -> None:
    """Between its fork and its exec, every program that is started holds our sockets."""
    done = run_program(
        """
        import subprocess
        RESET = b"\\1\\0\\0\\0\\0\\0\\0\\0"
        ended = threading.Event()
        resetting = socket.create_server(("127.0.0.1", 0), backlog=1000)

        def answer_with_resets():
            while True:
                connection, _ = resetting.accept()
                try:
                    connection.recv(10)
                except OSError:
                    pass
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
                connection.close()

        lb = fastlb.Balancer(threads=2)
        pool = lb.pool("p", [f"127.0.0.1:{resetting.getsockname()[1]}"])
        listener = lb.listen("tcp://127.0.0.1:0", pool=pool)

        def ask():
            while not ended.is_set():
                try:
                    with socket.create_connection(("127.0.0.1", listener.port)) as client:
                        for _ in range(30):
                            client.sendall(b"x")
                except OSError:
                    pass

        with lb.background():
            threading.Thread(target=answer_with_resets, daemon=True).start()
            clients = [threading.Thread(target=ask) for _ in range(3)]
            for client in clients:
                client.start()
            deadline = time.monotonic() + 3
            while time.monotonic() < deadline:
                subprocess.run(["/bin/true"])
            ended.set()
            for client in clients:
                client.join()
            deadline = time.monotonic() + 30
            while any(lb._instance.runtime.counts().values()):
                assert time.monotonic() < deadline
                time.sleep(0.002)
        """,
        2,
    )
    assert (done.returncode, done.stderr) == (0, "")
