"""What a connection of HTTP/2 can make a process hold: at most 1 MiB, whatever it does."""

from __future__ import annotations

import contextlib
import socket
import struct
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.flow.conftest import measures_memory, wait_until
from tests.flow.test_process import Process, anonymous_kib, serve

__all__ = ["serve"]

# An engine keeps up to 2 MiB of each size of chunk that was given back, more or less of it as the
# machine is busy: with so many connections it counts for little.
FIRST, CONNECTIONS, STREAMS = 4, 24, 100
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
DATA, HEADERS, SETTINGS = 0, 1, 4
CONFIG = """
threads = 1
[listeners.web]
bind = "http://127.0.0.1:0"
h2c = true
pool = "p"
[pools.p]
servers = ["127.0.0.1:{port}"]
connect_timeout = "30s"
"""


class Origin:
    """Takes requests and answers as it is told, without ever reading a body."""

    def __init__(self, answer: bytes) -> None:
        self.listener = socket.create_server(("127.0.0.1", 0), backlog=2000)
        self.port = self.listener.getsockname()[1]
        self.taken: list[socket.socket] = []
        self.wanted = 0                 # requests that were sent
        self.answered = 0               # or left without an answer, as the test wants it
        self._answer = answer
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        while True:
            try:
                sock, _ = self.listener.accept()
            except OSError:
                return
            self.taken.append(sock)
            with contextlib.suppress(OSError):      # (at the end of the test)
                sock.recv(100)
                sock.setblocking(False)
                if self._answer:
                    sock.send(self._answer)
            self.answered += 1

    def close(self) -> None:
        self.listener.close()
        for sock in self.taken:
            sock.close()


def frame(kind: int, flags: int, stream: int, payload: bytes) -> bytes:
    return (struct.pack(">I", len(payload))[1:] + bytes([kind, flags])
            + struct.pack(">I", stream) + payload)


def settings(window: int) -> bytes:
    return PREFACE + frame(SETTINGS, 0, 0, struct.pack(">HI", 4, window))


def head(stream: int, method: int, ends: bool, field: bytes = b"") -> bytes:
    """Of a request to /, by HPACK's static table (RFC 7541, A), with one field of its own."""
    block = bytes([0x80 | method, 0x86, 0x84, 0x41, 1]) + b"a"
    while field:
        part, field = field[:100], field[100:]
        block += b"\x00\x01x" + bytes([len(part)]) + part
    return frame(HEADERS, 4 | (1 if ends else 0), stream, block)


def _unread_answers(stream: int) -> bytes:
    return head(stream, 2, True)


def _large_heads(stream: int) -> bytes:
    return head(stream, 2, True, b"v" * 1700)


def _bodies(stream: int) -> bytes:
    return head(stream, 3, False, b"v" * 1700) + frame(DATA, 0, stream, b"d" * 1600)


@pytest.fixture
def origin(request: pytest.FixtureRequest) -> Iterator[Callable[[bytes], Origin]]:
    made: list[Origin] = []

    def make(answer: bytes) -> Origin:
        made.append(Origin(answer))
        return made[-1]

    yield make
    for one in made:
        one.close()


@measures_memory
@pytest.mark.parametrize(("ask", "answer"), [
    (_unread_answers, b"HTTP/1.1 200 OK\r\nContent-Length: 300000\r\n\r\n" + b"a" * 300000),
    (_large_heads, b""),
    (_bodies, b""),
])
def test_a_connection_holds_a_mebibyte_at_most(
    ask: Callable[[int], bytes], answer: bytes, serve: Callable[..., Process],
    origin: Callable[[bytes], Origin], tmp_path: Path,
) -> None:
    evil = origin(answer)
    path = tmp_path / "fastlb.toml"
    path.write_text(CONFIG.format(port=evil.port))
    process = serve(str(path)).ready()

    def connect(n: int) -> list[socket.socket]:
        made = []
        for _ in range(n):
            made.append(process.connect())
            made[-1].sendall(settings(0))
            evil.wanted += STREAMS
            for i in range(STREAMS):
                made[-1].sendall(ask(2 * i + 1))
            wait_until(lambda: evil.answered == evil.wanted)
        return made

    first = connect(FIRST)
    wait_until(lambda: _is_steady(process))
    before = anonymous_kib(process)
    others = connect(CONNECTIONS)
    wait_until(lambda: _is_steady(process))
    each = (anonymous_kib(process) - before) / CONNECTIONS
    print(f"{each:.0f} KiB a connection")
    assert each <= 1024
    for sock in first + others:
        sock.close()


def _is_steady(process: Process) -> bool:
    """It does nothing, and doesn't only wait for a busy machine to let it go on."""
    before = process.cpu_ms()
    for _ in range(10):
        threading.Event().wait(0.02)
        tasks = Path(f"/proc/{process.process.pid}/task")
        states = [one.read_text().rpartition(") ")[2][0] for one in tasks.glob("*/stat")]
        if states != ["S"] * len(states):
            return False
    return process.cpu_ms() - before < 20
