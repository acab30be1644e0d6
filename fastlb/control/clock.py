"""The clock of one balancer: what it waits for, a test can let happen at once."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from fastlb._core.tables.clock import Clock as CoreClock

log = logging.getLogger("fastlb")


class Timer:
    """A call at a time of the clock. `cancel()` is all that its owner does with it."""

    def __init__(self, clock: Clock, at_s: float, call: Callable[..., Any], args: Any) -> None:
        self._clock = clock
        self.at_s = at_s
        self._call, self._args = call, args
        self._handle: asyncio.TimerHandle | None = None

    def start(self) -> None:
        """By the loop, as far as the clock has to go."""
        loop = asyncio.get_running_loop()
        if self._handle is not None:
            self._handle.cancel()
        self._handle = loop.call_at(self.at_s - self._clock.ahead_s, self.run)

    def run(self) -> None:
        self.cancel()
        self._call(*self._args)

    def cancel(self) -> None:
        self._clock.timers.discard(self)
        if self._handle is not None:
            self._handle.cancel()
            self._handle = None


class Clock:
    """The loop's clock, and as far ahead of it as a test has moved it; its engines' clock goes with
    it. Times are in seconds. For the control loop's thread alone."""

    def __init__(self, core: CoreClock) -> None:
        self._core = core
        self.ahead_s = 0.0
        self.timers: set[Timer] = set()
        self._at_work: set[asyncio.Event] = set()   # of each that is under way, its end

    def time(self) -> float:
        return asyncio.get_running_loop().time() + self.ahead_s

    def call_at(self, at_s: float, call: Callable[..., Any], *args: Any) -> Timer:
        timer = Timer(self, at_s, call, args)
        self.timers.add(timer)
        timer.start()
        return timer

    def call_later(self, seconds: float, call: Callable[..., Any], *args: Any) -> Timer:
        return self.call_at(self.time() + seconds, call, *args)

    async def sleep(self, seconds: float) -> None:
        over = asyncio.Event()
        timer = self.call_later(seconds, over.set)
        try:
            await over.wait()
        finally:
            timer.cancel()

    @contextmanager
    def work(self) -> Iterator[None]:
        """What a task does between two sleeps, where it waits for somebody else: a check, a
        question to a name server. `rest()` waits for it."""
        over = asyncio.Event()
        self._at_work.add(over)
        try:
            yield
        finally:
            self._at_work.discard(over)
            over.set()

    async def rest(self) -> None:
        """Wait for the end of all work that is under way now."""
        for over in list(self._at_work):
            await over.wait()

    def advance(self, seconds: float) -> None:
        """Move it ahead. What is due is called in the order of its times; what follows from that
        happens in the turns of the loop and of the engines that come then."""
        self._core.advance(round(seconds * 1e9))
        self.ahead_s += seconds
        now_s = self.time()
        for timer in sorted(self.timers, key=lambda one: one.at_s):
            if timer not in self.timers:        # (one before it has cancelled it)
                continue
            if timer.at_s > now_s:
                timer.start()
                continue
            try:
                timer.run()
            except Exception:
                log.exception("a timer failed")
