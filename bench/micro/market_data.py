"""What fastlb and HAProxy add to a tick's way from its server to its client, while others tick.

python bench/micro/market_data.py [--rounds N] [--ticks N] [--clients N] [--rate N]

One connection is measured: the thread that sends a tick at one end waits for it at the other, so
that nothing but the balancer has to wake up in between. Meanwhile another process sends ticks over
all the other connections, `--rate` a second together. "direct" is the same without a balancer; each
round has all of them one after the other, and what a balancer adds is the difference of medians of
one round. Balancers have CPU 0, all else has CPU 1.
"""

from __future__ import annotations

import argparse
import contextlib
import multiprocessing
import os
import select
import socket
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

sys.path.insert(0, str(Path(__file__).resolve().parent.parent.parent))

from bench import environment, machine, process
from bench.model import BALANCER_CPU, LOAD_CPU, SMALL, SetupError, Work
from bench.peers import Peer
from bench.peers.fastlb import Fastlb
from bench.peers.haproxy import HAProxy

TICK = b"AAPL 189.4375 x 300 @ 14:30:05.123456; " * 3
TURN_S = 0.001                  # the feed sends what is due once in a millisecond
WAIT_S = 10.0
Pair = tuple[socket.socket, socket.socket]      # the server's end, and the client's


def pairs(listener: socket.socket, port: int, n: int) -> list[Pair]:
    """Connections to a port, and what they have become at the listener."""
    made = []
    for i in range(n):
        client = socket.create_connection(("127.0.0.1", port), WAIT_S)
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        client.sendall(b"%8d" % i)
        server, _ = listener.accept()
        server.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        server.settimeout(WAIT_S)
        if server.recv(8, socket.MSG_WAITALL) != b"%8d" % i:
            raise SetupError("connections are mixed up")
        made.append((server, client))
    return made


def feed(to: list[Pair], rate: int) -> None:
    """Ticks on each in turn, until the process is ended."""
    poller = select.epoll()
    clients = {}
    for _, client in to:
        client.setblocking(False)
        poller.register(client, select.EPOLLIN)
        clients[client.fileno()] = client
    sent, begun = 0, time.monotonic()
    while True:
        due = int((time.monotonic() - begun) * rate)
        if due - sent > rate / 10:                  # it was away for long: no burst afterwards
            sent = due
        for i in range(sent, due):
            to[i % len(to)][0].sendall(TICK)
        sent = max(sent, due)
        for descriptor, _ in poller.poll(TURN_S):
            with contextlib.suppress(BlockingIOError):
                clients[descriptor].recv(65536)


def ways(pair: Pair, n: int) -> list[float]:
    """Of `n` ticks, a millisecond apart: the time from end to end, in us."""
    server, client = pair
    took = []
    for _ in range(n):
        time.sleep(TURN_S)
        begin = time.perf_counter_ns()
        server.sendall(TICK)
        if len(client.recv(len(TICK), socket.MSG_WAITALL)) < len(TICK):
            raise SetupError("a tick is gone")
        took.append((time.perf_counter_ns() - begin) / 1e3)
    return sorted(took)


@contextlib.contextmanager
def balancing(peer: Peer | None, server_port: int, folder: Path) -> Iterator[int]:
    """The port that clients use."""
    if peer is None:
        yield server_port
        return
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = peer.command(Work("tcp", SMALL, port, (server_port,)), folder)
    running = process.start(command.argv, BALANCER_CPU, folder / "log", command.env, command.cwd)
    try:
        deadline = time.monotonic() + process.READY_SECONDS_MAX
        while True:
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    break
            if time.monotonic() > deadline:
                raise SetupError(f"{peer.label} doesn't listen: {(folder / 'log').read_text()}")
            time.sleep(0.02)
        yield port
    finally:
        process.stop(running)


def measure(peer: Peer | None, options: argparse.Namespace, folder: Path) -> list[float]:
    with contextlib.ExitStack() as stack:
        listener = stack.enter_context(socket.create_server(("127.0.0.1", 0), backlog=1024))
        listener.settimeout(WAIT_S)
        port = stack.enter_context(balancing(peer, listener.getsockname()[1], folder))
        if peer is not None:                # the look whether it listens may have come through
            listener.settimeout(0.2)
            with contextlib.suppress(TimeoutError):
                listener.accept()[0].close()
            listener.settimeout(WAIT_S)
        made = pairs(listener, port, 1 + options.clients)
        for pair in made:
            for end in pair:
                stack.callback(end.close)
        feeding = multiprocessing.get_context("fork").Process(
            target=feed, args=(made[1:], options.rate), daemon=True)
        feeding.start()
        stack.callback(feeding.join)
        stack.callback(feeding.terminate)
        ways(made[0], options.ticks // 10)          # to get warm
        return ways(made[0], options.ticks)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--ticks", type=int, default=1000)
    parser.add_argument("--clients", type=int, default=64)
    parser.add_argument("--rate", type=int, default=10_000)
    options = parser.parse_args()
    environment.peers_environment()
    machine.check_cpus()
    os.sched_setaffinity(0, {LOAD_CPU})
    who: list[Peer | None] = [None, Fastlb(), HAProxy()]
    p50: dict[str, list[float]] = {}
    p99: dict[str, list[float]] = {}
    with TemporaryDirectory(prefix="fastlb-bench-") as folder:
        for _ in range(options.rounds):
            for peer in who:
                label = peer.label if peer is not None else "direct"
                took = measure(peer, options, Path(folder))
                p50.setdefault(label, []).append(took[len(took) // 2])
                p99.setdefault(label, []).append(took[len(took) * 99 // 100])
    print(f"load average {os.getloadavg()[0]:.1f}, {options.rounds} rounds of {options.ticks} "
          f"ticks, {options.rate} a second to {options.clients} others\n")
    print("| us | p50 | p99 | added to p50 | least added |\n|---|---|---|---|---|")
    for label, medians in p50.items():
        added = [a - b for a, b in zip(medians, p50["direct"], strict=True)]
        more = f"{median(added):.0f} | {min(added):.0f}" if label != "direct" else " | "
        print(f"| {label} | {median(medians):.0f} | {median(p99[label]):.0f} | {more} |")
    return 0


if __name__ == "__main__":
    sys.exit(environment.outcome(main))
