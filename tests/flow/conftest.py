"""A balancer beside the test, scripted peers, and the promise that nothing is left over."""

from __future__ import annotations

import os
import socket
import ssl
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

import fastlb
from fastlb._core.tables.build import build_info
from fastlb._core.tables.certificates import self_signed
from fastlb.testing.clock import Clock
from tests import ports
from tests.flow import modes, secure
from tests.flow.secure import TlsSocket, as_server

BUILD = build_info()["build"]
# Only a broken program reaches it, also on a machine with much else to do. (tools/mutants.py has
# many broken programs, and less patience.)
DEADLINE_S = float(os.environ.get("FASTLB_DEADLINE_S") or 30)

# AddressSanitizer holds freed memory back, so that growth says nothing.
measures_memory = pytest.mark.skipif(BUILD == "asan", reason="memory is not ours to measure here")
# gcc 12's AddressSanitizer doesn't take its allocator's locks around a fork: a child of a process
# with busy threads may find one taken for ever.
forks_with_threads = pytest.mark.skipif(BUILD == "asan", reason="gcc's runtime can't fork so")


def wait_until(true: Callable[[], bool], what: str | Callable[[], str] = "") -> None:
    """Look again until it is true; the one place where a test waits for a state."""
    deadline = time.monotonic() + DEADLINE_S
    while not true():
        assert time.monotonic() < deadline, (
            what() if callable(what) else what) or "waited in vain"
        time.sleep(0.002)


class Origin:
    """A listening socket whose connections the test accepts and drives by itself."""

    def __init__(self, family: int = socket.AF_INET, where: Any = None) -> None:
        self.listener = socket.socket(family, socket.SOCK_STREAM)
        self.listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if where is None:
            ports.bind(self.listener, "127.0.0.1" if family == socket.AF_INET else "::1")
        else:
            self.listener.bind(where)
        self.listener.listen(1024)
        self.listener.settimeout(DEADLINE_S)
        self.accepted: list[socket.socket] = []

    @property
    def address(self) -> str:
        name = self.listener.getsockname()
        if isinstance(name, str):
            return f"unix:{name}"
        return f"[{name[0]}]:{name[1]}" if ":" in name[0] else f"{name[0]}:{name[1]}"

    def accept(self) -> socket.socket:
        connection, _ = self.listener.accept()
        connection.settimeout(DEADLINE_S)
        connection = as_server(connection)
        self.accepted.append(connection)
        return connection

    def close(self) -> None:
        self.listener.close()
        for connection in self.accepted:
            connection.close()


class Site:
    """A running balancer with one listener, and clients of it."""

    def __init__(self, balancer: fastlb.Balancer, listener: fastlb.Listener) -> None:
        self.balancer = balancer
        self.listener = listener
        self.clients: list[socket.socket] = []
        self.context: ssl.SSLContext | None = None      # of a listener with TLS
        self.h2 = False                                 # clients speak HTTP/2

    def connect(self, **keys: Any) -> socket.socket:
        url = self.listener.url.partition("://")[2]
        client = socket.socket(socket.AF_UNIX if url.startswith("unix:") else socket.AF_INET)
        if url.startswith("["):
            client.close()
            client = socket.socket(socket.AF_INET6)
        for option, value in keys.items():
            client.setsockopt(socket.SOL_SOCKET, getattr(socket, option), value)
        client.settimeout(DEADLINE_S)
        if url.startswith("unix:"):
            client.connect(url.removeprefix("unix:"))
        else:
            host, _, port = url.rpartition(":")
            client.connect((host.strip("[]"), int(port)))
        if self.context is not None:
            client = TlsSocket(client, self.context)    # type: ignore[assignment]
        if self.h2:
            from tests.flow.http2.wire import H2Socket

            # (it stands for a socket in all that tests use of one)
            client = H2Socket(client)                   # type: ignore[assignment]
        self.clients.append(client)
        return client

    def pair(self, origin: Origin) -> tuple[socket.socket, socket.socket]:
        """A client, and the other end of its connection at the origin."""
        client = self.connect()
        return client, origin.accept()

    def advance(self, duration: str) -> None:
        """Move the balancer's clock: what is due by then has happened on return."""
        Clock(self.balancer._instance.running).advance(duration)

    def counts(self) -> dict[str, int]:
        runtime = self.balancer._instance.runtime
        try:
            return runtime.counts() if runtime is not None else {}
        except RuntimeError as error:           # it stops, and its engines have been closed
            if "this engine is closed" not in str(error):
                raise
            return {}

    def totals(self) -> dict[str, int]:
        runtime = self.balancer._instance.runtime
        assert runtime is not None
        total: dict[str, int] = {}
        for engine in runtime.engines.all:
            for name, n in engine.totals().items():
                total[name] = total.get(name, 0) + n
        return total

    def wait_idle(self) -> None:
        wait_until(lambda: not any(self.counts().values()), lambda: f"alive: {self.counts()}")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    modes.select(config, items)


