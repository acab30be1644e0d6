"""Engines and what they run on: a thread each, or the loop that is running."""

from __future__ import annotations

import asyncio
import atexit
import os
import threading
import time
import weakref
from collections.abc import Awaitable, Callable

from fastlb._core.engine import Engine
from fastlb._core.tables.live import Live

SETTLE_S = 10.0     # an engine that is stuck in a policy isn't waited for
HEAR_S = 1.0        # an engine takes a turn within milliseconds, unless a policy holds it up
PARTING_S = 1.0     # that both sides of a WebSocket have, at most, to answer a close frame

Wait = Callable[[Callable[[], bool], float], Awaitable[bool]]       # Runtime.wait


class Engines:
    """The engines of one balancer: `threads` of them, or with 0 one inside the running loop.

    Engine threads are daemons, joined by an exit handler of our own: the interpreter would join
    others before it runs exit handlers, and so wait for an engine that nobody stops.
    """

    def __init__(self, threads: int, poller: str, busy_poll: bool = True) -> None:
        self.inline = threads == 0
        self.live = Live(max(threads, 1))
        self.all = [
            Engine(self.live, i, poller, self.inline, busy_poll) for i in range(max(threads, 1))
        ]
        self._inside: int | None = None         # the loop's thread, with an engine inside it
        self._threads: list[threading.Thread] = []
        self._loop: asyncio.AbstractEventLoop | None = None
        self.forked = False
        self.on_fork: Callable[[], None] | None = None      # called in a forked child
        _watch_forks(self)

    def start(self) -> None:
        if self.inline:
            self._inside = threading.get_ident()
            self._loop = asyncio.get_running_loop()
            self._loop.add_reader(self.all[0].fileno(), self._turn)
            return
        atexit.register(self.end)
        for engine in self.all:
            name = f"fastlb-engine-{engine.id}"
            thread = threading.Thread(target=engine.run, name=name, daemon=True)
            thread.start()
            self._threads.append(thread)

    def _turn(self) -> None:
        if self._loop is not None and not self.all[0].turn():
            self._loop.remove_reader(self.all[0].fileno())
            self._loop = None

    @property
    def running(self) -> bool:
        """Whether an engine has not ended yet."""
        if self.inline:
            return self._loop is not None
        return any(engine.running for engine in self.all)

    @property
    def closing(self) -> bool:
        """Whether all have heard that they are to stop, and have let go who was idle."""
        return all(engine.closing for engine in self.all)

    def thread_of(self, engine: int) -> int | None:
        """The identifier of the thread that an engine runs on."""
        if self.inline:
            return self._inside
        return self._threads[engine].ident if engine < len(self._threads) else None

    def settle(self, patience_s: float = SETTLE_S) -> bool:
        """Wait until the engines are through with the turns that they are in: what clients have
        been answered by now is counted and recorded then. False if one took longer than that."""
        if self.inline and threading.get_ident() == self.thread_of(0):
            return True
        deadline_s = time.monotonic() + patience_s
        try:
            before = [engine.turns for engine in self.all]
            for engine in self.all:
                engine.wake()
            for engine, turns in zip(self.all, before, strict=True):
                while engine.turns == turns:
                    if time.monotonic() >= deadline_s:
                        return False
                    engine.wake()       # (the last one may have been heard in the turn before)
                    time.sleep(0.0001)
        except RuntimeError:                # they have been closed
            pass
        return True

    def stop(self, now: bool = False, hasty: bool = False, parting: bool = False) -> None:
        for engine in self.all:
            engine.stop(now, hasty, parting)

    async def drain(
        self, wait: Wait, is_hurried: Callable[[], bool], left_s: float, idle_s: float
    ) -> bool:
        """Let connections end for `left_s`, and idle clients ask for `idle_s`. WebSockets are told
        in the last part of that. False if some have not ended, or nobody waits any more."""

        def is_over() -> bool:
            return not self.running or is_hurried()

        parting_s = min(PARTING_S, max(left_s, 0) / 2)
        self.stop(hasty=left_s <= idle_s)
        # Even if there is no time for anybody else: who is idle is let go in order.
        await wait(lambda: self.closing or is_hurried(), HEAR_S)
        if not await wait(is_over, left_s - parting_s):
            self.stop(hasty=True, parting=True)
            await wait(is_over, parting_s)
        return not self.running

    def end(self) -> None:
        """Stop at once, join and close. Safe to call twice, and from an exit handler."""
        if self.forked:
            return
        if self._threads or self._loop is not None:
            self.stop(now=True)
        for thread in self._threads:
            thread.join()
        self._threads = []
        if self._loop is not None:
            loop, self._loop = self._loop, None
            self.all[0].turn()
            if not loop.is_closed():
                loop.remove_reader(self.all[0].fileno())
        _guarded.discard(self)
        for engine in self.all:
            engine.close()
        self.live.close()
        atexit.unregister(self.end)


_guarded: weakref.WeakSet[Engines] = weakref.WeakSet()
_hooked = False


def _watch_forks(engines: Engines) -> None:
    """A fork copies every descriptor: the child must close them, and touch nothing else of ours."""
    global _hooked
    _guarded.add(engines)
    if not _hooked:
        _hooked = True
        os.register_at_fork(before=_pause, after_in_parent=_resume, after_in_child=_abandon)


def _pause() -> None:
    for engines in list(_guarded):
        for engine in engines.all:
            engine.pause()


def _resume() -> None:
    for engines in list(_guarded):
        for engine in engines.all:
            engine.resume()


def _abandon() -> None:
    for engines in list(_guarded):
        engines.forked = True
        atexit.unregister(engines.end)
        for engine in engines.all:
            engine.abandon()
        engines.live.close()
        engines._threads = []
        engines._loop = None
        if engines.on_fork is not None:
            engines.on_fork()
    _guarded.clear()


def default_poller() -> str:
    """The poller that the environment variable FASTLB_POLLER names; epoll if none."""
    return os.environ.get("FASTLB_POLLER", "epoll")
