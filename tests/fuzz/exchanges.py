"""Mutated requests and answers through a running balancer, beside a client that must always get
exactly its own answers; then the same over TLS, with mutated hellos among them. Some come behind
headers of the PROXY protocol."""

from __future__ import annotations

import contextlib
import random
import socket
import ssl
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

import fastlb
from fastlb._core.tables.certificates import H2_AVAILABLE, self_signed
from tests.flow.conftest import wait_until
from tests.flow.http.peers import HttpOrigin, Message, Wire, get
from tests.flow.tls.peers import TlsOrigin
from tests.fuzz import frames, mutate
from tests.fuzz.hellos import HELLOS
from tests.fuzz.proxies import HEADERS
from tests.fuzz.spoken import OPENINGS

ROUTES = [
    {"name": "json", "match": {"json": {"model": "large"}}, "pool": "p"},
    {"name": "form", "match": {"form": {"user": {"regex": "^a"}}}, "pool": "p"},
    {"name": "mirror", "match": {"headers": {"x-a": True}}, "pool": "p", "mirror": "p",
     "request_headers": {"set": {"x-b": "{header.x-a} {query.c}"}}},
    {"name": "rewrite", "match": {"path": "/x/*"}, "pool": "p",
     "rewrite": {"path": "/y/{header.host}/{path.rest}"}},
    {"name": "redirect", "match": {"path": "/r/{x}"}, "redirect": "/{path.x}"},
]


class Site:
    """A balancer, a fair origin for the innocent, and an unfair one for the rest."""

    def __init__(self, choose: random.Random, secure: bool, to_edge: bool = False) -> None:
        self.to_edge = to_edge
        self.context: ssl.SSLContext | None = None
        keys: dict[str, Any] = {"bind": "http://127.0.0.1:0", "h2c": H2_AVAILABLE}
        if secure:
            self._folder = tempfile.TemporaryDirectory()
            file = Path(self._folder.name) / "pair.pem"
            file.write_bytes(b"".join(self_signed(["a"], 30)))
            keys = {"bind": "https://127.0.0.1:0", "tls": {
                "certificates": [{"cert": str(file)}], "handshake_timeout": "300ms"}}
            self.context = ssl.create_default_context(cafile=file)
        self.answers = mutate.mutated(mutate.ANSWERS, random.Random(choose.random()))
        self.lock = threading.Lock()
        self.origin = HttpOrigin(self._serve)
        lb = fastlb.Balancer(threads=1)
        pool = lb.pool("p", [self.origin.address], max_idle_connections=8)
        self.listener = lb.listen(
            **keys, pool=pool, routes=ROUTES, request_header_timeout="300ms",
            body_idle_timeout="300ms", response_header_timeout="300ms", keepalive_timeout="300ms",
            websocket_timeout="300ms", traceparent=True, via="f",
            forwarded={"trusted": ["127.0.0.0/8"], "headers": ["x-forwarded-for", "forwarded"]},
            proxy_protocol={"trusted": ["127.0.0.0/8"], "timeout": "300ms"},
        )
        self.listen_to_all(lb)
        self.balancer = lb

    def listen_to_all(self, lb: fastlb.Balancer) -> None:
        """A listener that hands requests over, and relays what is none of them to nobody in
        particular."""
        self.silent = TlsOrigin(_read_on)
        lb.pool("q", [self.silent.address], balance="maglev", hash_on="mqtt.client_id")
        web = self.listener.name
        self.edge = lb.listen(
            "tcp://127.0.0.1:0", name="edge", pool="q", sniff_timeout="20ms",
            sniff_whole_timeout="20ms", idle_timeout="300ms", routes=[
                {"name": "http", "match": {"protocol": ["http/1.1", "h2", "websocket"]},
                 "listener": web} if self.context is None else
                {"name": "tls", "match": {"protocol": "tls"}, "listener": web},
                {"name": "name", "match": {"tls": {"sni": ["example.com", "*.test"]}}, "pool": "q"},
                {"name": "mqtt", "match": {"mqtt": {"username": {"regex": "^a"}}}, "pool": "q"},
                {"name": "all", "match": {"protocol": ["ssh", "redis"]}, "pool": "q"},
            ])

    def _serve(self, wire: Wire, request: Message) -> bool | None:
        if request.target.startswith("/innocent"):
            self.origin._echo(wire, request)
            return None
        with self.lock:
            reply = next(self.answers)
        wire.send(reply)
        return None if len(reply) % 2 else False

    def connect(self, secure: bool = True) -> socket.socket:
        port = (self.edge if self.to_edge else self.listener).port
        made = socket.create_connection(("127.0.0.1", port), timeout=10)
        if secure and self.context is not None:
            return self.context.wrap_socket(made, server_hostname="a")
        return made


