"""Measure how exactly a rate limit is kept in real time: as the origin counts, key by key.

    python -m bench.micro.limited_keys [--seconds S]

Every key asks for twice its limit, over ten connections. The balancer has two engine threads, so
that each key is charged by both.
"""

from __future__ import annotations

import argparse
import multiprocessing
import re
import selectors
import socket
import time
from collections import Counter
from contextlib import suppress
from multiprocessing.connection import Connection

from bench.micro.serving import serving

ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
CONNECTIONS, BATCH = 10, 20
BURST = 5               # with 1, a request that comes a moment early is lost, and its time too
KEY = re.compile(rb"x-user: (\d+)", re.IGNORECASE)
CONFIG = """
threads = 2
admin = false
[rate_limits.each]
key = "header.x-user"
limit = "{rate}/s"
burst = {burst}
[listeners.web]
bind = "http://127.0.0.1:{port}"
rate_limit = "each"
pool = "p"
[pools.p]
servers = ["127.0.0.1:{origin}"]
"""


def serve(listener: socket.socket, tell: Connection) -> None:
    """Answer, count by key, and send the counts when asked for them."""
    counts: Counter[bytes] = Counter()
    look = selectors.DefaultSelector()
    look.register(listener, selectors.EVENT_READ)
    look.register(tell, selectors.EVENT_READ)
    while True:
        for key, _ in look.select():
            peer = key.fileobj
            if peer is listener:
                look.register(listener.accept()[0], selectors.EVENT_READ)
            elif peer is tell:
                tell.recv()
                tell.send(counts)
                counts = Counter()
            elif isinstance(peer, socket.socket):
                with suppress(ConnectionError):
                    if data := peer.recv(65536):
                        counts.update(KEY.findall(data))
                        peer.sendall(ANSWER * data.count(b"\r\n\r\n"))
                        continue
                look.unregister(peer)
                peer.close()


def ask(port: int, keys: int, rate: float, seconds: float) -> None:
    """Ask for every key in turn, as often as `rate` says in all."""
    peers = [socket.create_connection(("127.0.0.1", port)) for _ in range(CONNECTIONS)]
    heads = [b"GET / HTTP/1.1\r\nHost: a\r\nX-User: %d\r\n\r\n" % i for i in range(keys)]
    begin = due = time.perf_counter()
    at = 0
    while due - begin < seconds:
        for peer in peers:
            peer.sendall(b"".join(heads[(at + i) % keys] for i in range(BATCH)))
            at += BATCH
            with suppress(BlockingIOError):
                while len(peer.recv(65536, socket.MSG_DONTWAIT)) == 65536:
                    pass
            due += BATCH / rate
            time.sleep(max(0.0, due - time.perf_counter()))     # (until the next one is due)


def measure(keys: int, rate: int, seconds: float) -> None:
    ours, theirs = multiprocessing.Pipe()
    with socket.create_server(("127.0.0.1", 0), backlog=1024) as listener:
        server = multiprocessing.Process(target=serve, args=(listener, theirs), daemon=True)
        server.start()
        config = CONFIG.replace("{origin}", str(listener.getsockname()[1]))
        config = config.replace("{rate}", str(rate)).replace("{burst}", str(BURST))
        with serving(config) as (port, _):
            begin = time.perf_counter()
            ask(port, keys, 2 * rate * keys, seconds)
            took = time.perf_counter() - begin
            time.sleep(1)               # (for what is still on its way to the origin)
            ours.send(None)
            counts: Counter[bytes] = ours.recv()
        server.terminate()
    wanted = BURST + rate * took
    off = [counts[b"%d" % i] / wanted - 1 for i in range(keys)]
    print(f"| {keys:,} | {rate}/s | {took:.1f} s | {counts.total():,} | {wanted:.1f} "
          f"| {sum(counts.values()) / keys:.1f} | {min(off):+.2%} to {max(off):+.2%} |")


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--seconds", type=float, default=30)
    seconds = options.parse_args().seconds
    print("| keys | limit | time | requests at the origin | allowed for each key | on average "
          "| keys differ by |")
    print("|---:|---:|---:|---:|---:|---:|---|")
    for keys, rate in ((1_000, 10), (100, 100)):
        measure(keys, rate, seconds)


if __name__ == "__main__":
    main()
