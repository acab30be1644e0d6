"""CPU time and size of compressed responses, beside nginx: `python -m bench.micro.compression`.

A body of 1 MiB of JSON, and this project's documents as HTML, through fastlb and Debian's nginx,
one thread each, from one origin that doesn't compress. The first response of each is decoded and
compared. Rounds alternate; the median counts. Prints the tables of compression.md.
"""

from __future__ import annotations

import argparse
import contextlib
import random
import socket
import statistics
import sys
import threading
import zlib
from collections.abc import Iterator
from html import escape
from pathlib import Path
from tempfile import TemporaryDirectory

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from bench import measure, process
from bench.environment import ROOT
from bench.model import BALANCER_CPU

MIB = 1 << 20
CONNECTIONS = 4
REQUESTS = 6                    # of each connection and round
WORDS = (
    "sensor", "station", "reading", "value", "north", "south", "pressure", "humidity",
    "temperature", "battery", "offline", "gateway", "firmware", "update", "region", "building",
    "floor", "room", "meter", "cubic", "litre", "alarm", "threshold", "average", "window",
    "minimum", "maximum", "celsius", "hectopascal", "percent", "voltage", "signal",
)

FASTLB = """\
threads = 1
[listeners.web]
bind = "http://127.0.0.1:{port}"
pool = "servers"
compress = {{ codings = ["{coding}"], level = {{ {coding} = {level} }} }}
[pools.servers]
servers = ["{origin}"]
"""
NGINX = """\
user root;
daemon off;
worker_processes 1;
error_log stderr crit;
pid {folder}/nginx.pid;
events {{ worker_connections 1000; }}
http {{
    access_log off;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    proxy_max_temp_file_size 0;
    proxy_buffers 16 16k;
    gzip on;
    gzip_comp_level {level};
    gzip_types application/json;
    gzip_proxied any;
    upstream servers {{ server {origin}; keepalive 64; }}
    server {{
        listen 127.0.0.1:{port};
        proxy_http_version 1.1;
        proxy_set_header Connection "";
        location / {{ proxy_pass http://servers; }}
    }}
}}
"""


def corpora() -> dict[str, bytes]:
    rng = random.Random(7)

    def json() -> str:
        return (f'{{"id":{rng.randrange(10**6)},"name":"{rng.choice(WORDS)} {rng.choice(WORDS)}",'
                f'"value":{rng.gauss(20, 5):.3f},"at":"2026-11-{rng.randrange(1, 31):02d}T'
                f'{rng.randrange(24):02d}:{rng.randrange(60):02d}:00Z","ok":true}}')

    records, size = [], 0
    while size < MIB:
        records.append(json())
        size += len(records[-1]) + 2
    return {"json": ",\n".join(records).encode(), "html": page()}


def page() -> bytes:
    """This project's documents as HTML, line by line."""
    made = ["<!doctype html><html><head><title>fastlb</title></head><body>"]
    for path in sorted((ROOT / "docs").glob("*.md")):
        for text in path.read_text().splitlines():
            level = len(text) - len(text.lstrip("#"))
            tag = f"h{level}" if level else "p"
            if text:
                made.append(f'<{tag} class="line">{escape(text.lstrip("# "))}</{tag}>')
    return "\n".join([*made, "</body></html>"]).encode()


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as found:
        return int(found.getsockname()[1])


