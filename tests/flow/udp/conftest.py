"""A balancer of datagrams, and servers that a thread answers for."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest

import fastlb
from fastlb.testing.clock import Clock
from tests import ports
from tests.flow.conftest import DEADLINE_S, wait_until
from tests.flow.modes import fixture_of

DATAGRAM_MAX = 65_507


class Server:
    """A socket of datagrams. `answer` makes answers of what comes; None: it says nothing."""

    def __init__(self, answer: Callable[[bytes], Any] | None = lambda data: data,
                 host: str = "127.0.0.1", port: int = 0) -> None:
        self.socket = socket.socket(
            socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)
        if port:
            self.socket.bind((host, port))
        else:
            ports.bind(self.socket, host)
        self.socket.settimeout(DEADLINE_S)
        self.port = int(self.socket.getsockname()[1])
        self.address = f"[{host}]:{self.port}" if ":" in host else f"{host}:{self.port}"
        self.answer = answer
        self.heard: list[tuple[bytes, Any]] = []
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def _serve(self) -> None:
        while True:
            try:
                data, peer = self.socket.recvfrom(DATAGRAM_MAX)
            except TimeoutError:
                continue
            except OSError:
                return
            if data == b"\0end":
                return
            self.heard.append((data, peer))
            answers = self.answer(data) if self.answer is not None else None
            for one in [answers] if isinstance(answers, bytes) else answers or ():
                with contextlib.suppress(OSError):
                    self.socket.sendto(one, peer)

    @property
    def peers(self) -> set[Any]:
        return {peer for _, peer in self.heard}

    def close(self) -> None:
        if self.socket.fileno() < 0:
            return
        self.socket.sendto(b"\0end", self.socket.getsockname())
        self._thread.join(DEADLINE_S)
        self.socket.close()


class Site:
    """A running balancer with a listener of udp, and clients of it."""

    def __init__(self, balancer: fastlb.Balancer, listener: fastlb.Listener) -> None:
        self.balancer, self.listener = balancer, listener
        self.clients: list[socket.socket] = []

    @property
    def where(self) -> tuple[str, int]:
        host, _, port = self.listener.url.removeprefix("udp://").rpartition(":")
        return host.strip("[]").replace("0.0.0.0", "127.0.0.1"), int(port)

    def client(self, host: str = "127.0.0.1", connected: bool = True) -> socket.socket:
        one = socket.socket(
            socket.AF_INET6 if ":" in self.where[0] else socket.AF_INET, socket.SOCK_DGRAM)
        if one.family == socket.AF_INET:
            one.bind((host, 0))
        one.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)
        one.settimeout(DEADLINE_S)
        if connected:
            one.connect(self.where)
        self.clients.append(one)
        return one

    def ask(self, data: bytes, client: socket.socket | None = None) -> bytes:
        client = client or self.client()
        client.send(data)
        return client.recv(DATAGRAM_MAX)

    def advance(self, duration: str) -> None:
        """Move the balancer's clock: what is due by then has happened on return."""
        Clock(self.balancer._instance.running).advance(duration)

    def counts(self) -> dict[str, int]:
        runtime = self.balancer._instance.runtime
        return runtime.counts() if runtime is not None else {}

    @property
    def sessions(self) -> int:
        return self.counts()["sessions"]

    def totals(self) -> dict[str, int]:
        total: dict[str, int] = {}
        for engine in self.balancer._instance.running().engines.all:
            for name, n in engine.totals().items():
                total[name] = total.get(name, 0) + n
        return total

    def dropped(self) -> dict[str, int]:
        """Why, and how many; those that there were."""
        return {name.removeprefix("dropped_"): n for name, n in self.totals().items()
                if name.startswith("dropped_") and n}

    def wait_dropped(self, why: str, n: int) -> None:
        wait_until(lambda: self.dropped().get(why, 0) >= n, lambda: f"dropped: {self.dropped()}")
        assert self.dropped()[why] == n

    def end(self) -> None:
        """All sessions at once."""
        if self.balancer._instance.runtime is not None:
            for pool in self.balancer.pools.values():
                for server in pool.servers.values():
                    server.drain(0)
            self.wait_idle()
            for pool in self.balancer.pools.values():
                for server in pool.servers.values():
                    server.enable()

    def wait_idle(self) -> None:
        wait_until(lambda: not any(self.counts().values()), lambda: f"alive: {self.counts()}")


Make = Callable[..., Site]
Serve = Callable[..., Server]


mode = fixture_of("thread", "threads", "inline", "poll")


@pytest.fixture
def serve() -> Iterator[Serve]:
    """Makes servers, which end with the test."""
    with ExitStack() as stack:
        def make(*args: Any, **keys: Any) -> Server:
            server = Server(*args, **keys)
            stack.callback(server.close)
            return server

        yield make


@pytest.fixture
def site(mode: int) -> Iterator[Make]:
    """Makes a running balancer; at the end all sessions end, and nothing is left of them."""
    with ExitStack() as stack:
        sites: list[Site] = []

        def make(servers: Any, pool: dict[str, Any] | None = None,
                 policy: Any = None, **keys: Any) -> Site:
            lb = fastlb.Balancer(threads=mode, shutdown_timeout="10s")
            made_pool = lb.pool("p", servers, **(pool or {}))
            keys = {"bind": "udp://127.0.0.1:0", "idle_timeout": "10m", **keys}
            listener = lb.listen(name="l", pool=made_pool, **keys)
            if policy is not None:
                listener.route(deadline=f"{DEADLINE_S:.0f}s")(policy)
            stack.enter_context(lb.background())
            sites.append(Site(lb, listener))
            return sites[-1]

        yield make
        for one in sites:
            for client in one.clients:
                client.close()
            one.end()
