"""One thread that serves all origins of a test, without a loop of asyncio's: it starts at once."""

from __future__ import annotations

import contextlib
import heapq
import inspect
import itertools
import math
import selectors
import socket
import struct
import threading
import time
from collections import deque
from collections.abc import Callable, Generator
from dataclasses import dataclass

from fastlb.testing.limits import AHEAD_BYTES_MAX, BACKLOG, READ_BYTES


@dataclass(frozen=True)
class Read:
    """Wait for more bytes, or the end."""


@dataclass(frozen=True)
class Send:
    data: bytes


@dataclass(frozen=True)
class Sleep:
    seconds: float              # inf: until the peer goes


class Reset(Exception):
    """Raised by a script: end the connection with an RST."""


Step = Read | Send | Sleep
Script = Generator[Step, None, None]


class Connection:
    """One connection of an origin, driven by a script: a generator of what it waits for."""

    def __init__(self, reactor: Reactor, sock: socket.socket, patient: bool) -> None:
        self.inbox = bytearray()
        self.ended = False              # the peer says no more
        self._reactor = reactor
        self._sock = sock
        self._patient = patient         # goes on when the peer has ended its side
        self._step: Step = Read()
        self._left = memoryview(b"")
        self._script: Script | None = None
        self._sleeps = 0

    def run(self, script: Script) -> None:
        self._script = script
        self._reactor.watch(self._sock, selectors.EVENT_READ, self._on_ready)
        self._resume()

    # --- for scripts ---

    def read(self) -> Generator[Step, None, bool]:
        """More bytes into `inbox`; False at the end."""
        if not self.ended:
            yield Read()
        return not self.ended

    def take(self, n: int) -> bytes:
        data = bytes(self.inbox[:n])
        del self.inbox[:n]
        return data

    # --- driving them ---

    def _resume(self) -> None:
        script = self._script
        assert script is not None
        try:
            while True:
                step = self._step = next(script)
                if self._script is None:        # it has closed its own connection
                    script.close()
                    return
                if isinstance(step, Send):
                    self._left = memoryview(step.data)
                    if not self._write():
                        break
                elif isinstance(step, Sleep):
                    self._fall_asleep(step.seconds)
                    break
                else:
                    break
            self._watch()
        except StopIteration:
            self.close()
        except Reset:
            self.close(reset=True)
        except OSError:
            self.close()
        except Exception as failure:            # of a function that the test gave
            self._reactor.failures.append(failure)
            self.close(reset=True)

    def _fall_asleep(self, seconds: float) -> None:
        self._sleeps += 1
        mine = self._sleeps

        def wake() -> None:
            if self._script is not None and self._sleeps == mine:
                self._resume()

        if not math.isinf(seconds):
            self._reactor.after(seconds, wake)

    def _write(self) -> bool:
        """Whether all is written."""
        while self._left:
            try:
                self._left = self._left[self._sock.send(self._left):]
            except BlockingIOError:
                return False
        return True

    def _watch(self) -> None:
        events = 0
        if not self.ended and (isinstance(self._step, Read) or len(self.inbox) < AHEAD_BYTES_MAX):
            events |= selectors.EVENT_READ
        if self._left:
            events |= selectors.EVENT_WRITE
        self._reactor.watch(self._sock, events, self._on_ready)

    def _on_ready(self, events: int) -> None:
        try:
            if events & selectors.EVENT_READ and not self._receive():
                return
            if events & selectors.EVENT_WRITE and isinstance(self._step, Send) and self._write():
                self._resume()
        except OSError:
            self.close()

    def _receive(self) -> bool:
        """False if the connection is closed by now."""
        try:
            data = self._sock.recv(READ_BYTES)
        except BlockingIOError:
            return True
        self.inbox += data
        self.ended = self.ended or not data
        if isinstance(self._step, Read):
            self._resume()
        elif self.ended and not self._patient:
            self.close()
        else:
            self._watch()
        return self._script is not None

    def close(self, reset: bool = False) -> None:
        script, self._script = self._script, None
        if script is None:
            return
        if inspect.getgeneratorstate(script) != inspect.GEN_RUNNING:    # (that one ends by itself)
            script.close()
        self._reactor.forget(self._sock, self)
        if reset:
            with contextlib.suppress(OSError):
                linger = struct.pack("ii", 1, 0)
                self._sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        self._sock.close()


