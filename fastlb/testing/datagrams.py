"""Origins of datagrams for tests: a real socket, scripted faults, and what they got."""

from __future__ import annotations

import contextlib
import random
import selectors
import socket
import threading
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from fastlb.testing.faults import Delay, Draw, delay_of, drawn_delay, flag_of, share_of
from fastlb.testing.limits import (
    DATAGRAM_BYTES_KEPT,
    DATAGRAMS_AT_ONCE,
    DELAYED_MAX,
    READ_BYTES,
    RECEIVE_BUFFER_BYTES,
    REQUESTS_KEPT,
    WAIT_S,
)
from fastlb.testing.reactor import Reactor

Said = bytes | list[bytes] | None
Handler = Callable[[bytes], Said]

SHOWN_BYTES = 60            # of a datagram in a failing test's report


@dataclass
class Datagram:
    """One as an origin got it, and what it did about it."""

    data: bytes
    sender: str                 # "127.0.0.1:PORT": of the balancer's session
    outcome: str = "pending"
    """answered; silent, where the function had nothing to say, or raised; hang; or drop, where all
    that was said was lost."""
    answers: int = 0            # that have left: less where some are lost, more where some are two

    def __str__(self) -> str:
        more = "..." if len(self.data) > SHOWN_BYTES else ""
        return f"{self.data[:SHOWN_BYTES]!r}{more} of {self.sender} -> {self.outcome}"


@dataclass(frozen=True)
class _Fault:
    """What goes wrong with datagrams: see `UdpOrigin.fault`. Raises ValueError."""

    delay: Delay | None = None
    drop: float = 0.0
    duplicate: float = 0.0
    hang: float = 0.0
    refuse: bool = False
    _draw: Draw | None = field(init=False, default=None)

    def __post_init__(self) -> None:
        for name in ("drop", "duplicate", "hang"):
            object.__setattr__(self, name, share_of(name, getattr(self, name)))
        flag_of("refuse", self.refuse)
        object.__setattr__(self, "_draw", delay_of(self.delay))

    def hangs(self, generator: random.Random) -> bool:
        """Of one datagram."""
        return generator.random() < self.hang

    def drawn(self, generator: random.Random) -> tuple[float, int]:
        """Of one answer: after how many seconds it leaves, and how many times."""
        delay_s = drawn_delay(self._draw, generator)
        # (One draw for each, wanted or not: a seed means the same with other faults.)
        drop, duplicate = (
            generator.random() < share for share in (self.drop, self.duplicate)
        )
        return delay_s, 0 if drop else 2 if duplicate else 1


NONE = _Fault()


class Port:
    """A port of datagrams: it receives, or its host says that nobody does. It stays ours."""

    def __init__(self, reactor: Reactor, got: Callable[[bytes, tuple[str, int]], None]) -> None:
        self._reactor = reactor
        self._got = got
        self._keeper = self._socket()
        self._keeper.bind(("127.0.0.1", 0))
        self.where: tuple[str, int] = self._keeper.getsockname()
        # It is connected to itself, and so gets nobody's datagrams: the kernel answers them with
        # ICMP's port unreachable, as long as there is no other socket.
        self._keeper.connect(self.where)
        self.socket: socket.socket | None = None        # of the reactor's thread
        reactor.call(self._open)

    @staticmethod
    def _socket() -> socket.socket:
        return socket.socket(socket.AF_INET, socket.SOCK_DGRAM)

    def _open(self) -> None:
        if self.socket is not None:
            return
        sock = self._socket()
        sock.setblocking(False)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER_BYTES)
        # Both may have the port while they say so; then nobody else can, whatever they say.
        self._allow_reuse(sock, 1)
        sock.bind(self.where)
        self._allow_reuse(sock, 0)
        self.socket = sock
        self._reactor.watch(sock, selectors.EVENT_READ, self._on_ready)

    def _allow_reuse(self, sock: socket.socket, allow: int) -> None:
        for one in (self._keeper, sock):
            one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, allow)

    def _on_ready(self, events: int) -> None:
        sock = self.socket
        assert sock is not None
        for _ in range(DATAGRAMS_AT_ONCE):
            try:
                data, peer = sock.recvfrom(READ_BYTES)
            except OSError:         # there are no more; or a function of the test's has closed it
                return
            self._got(data, peer)

    def refuse(self, refuse: bool) -> None:
        """From now on, as a process that has died does: what it hadn't read or said is lost."""
        self._reactor.call(self._shut if refuse else self._open)

    def _shut(self) -> None:
        sock, self.socket = self.socket, None
        if sock is not None:
            self._reactor.forget(sock)
            sock.close()

    def close(self) -> None:
        self._reactor.call(self._shut)
        self._keeper.close()


