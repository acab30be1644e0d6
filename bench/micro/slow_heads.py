"""Measure what 10,000 slow heads from one source hold, and what good clients feel beside them.

    python -m bench.micro.slow_heads [--seconds S]

One address (127.3.0.1) begins 10,000 connections and sends the first bytes of a head on each, and
then one byte a second. It counts how many are open at a time. The balancer has the first core, and
everything else the second one.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import select
import socket
import time
from multiprocessing.sharedctypes import Synchronized

from bench.micro.flood import ask, connect, cpu_s, serve
from bench.micro.serving import serving

SLOW, SOURCE = 10_000, "127.3.0.1"
BEGUN = b"GET / HTTP/1.1\r\nHost: a\r\nX-Slow: "
GOOD = 100
CONFIG = """
threads = 1
admin = false
max_connections = 19000
[listeners.web]
bind = "http://127.0.0.1:{port}"
{limits}
pool = "p"
[pools.p]
servers = ["127.0.0.1:{origin}"]
"""
LIMITS = {
    "none (heads have 10 s)": "",
    "max_connections_per_source = 200": "max_connections_per_source = 200",
    "the same, min_request_rate = 1KiB/s":
        'max_connections_per_source = 200\nmin_request_rate = "1KiB/s"',
}


def attack(port: int, seconds: float, most: Synchronized[int], at_end: Synchronized[int]) -> None:
    """Begin all at once, and keep each as slow as it gets."""
    os.nice(5)
    peers: dict[int, socket.socket] = {}
    closed = select.epoll()
    end = time.monotonic() + seconds
    due, begun = time.monotonic(), 0
    while (now := time.monotonic()) < end:
        for _ in range(min(SLOW - begun, 500)):     # (as many as the listener's queue takes)
            peer = socket.socket()
            peer.bind((SOURCE, 0))
            peer.connect(("127.0.0.1", port))
            peers[peer.fileno()] = peer
            closed.register(peer, select.EPOLLRDHUP | select.EPOLLERR)
            begun += 1
            _send(peer, BEGUN)
        for fd, _ in closed.poll(0 if begun < SLOW else 0.05):
            closed.unregister(fd)
            peers.pop(fd).close()
        if begun == SLOW:
            most.value = max(most.value, len(peers))
        if now >= due:
            due = now + 1
            for peer in peers.values():
                _send(peer, b"x")
    at_end.value = len(peers)


def _send(peer: socket.socket, data: bytes) -> None:
    try:
        peer.send(data)
    except OSError:
        pass                            # (it was closed, and the poll says so)


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--seconds", type=float, default=20)
    seconds = options.parse_args().seconds
    print("| limits | slow ones open once all had begun | at the end | good requests | not 200 "
          "| p50 ms | p99 ms | CPU |")
    print("|---|---:|---:|---:|---:|---:|---:|---:|")
    with socket.create_server(("127.0.0.1", 0), backlog=1024) as listener:
        origin = multiprocessing.Process(target=serve, args=(listener,), daemon=True)
        os.sched_setaffinity(0, {1})
        origin.start()
        for name, limits in LIMITS.items():
            config = CONFIG.replace("{origin}", str(listener.getsockname()[1]))
            with serving(config.replace("{limits}", limits), "taskset", "-c", "0") as (port, pid):
                most = multiprocessing.Value("i", 0, lock=False)
                left = multiprocessing.Value("i", 0, lock=False)
                bad = multiprocessing.Process(target=attack, args=(port, seconds, most, left))
                good = [connect(port, f"127.2.0.{i + 1}") for i in range(GOOD)]
                before, begin = cpu_s(pid), time.perf_counter()
                bad.start()
                times, statuses = ask(good, seconds)
                cpu = (cpu_s(pid) - before) / (time.perf_counter() - begin)
                bad.join()
                refused = sum(n for status, n in statuses.items() if status != b"200")
                print(f"| {name} | {most.value:,} | {left.value:,} | {len(times):,} | {refused} "
                      f"| {times[len(times) // 2]:.2f} | {times[len(times) * 99 // 100]:.2f} "
                      f"| {cpu:.0%} |", flush=True)
        origin.terminate()


if __name__ == "__main__":
    main()
