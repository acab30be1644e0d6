"""A balancer for tests: it starts when it is needed, and has origins that do as they are told."""

from __future__ import annotations

import socket
import ssl
from collections import deque
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from types import TracebackType
from typing import TYPE_CHECKING

from fastlb._core.tables.certificates import self_signed
from fastlb.background import Background
from fastlb.balancer import Balancer
from fastlb.config.address import parse_bind
from fastlb.config.server import Server
from fastlb.handles import Listener, Pool
from fastlb.observe.recording import Subscription
from fastlb.observe.records import Record
from fastlb.process.draft import Draft
from fastlb.process.handed import Handed
from fastlb.process.instance import Instance
from fastlb.process.runtime import Runtime
from fastlb.testing.clock import Clock
from fastlb.testing.datagrams import Handler as DatagramHandler
from fastlb.testing.datagrams import UdpOrigin
from fastlb.testing.limits import RECORDS_KEPT, WAIT_S
from fastlb.testing.origins import Handler, Origin, Said, TcpOrigin
from fastlb.testing.reactor import Reactor

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from fastlb.keywords import BalancerKeywords, ListenKeywords, PoolKeywords

AnyOrigin = Origin | TcpOrigin | UdpOrigin

CERTIFICATE_DAYS = 2
STOP_S = 0.0        # a test is over: what is still under way is of no use to anybody


class LazyInstance(Instance):
    """Starts when somebody asks for what only a running one knows, such as a listener's url.

    What is added to a running one makes it start again, on the same ports.
    """

    def __init__(self, draft: Draft, threads: int | None, source: str | None) -> None:
        super().__init__(draft, threads, source)
        self._background: Background[None] | None = None
        self._subscription: Subscription | None = None
        self._records: deque[Record] = deque(maxlen=RECORDS_KEPT)

    def running(self) -> Runtime:
        self.begin()
        return super().running()

    @contextmanager
    def editing(self) -> Iterator[Draft]:
        runtime = self.runtime
        if runtime is None:
            yield self.draft
            return
        self.must_be_ours()
        handed = self.handed = _copied(runtime)
        try:
            self.end()
            try:
                yield self.draft
            finally:
                self.begin()
        finally:
            self.handed = None
            for _, sock in handed.rest():
                sock.close()

    def begin(self) -> None:
        self.must_be_ours()
        if self.runtime is not None:
            return
        self.end()
        self._background = Background(self, None)
        runtime = super().running()
        self._subscription = runtime.recording.subscribe()
        for name, spec in self.draft.listeners.items():     # port 0 is what it has become
            spec["bind"] = runtime.urls(name)

    def recorded(self) -> list[Record]:
        if self._subscription is not None:
            self._records.extend(self._subscription.take())
        return list(self._records)

    def end(self) -> None:
        self.recorded()
        self._subscription = None
        background, self._background = self._background, None
        if background is not None:
            background.stop(STOP_S)


def _copied(runtime: Runtime) -> Handed:
    """Its listening sockets, so that nobody else gets their ports meanwhile. (Files of unix sockets
    go with those who made them.)"""
    handed = Handed()
    for listening in runtime.listening:
        for sock in listening.sockets:
            if sock.family != socket.AF_UNIX:
                handed.add(sock.dup(), listening.label)
    return handed


class LazyBalancer(Balancer):
    _made_of = LazyInstance

    @property
    def lazy(self) -> LazyInstance:
        assert isinstance(self._instance, LazyInstance)
        return self._instance


