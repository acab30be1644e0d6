"""Measure what good clients feel while 200 others send a hundred times their share.

    python -m bench.micro.flood [--seconds S]

Each client has an address of its own (127.0.0.0/8). The limit is one request a second for each
address. Good clients send one every two seconds; the others send 100 a second, ten in a write. The
balancer has the first core, and everything else the second one, where good clients come first.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import selectors
import socket
import time
from collections import Counter
from pathlib import Path

from bench.micro.serving import serving

ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
REQUEST = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"
BAD, BAD_RATE, BATCH = 200, 100, 10
GOOD, GOOD_EVERY_S = 100, 2.0
CONFIG = """
threads = 1
admin = false
[rate_limits.each]
key = "client.ip"
limit = "1/s"
burst = 3
[listeners.web]
bind = "http://127.0.0.1:{port}"
rate_limit = "each"
pool = "p"
[pools.p]
servers = ["127.0.0.1:{origin}"]
"""


def serve(listener: socket.socket) -> None:
    """Answer every request that is whole in one read."""
    look = selectors.DefaultSelector()
    look.register(listener, selectors.EVENT_READ)
    while True:
        for key, _ in look.select():
            if key.fileobj is listener:
                connection, _ = listener.accept()
                look.register(connection, selectors.EVENT_READ)
                continue
            peer = key.fileobj
            assert isinstance(peer, socket.socket)
            if data := peer.recv(65536):
                peer.sendall(ANSWER * data.count(b"\r\n\r\n"))
            else:
                look.unregister(peer)
                peer.close()


def connect(port: int, source: str) -> socket.socket:
    made = socket.create_connection(("127.0.0.1", port), source_address=(source, 0))
    made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return made


def flood(port: int, sent: multiprocessing.Value) -> None:
    """Send in turns, so that each address comes to its rate; late ones catch up."""
    os.nice(5)
    sockets = [connect(port, f"127.1.{i // 250}.{i % 250 + 1}") for i in range(BAD)]
    due, pause = time.perf_counter(), BATCH / BAD_RATE / BAD
    while True:
        for peer in sockets:
            peer.sendall(REQUEST * BATCH)
            sent.value += BATCH
            try:
                while len(peer.recv(65536, socket.MSG_DONTWAIT)) == 65536:
                    pass
            except BlockingIOError:
                pass
            due += pause
            if (wait := due - time.perf_counter()) > 0:
                time.sleep(wait)        # (until the next batch is due)


def ask(peers: list[socket.socket], seconds: float) -> tuple[list[float], Counter[bytes]]:
    """The milliseconds of each answer, sorted, and how many had each status."""
    times: list[float] = []
    statuses: Counter[bytes] = Counter()
    due = time.perf_counter()
    end = due + seconds
    while due < end:
        for peer in peers:
            due += GOOD_EVERY_S / len(peers)
            time.sleep(max(0.0, due - time.perf_counter()))     # (until the next one is due)
            begin = time.perf_counter()
            peer.sendall(REQUEST)
            statuses[peer.recv(65536)[9:12]] += 1
            times.append((time.perf_counter() - begin) * 1000)
    return sorted(times), statuses


def cpu_s(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def show(name: str, times: list[float], statuses: Counter[bytes], rate: float, cpu: float) -> None:
    refused = sum(n for status, n in statuses.items() if status != b"200")
    print(f"| {name} | {len(times):,} | {refused} | {times[len(times) // 2]:.2f} "
          f"| {times[len(times) * 99 // 100]:.2f} | {rate:,.0f} | {cpu:.0%} |")


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--seconds", type=float, default=30)
    seconds = options.parse_args().seconds
    with socket.create_server(("127.0.0.1", 0), backlog=1024) as listener:
        sent = multiprocessing.Value("q", 0, lock=False)
        origin = multiprocessing.Process(target=serve, args=(listener,), daemon=True)
        os.sched_setaffinity(0, {1})
        origin.start()
        config = CONFIG.replace("{origin}", str(listener.getsockname()[1]))
        with serving(config, "taskset", "-c", "0") as (port, pid):
            bad = multiprocessing.Process(target=flood, args=(port, sent), daemon=True)
            good = [connect(port, f"127.2.0.{i + 1}") for i in range(GOOD)]
            print("| | good requests | not answered 200 | p50 ms | p99 ms | bad requests/s | CPU |")
            print("|---|---:|---:|---:|---:|---:|---:|")
            for name in ("alone", "beside the flood"):
                if name != "alone":
                    bad.start()
                    time.sleep(2)       # (while 200 clients connect and use up their bursts)
                before, spent, begin = sent.value, cpu_s(pid), time.perf_counter()
                times, statuses = ask(good, seconds)
                took = time.perf_counter() - begin
                show(name, times, statuses, (sent.value - before) / took,
                     (cpu_s(pid) - spent) / took)
            bad.terminate()
            bad.join()
        origin.terminate()


if __name__ == "__main__":
    main()