@contextlib.contextmanager
def origin(bodies: dict[str, bytes]) -> Iterator[str]:
    """Answers `GET /json`, `GET /html` and the harness' `GET /small`, on connections that are
    kept."""
    types = {"json": "application/json", "html": "text/html", "small": "image/png"}
    served = {**bodies, "small": b"ready"}
    listener = socket.create_server(("127.0.0.1", 0), backlog=256)

    def run(sock: socket.socket) -> None:
        ahead = b""
        with contextlib.suppress(OSError), sock:
            while True:
                while b"\r\n\r\n" not in ahead:
                    piece = sock.recv(65536)
                    if not piece:
                        return
                    ahead += piece
                head, _, ahead = ahead.partition(b"\r\n\r\n")
                name = head.split(b" ")[1].decode().strip("/")
                sock.sendall(f"HTTP/1.1 200 OK\r\nContent-Type: {types[name]}\r\nContent-Length: "
                             f"{len(served[name])}\r\n\r\n".encode() + served[name])

    def accept() -> None:
        with contextlib.suppress(OSError):
            while True:
                sock, _ = listener.accept()
                threading.Thread(target=run, args=(sock,), daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()
    yield f"127.0.0.1:{listener.getsockname()[1]}"
    listener.close()


def decode(coding: str, data: bytes) -> bytes:
    if coding == "gzip":
        return zlib.decompress(data, 31)
    if coding == "br":
        import brotli

        made: bytes = brotli.decompress(data)
        return made
    import zstandard

    return zstandard.ZstdDecompressor().decompressobj().decompress(data)


def fetch(port: int, name: str, coding: str, times: int) -> tuple[int, bytes]:
    """Bytes of a coded body, and the last one."""
    request = (f"GET /{name} HTTP/1.1\r\nHost: bench.test\r\nAccept-Encoding: {coding}\r\n"
               "\r\n").encode()
    body = b""
    with socket.create_connection(("127.0.0.1", port)) as sock, sock.makefile("rb") as file:
        for _ in range(times):
            sock.sendall(request)
            head = b""
            while not head.endswith(b"\r\n\r\n"):
                head += file.readline()
            if f"content-encoding: {coding}".encode() not in head.lower():
                raise RuntimeError(f"not coded: {head.decode()}")
            parts = []
            while size := int(file.readline(), 16):
                parts.append(file.read(size))
                file.readline()
            file.readline()
            body = b"".join(parts)
    return len(body), body


class Candidate:
    def __init__(self, name: str, coding: str, level: int) -> None:
        self.name, self.coding, self.level = name, coding, level
        self.costs: dict[str, list[float]] = {}
        self.sizes: dict[str, int] = {}

    def start(self, folder: Path, served: str) -> None:
        self.port = free_port()
        template, argv = {
            "fastlb": (FASTLB, [str(ROOT / ".venv/bin/fastlb"), "serve", "{file}"]),
            "nginx": (NGINX, ["/usr/sbin/nginx", "-p", str(folder), "-e", "stderr", "-c",
                              "{file}"]),
        }[self.name]
        file = folder / "config"
        file.write_text(template.format(port=self.port, coding=self.coding, level=self.level,
                                        origin=served, folder=folder))
        self.process = process.start(
            [part.format(file=file) for part in argv], BALANCER_CPU, folder / "log", cwd=folder)
        process.wait_until_serving(self.process, self.port, folder / "log")
        measure.wait_until_settled(self.process.pid)

    def check(self, name: str, body: bytes) -> None:
        self.sizes[name], coded = fetch(self.port, name, self.coding, 1)
        if decode(self.coding, coded) != body:
            raise RuntimeError(f"{self.name} {self.coding}: not the origin's bytes")

    def round(self, name: str, size: int) -> None:
        before = measure.cpu_ns(self.process.pid)
        threads = [threading.Thread(target=fetch, args=(self.port, name, self.coding, REQUESTS))
                   for _ in range(CONNECTIONS)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        used = measure.cpu_between(before, measure.cpu_ns(self.process.pid))
        assert used is not None
        mib = size / MIB * CONNECTIONS * REQUESTS
        self.costs.setdefault(name, []).append(used / 1e3 / mib)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    given = parser.parse_args()
    bodies = corpora()
    candidates = [Candidate(name, coding, level) for name, coding, level in (
        ("nginx", "gzip", 1), ("fastlb", "gzip", 1), ("nginx", "gzip", 5), ("fastlb", "gzip", 5),
        ("nginx", "gzip", 9), ("fastlb", "gzip", 9), ("fastlb", "zstd", 3), ("fastlb", "zstd", 6),
        ("fastlb", "br", 4), ("fastlb", "br", 6))]
    with contextlib.ExitStack() as stack:
        served = stack.enter_context(origin(bodies))
        for candidate in candidates:
            folder = Path(stack.enter_context(TemporaryDirectory()))
            candidate.start(folder, served)
            stack.callback(process.stop, candidate.process)
        for name, body in bodies.items():
            for candidate in candidates:
                candidate.check(name, body)
            for _ in range(given.rounds):
                for candidate in candidates:
                    candidate.round(name, len(body))
    for name in bodies:
        costs = {(one.name, one.coding, one.level): statistics.median(one.costs[name])
                 for one in candidates}
        print(f"\n## {len(bodies[name]) / MIB:.2f} MiB of {name}\n")
        print("| | CPU us/MiB | min-max | of nginx, same level | of fastlb's gzip 5 | bytes |")
        print("|---|---:|---:|---:|---:|---:|")
        for one in candidates:
            cost = costs[one.name, one.coding, one.level]
            beside = costs.get(("nginx", one.coding, one.level))
            of_nginx = f"{cost / beside:.2f}" if beside and one.name == "fastlb" else ""
            print(f"| {one.name} {one.coding} {one.level} | {cost:,.0f} |"
                  f" {min(one.costs[name]):,.0f}-{max(one.costs[name]):,.0f} | {of_nginx} |"
                  f" {cost / costs['fastlb', 'gzip', 5]:.2f} | {one.sizes[name]:,} |")


if __name__ == "__main__":
    main()
