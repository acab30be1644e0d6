"""Signals of a process that is a load balancer and nothing else."""

from __future__ import annotations

import os
import signal
import socket
import threading
from collections.abc import Callable

LATER = (signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2)     # wait until the process serves
ENDING = (signal.SIGTERM, signal.SIGINT)
HURRY_S = 1.0       # for an orderly end, after the second signal

_early: list[int] = []
_guards: list[Guard] = []       # at work: one at most


def hold_early() -> None:
    """From the first moment on: what comes while the process starts must not end it."""
    for number in LATER:
        signal.signal(number, lambda number, _: _early.append(number))


def take_early() -> list[int]:
    """The signals that have come since."""
    taken = _early[:]
    _early.clear()
    return taken


class Guard:
    """Ends the process when it is told to end and something holds it up: on a thread of its own,
    because a policy may hold up engines, or the loop that hears of signals.

    `is_stuck` says whether that is so, and `end`, which must not return, ends the process.
    """

    def __init__(self, is_stuck: Callable[[], bool], end: Callable[[str], None]) -> None:
        self._is_stuck = is_stuck
        self._end = end
        self._told = 0
        self._ours, self._theirs = socket.socketpair()
        self._ours.setblocking(False)
        self._next = -1
        self._ending: threading.Timer | None = None
        self._done = False

    def start(self) -> None:
        """On the main thread, while its loop runs, which goes on hearing of all signals."""
        _guards.append(self)
        self._next = signal.set_wakeup_fd(self._ours.fileno(), warn_on_full_buffer=False)
        threading.Thread(target=self._hear, name="fastlb-signals", daemon=True).start()

    def _hear(self) -> None:
        while data := self._theirs.recv(512):
            try:
                os.write(self._next, data)
            except OSError:
                pass                        # it is full, and will wake up anyway
            self._told += sum(number in ENDING for number in data)
            if self._told > 1:
                self.expect_end(HURRY_S, "a second signal")

    def expect_end(self, seconds: float, why: str) -> None:
        """The process should have ended by then."""
        if self._ending is not None:
            self._ending.cancel()
        if not self._done:
            self._ending = threading.Timer(seconds, self._look, (why,))
            self._ending.daemon = True
            self._ending.start()

    def _look(self, why: str) -> None:
        if self._is_stuck():
            self._end(why)
        self.expect_end(HURRY_S, why)       # (a slow machine isn't stuck)

    def stop(self) -> None:
        """It ends by itself. On the main thread."""
        self._done = True
        _guards.remove(self)
        signal.set_wakeup_fd(self._next)
        if self._ending is not None:
            self._ending.cancel()
        self._ours.close()                  # (which ends the thread)


def _abandon() -> None:
    """In a forked child: its signals are its own."""
    if _guards:
        signal.set_wakeup_fd(-1)
        _guards.clear()


os.register_at_fork(after_in_child=_abandon)
