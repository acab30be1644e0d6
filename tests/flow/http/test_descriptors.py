"""Descriptors that run out while connections to servers wait for requests."""

from __future__ import annotations

import os
import re
import resource
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.flow.conftest import DEADLINE_S
from tests.flow.test_process import Serve, serve  # noqa: F401


@pytest.fixture
def patient() -> Iterator[int]:
    """The port, at each address of 127/8, of a server that answers every request and closes no
    connection before its peer does."""
    def answer(connection: socket.socket) -> None:
        with connection:
            while connection.recv(4096):
                connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")

    def accept() -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:                     # (the test is over)
                return
            threading.Thread(target=answer, args=(connection,)).start()

    with socket.create_server(("0.0.0.0", 0), backlog=256) as listener:
        accepting = threading.Thread(target=accept)
        accepting.start()
        yield listener.getsockname()[1]
        listener.shutdown(socket.SHUT_RDWR)
        accepting.join()


@pytest.fixture
def echo() -> Iterator[int]:
    """The port of a server that answers each datagram with the same one."""
    def answer() -> None:
        data = b"more"
        while data != b"end":
            data, client = server.recvfrom(100)
            server.sendto(data, client)

    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
        server.bind(("127.0.0.1", 0))
        answering = threading.Thread(target=answer)
        answering.start()
        yield server.getsockname()[1]
        server.sendto(b"end", server.getsockname())
        answering.join()


def ask(client: socket.socket, count: int) -> None:
    for _ in range(count):
        client.sendall(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        answer = b""
        while not answer.endswith(b"\r\n\r\nok"):
            more = client.recv(4096)
            assert more and b" 503 " not in more, answer + more
            answer += more


@pytest.mark.parametrize("poller", ["epoll", "poll"])
def test_connections_that_wait_for_requests_give_their_descriptors_up(
    patient: int, echo: int, serve: Serve, tmp_path: Path, poller: str  # noqa: F811
) -> None:
    """More servers than descriptors: each keeps a connection, as long as nobody needs it."""
    limit = (60, 60)
    servers = ", ".join(f'"127.0.0.{n}:{patient}"' for n in range(1, 101))
    config = tmp_path / "fastlb.toml"
    config.write_text(
        f'threads = 1\nmax_connections = 1000\n[listeners.l]\nbind = "http://127.0.0.1:0"\n'
        f'pool = "p"\n[listeners.u]\nbind = "udp://127.0.0.1:0"\npool = "u"\n'
        f'[pools.p]\nservers = [{servers}]\n[pools.u]\nservers = ["127.0.0.1:{echo}"]\n')
    process = serve(
        str(config), env={**os.environ, "FASTLB_POLLER": poller},
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_NOFILE, limit)).ready()
    with process.connect() as client:
        ask(client, 100)
    for _ in range(5):                          # new clients need one, too, and sessions
        with process.connect() as client:
            ask(client, 10)
        where = re.search(r"listener u: udp://127\.0\.0\.1:(\d+)", process.log())
        assert where
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
            client.settimeout(DEADLINE_S)
            client.sendto(b"question", ("127.0.0.1", int(where[1])))
            assert client.recv(100) == b"question"
    assert "out of file descriptors" not in process.log()
