"""12 MiB over a long way, by HTTP/2 and by HTTP/1.1: `python -m bench.micro.http2_windows`.

client - fastlb A - a proxy that holds every byte back for half of a round trip - fastlb B - origin

A speaks HTTP/2 to B, so that an upload depends on the windows of B's listener (`max_h2_window`),
and a download on those of A's pool. HTTP/1.1 between them is what to compare with.
"""

from __future__ import annotations

import argparse
import contextlib
import queue
import socket
import statistics
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import fastlb

MIB = 1 << 20
SIZE = 12 * MIB


def listen() -> socket.socket:
    return socket.create_server(("127.0.0.1", 0), backlog=256)


def address(listener: socket.socket) -> str:
    return f"127.0.0.1:{listener.getsockname()[1]}"


def serve(listener: socket.socket, run: Callable[[socket.socket], None]) -> None:
    def accept() -> None:
        with contextlib.suppress(OSError):
            while True:
                sock, _ = listener.accept()
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                threading.Thread(target=run, args=(sock,), daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()


class Way:
    """Passes connections on, each byte `trip_s / 2` after it came, and as many as come."""

    def __init__(self, port: int, trip_s: float) -> None:
        self.port, self.half_s = port, trip_s / 2
        self.listener = listen()
        self.sent = [0, 0]              # bytes towards the server, and back
        serve(self.listener, self._run)

    def _run(self, near: socket.socket) -> None:
        far = socket.create_connection(("127.0.0.1", self.port))
        far.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._pass(near, far, 0)
        self._pass(far, near, 1)

    def _pass(self, source: socket.socket, sink: socket.socket, side: int) -> None:
        waiting: queue.SimpleQueue[tuple[float, bytes]] = queue.SimpleQueue()

        def read() -> None:
            data = b"-"
            while data:
                try:
                    data = source.recv(1 << 18)
                except OSError:
                    data = b""
                waiting.put((time.monotonic() + self.half_s, data))

        def write() -> None:
            with contextlib.suppress(OSError):
                while True:
                    due, data = waiting.get()
                    time.sleep(max(0.0, due - time.monotonic()))
                    if not data:
                        sink.shutdown(socket.SHUT_WR)
                        return
                    sink.sendall(data)
                    self.sent[side] += len(data)

        threading.Thread(target=read, daemon=True).start()
        threading.Thread(target=write, daemon=True).start()


def origin(sock: socket.socket) -> None:
    """Takes a body and answers "ok", or answers with SIZE bytes."""
    stream = sock.makefile("rb")
    body = bytes(SIZE)
    while line := stream.readline():
        length = 0
        while (field := stream.readline()) not in (b"\r\n", b""):
            name, _, value = field.partition(b":")
            if name.lower() == b"content-length":
                length = int(value)
        while length:
            length -= len(stream.read(min(length, MIB)))
        answer = body if line.startswith(b"GET /large") else b"ok"
        sock.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(answer) + answer)


def ask(port: int, path: str, body: bytes) -> float:
    """How long one request takes, on a connection of its own."""
    with socket.create_connection(("127.0.0.1", port)) as sock:
        begun = time.monotonic()
        method = "POST" if body else "GET"
        sock.sendall(f"{method} {path} HTTP/1.1\r\nHost: a\r\nContent-Length: {len(body)}\r\n"
                     "Connection: close\r\n\r\n".encode() + body)
        got = 0
        while data := sock.recv(1 << 18):
            got += len(data)
        assert got > (SIZE if path == "/large" else 2)
        return time.monotonic() - begun


def measure(protocol: str, trip_s: float, window: str, at_once: int) -> dict[str, list[float]]:
    server = listen()
    serve(server, origin)
    far = fastlb.Balancer(fastlb.Config.build({
        "threads": 1,
        "listeners": {"b": {"bind": "http://127.0.0.1:0", "pool": "o", "h2c": True,
                            "max_h2_window": window}},
        "pools": {"o": {"servers": [address(server)]}}}))
    with far.background():
        way = Way(int(far.listeners["b"].url.rpartition(":")[2]), trip_s)
        near = fastlb.Balancer(fastlb.Config.build({
            "threads": 1,
            "listeners": {"a": {"bind": "http://127.0.0.1:0", "pool": "b"}},
            "pools": {"b": {"servers": [address(way.listener)],
                            "protocol": protocol, "connect_timeout": "5s",
                            **({"max_h2_window": window} if protocol == "h2" else {})}}}))
        with near.background():
            port = int(near.listeners["a"].url.rpartition(":")[2])
            ask(port, "/", b"")         # the connection, and what it says first
            times: dict[str, list[float]] = {}
            for what, path, body in (("upload", "/", bytes(SIZE)), ("download", "/large", b"")):
                with ThreadPoolExecutor(at_once) as pool:
                    asked = [pool.submit(ask, port, path, body) for _ in range(at_once)]
                    times[what] = [one.result() for one in asked]
        way.listener.close()
    server.close()
    return times


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--trip", type=float, default=60.0, help="a round trip in ms")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--at-once", type=int, default=1)
    parser.add_argument("--windows", nargs="+", default=["64KiB", "1MiB", "16MiB"])
    given = parser.parse_args()
    print(f"12 MiB, {given.at_once} at once, round trip {given.trip:g} ms; median of"
          f" {given.rounds} rounds, each on fresh connections\n")
    print("| between them | upload | download |\n|---|---|---|")
    cases = [("http/1.1", "16MiB"), *(("h2", window) for window in given.windows)]
    for protocol, window in cases:
        rounds = [measure(protocol, given.trip / 1000, window, given.at_once)
                  for _ in range(given.rounds)]
        shown = [statistics.median(max(one[what]) for one in rounds)
                 for what in ("upload", "download")]
        name = protocol if protocol != "h2" else f"HTTP/2, `max_h2_window` {window}"
        print(f"| {name} | {shown[0] * 1000:.0f} ms | {shown[1] * 1000:.0f} ms |", flush=True)


if __name__ == "__main__":
    main()