def _read_on(peer: socket.socket) -> None:
    while peer.recv(65536):
        pass


class Innocent:
    def __init__(self, site: Site) -> None:
        self.site = site
        self.wire = Wire(site.connect())
        self.n = 0

    def check(self) -> None:
        self.n += 1
        body = b"own %d" % self.n
        request = get(f"/innocent/{self.n}", method="PUT", body=body)
        try:
            self.wire.send(request)
            got = self.wire.response()
        except (OSError, EOFError):     # it was idle for too long
            self.wire.close()
            self.wire = Wire(self.site.connect())
            self.wire.send(request)
            got = self.wire.response()
        if got.status == 502:           # a hostile answer came to meet it: refused, not believed
            return
        assert got.status == 200, got
        assert got.body == b"origin PUT /innocent/%d HTTP/1.1\n" % self.n + body, got


def attack(site: Site, stream: bytes, choose: random.Random, secure: bool = True) -> None:
    with contextlib.suppress(OSError), site.connect(secure) as sock:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        cuts = sorted(choose.randrange(len(stream) + 1) for _ in range(choose.randrange(4)))
        for a, b in zip([0, *cuts], [*cuts, len(stream)], strict=True):
            sock.sendall(stream[a:b])
        if choose.random() < 0.5:
            sock.shutdown(socket.SHUT_WR)
        if choose.random() < 0.8:
            sock.settimeout(0.05)
            while sock.recv(65536):
                pass


def run(seconds: float, choose: random.Random, secure: bool = False) -> None:
    site = Site(choose, secure)
    streams = mutate.mutated(mutate.requests(), choose)
    shakes = mutate.mutated(HELLOS, choose)
    headers = mutate.mutated(HEADERS, choose)
    with site.balancer.background():
        innocent = Innocent(site)
        end, n = time.monotonic() + seconds, 0
        while time.monotonic() < end:
            shaking = secure and choose.random() < 0.5
            stream = b"".join(next(shakes if shaking else streams)
                              for _ in range(choose.choice((1, 1, 2, 5))))
            told = choose.random() < 0.3
            if told:
                stream = next(headers) + stream
            try:
                attack(site, stream, choose, not (shaking or told))
                innocent.check()
            except BaseException:
                print(f"broken by the stream {stream!r}")
                raise
            n += 1
    site.origin.close()
    over = "exchanges over TLS" if secure else "exchanges"
    print(f"{over}: {n:,} streams, {innocent.n:,} answers to the innocent")


def run_openings(seconds: float, choose: random.Random, secure: bool = False) -> None:
    """First bytes of all protocols at a port for all of them; in the end nothing is held."""
    site = Site(choose, secure, to_edge=True)
    streams = mutate.mutated((*OPENINGS, *mutate.GOOD), choose)
    with site.balancer.background():
        innocent = Innocent(site)
        end, n = time.monotonic() + seconds, 0
        while time.monotonic() < end:
            stream = next(streams)
            try:
                attack(site, stream, choose, False)
                innocent.check()
            except BaseException:
                print(f"broken by the stream {stream!r}")
                raise
            n += 1
        innocent.wire.close()
        runtime = site.balancer._instance.runtime
        assert runtime is not None
        wait_until(lambda: runtime.live.in_flight == 0)
    site.origin.close()
    site.silent.close()
    over = "openings over TLS" if secure else "openings"
    print(f"{over}: {n:,} streams, {innocent.n:,} answers to the innocent")


def run_frames(seconds: float, choose: random.Random) -> None:
    """The same with frames of HTTP/2."""
    site = Site(choose, False)
    with site.balancer.background():
        innocent = Innocent(site)
        n = frames.attack(site.connect, innocent.check, seconds, choose)
    site.origin.close()
    print(f"frames: {n:,} sequences, {innocent.n:,} answers to the innocent")