mode = modes.fixture_of(*modes.THREADS)


@pytest.fixture(scope="session")
def pair(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, str]:
    """Files of a certificate for site.test, and of its key."""
    folder: Path = tmp_path_factory.mktemp("pair")
    cert, key = self_signed(["site.test", "127.0.0.1"], 30)
    (folder / "cert.pem").write_bytes(cert)
    (folder / "key.pem").write_bytes(key)
    return str(folder / "cert.pem"), str(folder / "key.pem")


class Dress:
    """What listeners and pools have more, and clients and origins, where they speak TLS."""

    def __init__(
        self, pair: tuple[str, str], clients: bool, servers: bool, h2: bool = False
    ) -> None:
        self.clients = clients
        self.h2 = h2
        # A busy machine must not look like a server that doesn't accept.
        self.pool: dict[str, Any] = {"connect_timeout": f"{DEADLINE_S:.0f}s"}
        self.context: ssl.SSLContext | None = None
        self.of_servers: ssl.SSLContext | None = None
        self._pair = pair
        if clients:
            self.context = ssl.create_default_context(cafile=pair[0])
            if h2:
                self.context.set_alpn_protocols(["h2"])
        if servers:
            self.pool["tls"] = {"ca": pair[0], "server_name": "site.test"}
            self.of_servers = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            self.of_servers.load_cert_chain(*pair)

    def listener(self, bind: str, **keys: Any) -> dict[str, Any]:
        scheme, _, rest = bind.partition("://")
        if not self.clients or scheme not in ("tcp", "http"):
            return {"bind": bind, **keys}
        cert, key = self._pair
        return {"bind": f"{'tls' if scheme == 'tcp' else 'https'}://{rest}",
                "tls": {"certificates": [{"cert": cert, "key": key}]}, **keys}

    def config(self, config: fastlb.Config) -> fastlb.Config:
        raw = config.model_dump(by_alias=True, exclude_unset=True)
        raw["pools"] = {name: {**self.pool, **pool} for name, pool in raw["pools"].items()}
        return fastlb.Config.build(raw)


@pytest.fixture
def dress(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, pair: tuple[str, str],
    mode: int
) -> Dress:
    name = request.node.callspec.params.get("mode", "")
    made = Dress(pair, name in ("tls", "tls-both", "h2"), name in ("tls-servers", "tls-both"),
                 name == "h2")
    monkeypatch.setattr(secure, "of_servers", made.of_servers)
    return made


@pytest.fixture
def origin() -> Iterator[Origin]:
    peer = Origin()
    yield peer
    peer.close()


@pytest.fixture
def site(mode: int, dress: Dress) -> Iterator[Callable[..., Site]]:
    """Makes a Site: `site(servers, bind=..., pool={...}, **listener keys)`. Ends with all live
    counts at zero."""
    sites: list[Site] = []
    with ExitStack() as stack:

        def make(
            servers: list[Any], bind: str = "tcp://127.0.0.1:0",
            pool: dict[str, Any] | None = None, threads: int | None = None,
            config: fastlb.Config | None = None, **keys: Any,
        ) -> Site:
            threads = mode if threads is None else threads
            if config is not None:
                balancer = fastlb.Balancer(dress.config(config), threads=threads)
                listener = next(iter(balancer.listeners.values()))
            else:
                balancer = fastlb.Balancer(threads=threads)
                target = balancer.pool("pool", servers, **{**dress.pool, **(pool or {})})
                listener = balancer.listen(
                    name="listener", pool=target, **dress.listener(bind, **keys))
            stack.enter_context(balancer.background())
            sites.append(Site(balancer, listener))
            if config is None and "tls" not in keys:
                sites[-1].context, sites[-1].h2 = dress.context, dress.h2
            return sites[-1]

        yield make
        for made in sites:
            for client in made.clients:
                client.close()
        for made in sites:
            made.wait_idle()


@pytest.fixture
def hanging() -> Iterator[str]:
    """An address whose queue is full: a connect to it hangs."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        waiting = []
        for _ in range(8):
            sock = socket.socket()
            sock.setblocking(False)
            sock.connect_ex(listener.getsockname())
            waiting.append(sock)
        yield f"127.0.0.1:{listener.getsockname()[1]}"
        for sock in waiting:
            sock.close()


def read_exactly(sock: socket.socket, n: int) -> bytes:
    got = bytearray()
    while len(got) < n:
        piece = sock.recv(min(n - len(got), 1 << 20))
        if not piece:
            break
        got += piece
    return bytes(got)


def read_to_end(sock: socket.socket) -> bytes:
    got = bytearray()
    while piece := sock.recv(1 << 16):
        got += piece
    return bytes(got)


def reset(sock: socket.socket) -> None:
    """Close with an RST."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    sock.close()
