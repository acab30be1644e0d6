"""What other connections feel while one policy of each kind sleeps for a second, and what a policy
costs that looks at a header.

python bench/micro/policies_sleep.py [--seconds S] [--threads N]

A client asks one route, without a policy, in turns over one connection and notes how long each
answer takes; meanwhile a second client asks a route whose policy sleeps. Then requests through a
route with a policy and without one are counted, in turns, with the CPU time of the whole process
(the balancer's engine, the client and the origin), so that the difference is the policy's.
"""

from __future__ import annotations

import argparse
import asyncio
import socket
import sys
import threading
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent.parent))

import fastlb

ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


def serve(listener: socket.socket) -> None:
    def talk(connection: socket.socket) -> None:
        while connection.recv(65536):
            connection.sendall(ANSWER)

    while True:
        connection, _ = listener.accept()
        threading.Thread(target=talk, args=(connection,), daemon=True).start()


def client(port: int) -> socket.socket:
    made = socket.create_connection(("127.0.0.1", port))
    made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return made


def ask(sock: socket.socket, path: bytes) -> None:
    sock.sendall(b"GET " + path + b" HTTP/1.1\r\nHost: a\r\nX-Tier: premium\r\n\r\n")
    if not sock.recv(65536).startswith(b"HTTP/1.1 200"):
        raise SystemExit(f"{path!r} was not answered")


def sleeps(port: int, path: bytes, seconds: float) -> tuple[float, float, float, int]:
    """p50, p99 and the longest of the others' answers in ms, and how many there were."""
    over = threading.Event()

    def sleepers() -> None:
        with client(port) as sock:
            while not over.is_set():
                ask(sock, path)

    thread = threading.Thread(target=sleepers)
    thread.start()
    times = []
    with client(port) as sock:
        end = time.perf_counter() + seconds
        while time.perf_counter() < end:
            begin = time.perf_counter()
            ask(sock, b"/plain")
            times.append((time.perf_counter() - begin) * 1000)
    over.set()
    thread.join()
    times.sort()
    return times[len(times) // 2], times[int(len(times) * 0.99)], times[-1], len(times)


def cost_us(port: int, path: bytes, requests: int) -> float:
    """CPU time of the process a request."""
    with client(port) as sock:
        ask(sock, path)
        begin = time.process_time()
        for _ in range(requests):
            ask(sock, path)
        return (time.process_time() - begin) * 1e6 / requests


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=5)
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    listener = socket.create_server(("127.0.0.1", 0))
    threading.Thread(target=serve, args=(listener,), daemon=True).start()

    lb = fastlb.Balancer(threads=options.threads, busy_poll=False)
    pool = lb.pool("p", [f"127.0.0.1:{listener.getsockname()[1]}"])
    web = lb.listen("http://127.0.0.1:0", pool=pool)

    @web.route("/async", deadline="5s")
    async def waits(request: fastlb.Request) -> Any:
        await asyncio.sleep(1)
        return pool

    @web.route("/blocking", deadline="5s", blocking=True)
    def blocks(request: fastlb.Request) -> Any:
        time.sleep(1)
        return pool

    @web.route("/sync", deadline="5s")
    def holds_up(request: fastlb.Request) -> Any:
        time.sleep(1)
        return pool

    @web.route("/header")
    def by_tier(request: fastlb.Request) -> Any:
        return pool if request.headers.get("x-tier") == "premium" else None

    with lb.background():
        for path in (b"/plain", b"/async", b"/blocking", b"/sync"):
            p50, p99, longest, n = sleeps(web.port, path, options.seconds)
            print(f"{path.decode():10} p50 {p50:.3f} ms, p99 {p99:.3f} ms, longest {longest:.1f} ms"
                  f" of {n} answers", flush=True)
        without, beside = [], []
        for _ in range(7):
            without.append(cost_us(web.port, b"/plain", 3000))
            beside.append(cost_us(web.port, b"/header", 3000))
        a, b = sorted(without)[3], sorted(beside)[3]
        print(f"CPU a request: {a:.2f} us without a policy, {b:.2f} us with one: {b - a:+.2f} us")
    return 0


if __name__ == "__main__":
    sys.exit(main())