class TestBalancer:
    """A balancer of one test, with its origins. The fixture `balancer` is one.

    It starts by itself when a listener's `url` is asked for. `threads` and further keys are those
    of fastlb.Balancer; `seed` is what faults that have a probability are drawn with.
    `clock.advance("1h")` lets an hour go by at once.
    """

    __test__ = False        # for pytest: this is not a class of tests

    def __init__(
        self, *, threads: int = 1, seed: int = 0, **keys: Unpack[BalancerKeywords]
    ) -> None:
        self.seed = seed
        made = LazyBalancer(threads=threads, **keys)
        self.balancer: Balancer = made
        self._lazy = made.lazy
        self.clock = Clock(made.lazy.running)
        self._reactor = Reactor()
        self._origins: list[AnyOrigin] = []
        self._sockets: list[socket.socket] = []                 # of clients
        self._folder: TemporaryDirectory[str] | None = None     # of a certificate

    # --- building ---

    def origin(self, answer: Said | Handler | None = None, *, name: str | None = None) -> Origin:
        """An http origin. It answers its name, or `answer`: a fastlb.testing.Answer, a status, text
        or bytes, or a function of what was received that returns one of these."""
        name = name or f"origin{len(self._origins) + 1}"
        made = Origin(self._reactor, name, f"{self.seed} {name}", answer)
        self._origins.append(made)
        return made

    def tcp_origin(self, *, greeting: bytes = b"", name: str | None = None) -> TcpOrigin:
        """A tcp origin: it says `greeting`, then echoes."""
        name = name or f"origin{len(self._origins) + 1}"
        made = TcpOrigin(self._reactor, name, f"{self.seed} {name}", greeting)
        self._origins.append(made)
        return made

    def udp_origin(
        self, answer: bytes | DatagramHandler | None = None, *, name: str | None = None
    ) -> UdpOrigin:
        """An origin of datagrams. It echoes, or says `answer`: bytes, or a function of what came
        that returns bytes, a list of them, or None for no answer."""
        name = name or f"origin{len(self._origins) + 1}"
        made = UdpOrigin(self._reactor, name, f"{self.seed} {name}", answer)
        self._origins.append(made)
        return made

    def pool(
        self, name: str | None = None,
        servers: Iterable[AnyOrigin | Server | str] = (), *, balance: str = "round_robin",
        **keys: Unpack[PoolKeywords],
    ) -> Pool:
        """A pool, as of Balancer.pool(); origins are servers."""
        name = name or f"pool{len(self._lazy.draft.pools) + 1}"
        addresses = [one if isinstance(one, (Server, str)) else one.address for one in servers]
        return self.balancer.pool(name, addresses, balance=balance, **keys)

    def listen(
        self, bind: str | list[str] = "http://127.0.0.1:0", *,
        pool: Pool | str | None = None, name: str | None = None, **keys: Unpack[ListenKeywords],
    ) -> Listener:
        """A listener, as of Balancer.listen(). One of https:// or tls:// without a `tls` has a
        certificate for localhost and 127.0.0.1, which `ssl_context` trusts."""
        first = bind if isinstance(bind, str) else next(iter(bind), "")
        if first.startswith(("https://", "tls://")) and "tls" not in keys:
            ca = Path(self.ca_file)
            keys["tls"] = {"certificates": [{"cert": str(ca), "key": str(ca.with_suffix(".key"))}]}
        return self.balancer.listen(bind, pool=pool, name=name, **keys)

    @property
    def ca_file(self) -> str:
        """The certificate (PEM) of listeners that were given none: what their clients trust."""
        if self._folder is None:
            self._folder = TemporaryDirectory(prefix="fastlb-test-")
            path = Path(self._folder.name, "localhost.pem")
            cert, key = self_signed(["localhost", "127.0.0.1"], CERTIFICATE_DAYS)
            path.write_bytes(cert)
            path.with_suffix(".key").write_bytes(key)
        return str(Path(self._folder.name, "localhost.pem"))

    @property
    def ssl_context(self) -> ssl.SSLContext:
        """Of a client that trusts it: `httpx.get(site.url, verify=balancer.ssl_context)`."""
        return ssl.create_default_context(cafile=self.ca_file)

    def connect(self, listener: Listener, *, timeout: float = WAIT_S) -> socket.socket:
        """A plain socket that is connected to a listener's first address: of datagrams where that
        is of udp. It raises TimeoutError after `timeout` seconds, and is closed with the balancer
        at the latest. Raises ValueError for a unix socket's listener."""
        address = parse_bind(listener.url)
        if address.port is None:
            raise ValueError(f"{address} has no port to connect to")
        kind = socket.SOCK_DGRAM if address.scheme == "udp" else socket.SOCK_STREAM
        family, *_, where = socket.getaddrinfo(address.host, address.port, type=kind)[0]
        made = socket.socket(family, kind)
        self._sockets = [*(one for one in self._sockets if one.fileno() >= 0), made]
        made.settimeout(timeout)
        made.connect(where)
        return made

    @property
    def records(self) -> list[Record]:
        """What became of each request, and each session of tcp or udp, that has ended, in order:
        those of all answers that clients have are there. 100,000 are kept."""
        return self._lazy.recorded()

    # --- running ---

    def start(self) -> None:
        """Start now, and not when it is needed. Raises ConfigError or BindError."""
        self._lazy.begin()

    def stop(self) -> None:
        """Stop it and its origins. Raises what a function that was given to an origin raised."""
        try:
            self._lazy.end()
        finally:
            for one in self._sockets:
                one.close()
            self._sockets.clear()
            for origin in self._origins:
                origin.close()
            self._origins.clear()
            self._reactor.close()
            if self._folder is not None:
                self._folder.cleanup()
                self._folder = None
        failures, self._reactor.failures = self._reactor.failures, []
        if failures:
            raise failures[0]

    def __enter__(self) -> TestBalancer:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    def describe(self) -> str:
        """What became of the last requests, and what origins got, for people."""
        records = self.records
        lines = [f"seed {self.seed}", f"{len(records)} requests"]
        lines += [f"    {_shown(record)}" for record in records[-SHOWN:]]
        for origin in self._origins:
            lines += origin.describe(SHOWN)
        return "\n".join(lines)


def _shown(record: Record) -> str:
    """Such as: GET /x?y=1 -> 200, done; 127.0.0.1:1 reset, 127.0.0.1:2 response"""
    what = record.kind
    if record.kind == "http":
        query = f"?{record.query}" if record.query else ""
        what = f"{record.method} {record.path}{query} -> {record.status or 'no answer'}"
    tries = ", ".join(f"{one.server} {one.outcome}" for one in record.tries)
    return f"{what}, {record.reason}; {tries or 'no server'}"


SHOWN = 20          # requests of each origin in a failing test's report: the last ones tell most