class Port:
    """A port of an origin: it listens, or refuses, and stays ours meanwhile."""

    def __init__(
        self, reactor: Reactor, script: Callable[[Connection], Script], patient: bool = False
    ) -> None:
        self._reactor = reactor
        self._script = script
        self._patient = patient
        self._connections: set[Connection] = set()
        self._keeper = self._bound(0)           # has the port, and never listens
        self.number: int = self._keeper.getsockname()[1]
        self._listener: socket.socket | None = None
        self.accepted = 0
        reactor.call(self._listen)

    @staticmethod
    def _bound(port: int) -> socket.socket:
        sock = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind(("127.0.0.1", port))
        return sock

    def _listen(self) -> None:
        if self._listener is None:
            listener = self._listener = self._bound(self.number)
            listener.listen(BACKLOG)
            listener.setblocking(False)
            self._reactor.watch(listener, selectors.EVENT_READ, self._accept)

    def _accept(self, events: int) -> None:
        assert self._listener is not None
        try:
            sock, _ = self._listener.accept()
        except OSError:
            return
        sock.setblocking(False)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.accepted += 1
        connection = Connection(self._reactor, sock, self._patient)
        self._connections.add(connection)
        self._reactor.owners[connection] = self._connections
        connection.run(self._script(connection))

    def refuse(self, refuse: bool) -> None:
        """From now on, as a process that has died does: its connections are reset too."""
        self._reactor.call(self._shut if refuse else self._listen)

    def reset_all(self) -> None:
        """Reset the connections that there are."""
        self._reactor.call(self._reset_all)

    def _shut(self) -> None:
        if self._listener is not None:
            self._reactor.forget(self._listener)
            self._listener.close()
            self._listener = None
        self._reset_all()

    def _reset_all(self) -> None:
        for connection in list(self._connections):
            connection.close(reset=True)

    def close(self) -> None:
        self._reactor.call(self._shut)
        self._keeper.close()


class Reactor:
    """The thread. It runs from the first `call` to `close`."""

    def __init__(self) -> None:
        self._selector = selectors.DefaultSelector()
        self._calls: deque[Callable[[], None]] = deque()
        self._timers: list[tuple[float, int, Callable[[], None]]] = []
        self._numbers = itertools.count()
        self._thread: threading.Thread | None = None
        self._closing = False
        self._alarm, self._woken = socket.socketpair()
        for end in (self._alarm, self._woken):
            end.setblocking(False)
        self._selector.register(self._woken, selectors.EVENT_READ, self._on_woken)
        self.owners: dict[Connection, set[Connection]] = {}
        self.failures: list[Exception] = []     # of functions that the test gave

    # --- in any thread ---

    def call(self, do: Callable[[], None]) -> None:
        """Do it in the thread, and wait until it is done; raises what it raises."""
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="fastlb-origins", daemon=True)
            self._thread.start()
        if threading.current_thread() is self._thread:
            do()
            return
        done = threading.Event()
        failures: list[BaseException] = []

        def reported() -> None:
            try:
                do()
            except BaseException as failure:
                failures.append(failure)
            done.set()

        self._calls.append(reported)
        self._wake()
        done.wait()
        if failures:
            raise failures[0]

    def close(self) -> None:
        if self._thread is not None:
            self._closing = True
            self._wake()
            self._thread.join()
            self._thread = None
        self._selector.close()
        self._alarm.close()
        self._woken.close()

    def _wake(self) -> None:
        with contextlib.suppress(BlockingIOError):      # it has been woken often enough
            self._alarm.send(b"x")

    # --- in the thread ---

    def watch(self, sock: socket.socket, events: int, ready: Callable[[int], None]) -> None:
        known = self._selector.get_map().get(sock)
        if known is None:
            if events:
                self._selector.register(sock, events, ready)
        elif not events:
            self._selector.unregister(sock)
        elif known.events != events:
            self._selector.modify(sock, events, ready)

    def forget(self, sock: socket.socket, connection: Connection | None = None) -> None:
        if sock in self._selector.get_map():
            self._selector.unregister(sock)
        if connection is not None:
            self.owners.pop(connection, set()).discard(connection)

    def after(self, seconds: float, do: Callable[[], None]) -> None:
        heapq.heappush(self._timers, (time.monotonic() + seconds, next(self._numbers), do))

    def _on_woken(self, events: int) -> None:
        with contextlib.suppress(BlockingIOError):
            self._woken.recv(4096)

    def _run(self) -> None:
        while not self._closing:
            wait_s = None
            if self._timers:
                wait_s = max(0.0, self._timers[0][0] - time.monotonic())
            for key, events in self._selector.select(wait_s):
                if key.fileobj in self._selector.get_map():     # (an earlier event may end it)
                    key.data(events)
            while self._calls:
                self._calls.popleft()()
            now = time.monotonic()
            while self._timers and self._timers[0][0] <= now:
                heapq.heappop(self._timers)[2]()