class UdpOrigin:
    """An origin of datagrams. Made by `TestBalancer.udp_origin()`; a pool takes it as a server."""

    def __init__(
        self, reactor: Reactor, name: str, seed: str, answer: bytes | Handler | None = None
    ) -> None:
        if answer is not None and not isinstance(answer, bytes) and not callable(answer):
            raise TypeError(f"an answer is bytes or a function of bytes, and not {answer!r}")
        self.name = name
        self._handler: Handler = answer if callable(answer) else (
            lambda data: data if answer is None else answer)
        self._fault = NONE
        self._random = random.Random(seed)      # of the reactor's thread alone
        self._reactor = reactor
        self._received: deque[Datagram] = deque()
        self._kept_bytes = 0
        self._count = 0
        self._pending = 0                       # answers whose time hasn't come
        self._done = 0
        self._changed = threading.Condition()   # of `_done`
        self._port = Port(reactor, self._on_datagram)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.name} {self.address}>"

    @property
    def address(self) -> str:
        """As pools want it: "127.0.0.1:PORT"."""
        return _shown(self._port.where)

    @property
    def received(self) -> list[Datagram]:
        """What it got so far, in order: the last 100,000, and no more than 64 MiB of them. The
        balancer's health checks are among them, for no datagram says whose it is."""
        return list(self._received)

    @property
    def count(self) -> int:
        """How many it has got, those that aren't kept included."""
        return self._count

    def wait(self, count: int, timeout: float = WAIT_S) -> list[Datagram]:
        """Wait until it has got so many in all, for where no answer tells; what `received` is then.
        TimeoutError after `timeout` seconds."""
        with self._changed:
            if not self._changed.wait_for(lambda: self._done >= count, timeout):
                raise TimeoutError(f"{self!r} got {self._done} of {count} in {timeout:g} s")
        return self.received

    def fault(
        self, *, delay: Delay | None = None, drop: float = 0.0, duplicate: float = 0.0,
        hang: float = 0.0, refuse: bool = False,
    ) -> None:
        """What goes wrong from now on, instead of what did until now; nothing: see `heal()`.

        `drop`, `duplicate`: probabilities (True is 1.0) that an answer is lost, or leaves twice.
        `hang`: of no answer to what came. `delay` before each answer, as of `Origin.fault`: those
        that differ let answers overtake each other. `refuse`: the port is closed, which senders
        are told (ICMP). Raises ValueError for what makes no sense.
        """
        self._set(_Fault(delay, drop, duplicate, hang, refuse))

    def heal(self) -> None:
        """No faults from now on."""
        self._set(NONE)

    def _set(self, fault: _Fault) -> None:
        before, self._fault = self._fault, fault
        if before.refuse != fault.refuse:
            self._port.refuse(fault.refuse)

    def describe(self, last: int) -> list[str]:
        """What came, in lines: the last ones."""
        return [
            f"{self.name} {self.address}: {self.count} datagrams",
            *(f"    {one}" for one in self.received[-last:]),
        ]

    def close(self) -> None:
        """Listen no more."""
        self._port.close()

    # --- in the reactor's thread ---

    def _on_datagram(self, data: bytes, peer: tuple[str, int]) -> None:
        got = Datagram(data, _shown(peer))
        self._keep(got)
        with self._failures_told(got):
            self._respond(got, peer)
        with self._changed:
            self._done += 1
            self._changed.notify_all()

    def _keep(self, got: Datagram) -> None:
        self._count += 1
        self._received.append(got)
        self._kept_bytes += len(got.data)
        while len(self._received) > REQUESTS_KEPT or self._kept_bytes > DATAGRAM_BYTES_KEPT:
            self._kept_bytes -= len(self._received.popleft().data)

    @contextlib.contextmanager
    def _failures_told(self, got: Datagram) -> Iterator[None]:
        """Of functions that the test gave."""
        try:
            yield
        except Exception as failure:
            got.outcome = "silent"
            self._reactor.failures.append(failure)

    def _respond(self, got: Datagram, peer: tuple[str, int]) -> None:
        said = self._said(got.data)
        fault, sock = self._fault, self._port.socket
        if fault.hangs(self._random):
            got.outcome = "hang"
            return
        got.outcome = "drop" if said else "silent"      # unless one of them leaves
        for data in said:
            delay_s, times = fault.drawn(self._random)
            if not delay_s:
                self._say(got, data, times, sock, peer)
            elif times and self._pending < DELAYED_MAX:     # a queue that is full loses things
                self._pending += 1
                got.outcome = "pending"
                self._reactor.after(
                    delay_s, partial(self._say_late, got, data, times, sock, peer))

    def _said(self, data: bytes) -> list[bytes]:
        said = self._handler(data)
        answers = said if isinstance(said, list) else [] if said is None else [said]
        for one in answers:
            if not isinstance(one, bytes):
                raise TypeError(f"an answer is bytes, a list of them, or None, and not {said!r}")
        return answers

    def _say_late(self, got: Datagram, *rest: Any) -> None:
        self._pending -= 1
        with self._failures_told(got):
            self._say(got, *rest)

    def _say(
        self, got: Datagram, data: bytes, times: int, sock: socket.socket | None,
        peer: tuple[str, int],
    ) -> None:
        if sock is None or sock is not self._port.socket:       # it has been closed since
            return
        for _ in range(times):
            got.outcome = "answered"            # before: who has the answer finds it so
            got.answers += 1
            sock.sendto(data, peer)


def _shown(where: tuple[str, int]) -> str:
    return f"{where[0]}:{where[1]}"
