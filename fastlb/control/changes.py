"""Changes under way: when each holds, and when those who had to leave have left."""

from __future__ import annotations

import asyncio
import concurrent.futures
from collections.abc import Callable, Generator, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from fastlb._core.tables.live import Live
from fastlb._core.tables.snapshot import Snapshot
from fastlb._core.tables.states import Server
from fastlb.control.clock import Clock, Timer

GRACE_S = 1.0       # a request is routed, waits for a policy or a place, and picks
LOOK_S = 0.25       # engines tell when a server has ended its last; this is in case one was missed


class Change:
    """Something that was changed while running: what, and how far it has got. Of any thread.

    `added`, `kept` and `removed` are the servers' addresses, as they were written. `await change`
    waits until every engine goes by it; `await change.drained()`, or `change.wait()` in a thread,
    until the servers that have to leave have ended all they had.
    """

    def __init__(
        self, pool: str, added: Sequence[str] = (), kept: Sequence[str] = (),
        removed: Sequence[str] = (), drain_timeout_s: float | None = None,
    ) -> None:
        self.pool = pool
        self.added = tuple(added)
        self.kept = tuple(kept)
        self.removed = tuple(removed)
        self.drain_timeout_s = drain_timeout_s
        self._reset = 0
        self._held: concurrent.futures.Future[None] = concurrent.futures.Future()
        self._ended: concurrent.futures.Future[int] = concurrent.futures.Future()
        # Who stops waiting must not cancel it for others.
        self._held.set_running_or_notify_cancel()
        self._ended.set_running_or_notify_cancel()

    def __repr__(self) -> str:
        what = ", ".join(
            f"{len(names)} {word}" for word, names in
            (("added", self.added), ("kept", self.kept), ("removed", self.removed))
        )
        how = "drained" if self._ended.done() else "holds" if self._held.done() else "under way"
        return f"<Change of {self.pool}: {what}; {how}>"

    @property
    def reset(self) -> int:
        """Connections and requests that took longer than the `drain_timeout`, and were reset."""
        return self._reset

    @property
    def done(self) -> bool:
        """Whether it holds, and who had to leave has left."""
        return self._ended.done()

    def __await__(self) -> Generator[Any, None, Change]:
        yield from asyncio.wrap_future(self._held).__await__()
        return self

    async def drained(self) -> int:
        """Wait until those who left have ended all; returns `reset`."""
        return await asyncio.wrap_future(self._ended)

    def wait(self, timeout: float | None = None) -> int:
        """The same in a thread; TimeoutError after `timeout` seconds. Not for the loop's own
        thread, which would wait for itself."""
        try:
            return self._ended.result(timeout)
        except concurrent.futures.TimeoutError:
            raise TimeoutError(f"{self!r} after {timeout:g} s") from None

    # --- for the control plane ---

    def end(self) -> None:
        """There is nothing to wait for any more."""
        self._holds()
        if not self._ended.done():
            self._ended.set_result(self._reset)

    def fail(self, error: BaseException) -> None:
        """It can't be made."""
        for future in (self._held, self._ended):
            if not future.done():
                future.set_exception(error)

    def _holds(self) -> None:
        if not self._held.done():
            self._held.set_result(None)


@dataclass(eq=False)
class Way:
    """How far a change has got. `before` is the snapshot that it replaced."""

    change: Change
    before: Snapshot | None
    leaving: list[Server]
    held_s: float | None = None         # since when it holds

    def is_over(self, now_s: float) -> bool:
        if any(_has_to_go(server) for server in self.leaving):
            return False
        # A request that was routed before may still be about to pick one of them.
        return (not self.leaving or self.before is None or not self.before.in_use
                or self.held_s is None or now_s >= self.held_s + GRACE_S)


class ChangeTracker:
    """Follows changes, on the control loop. `uses(snapshot)`: an engine may still read from it."""

    def __init__(
        self, live: Live, uses: Callable[[Snapshot], bool], clock: Clock
    ) -> None:
        self._live = live
        self._clock = clock
        self._uses = uses
        self._adopting: list[Way] = []
        self._leaving: list[Way] = []
        self._cuts: dict[Change, Timer] = {}
        self._again: Timer | None = None

    def begin(
        self, changes: Iterable[Change], before: Snapshot | None, leaving: Iterable[Server]
    ) -> None:
        """They were published, where `before` was until then; these servers have to leave."""
        leaving = list(leaving)
        for change in changes:
            mine = [server for server in leaving if server.pool == change.pool]
            self._adopting.append(Way(change, before, mine))
        self.look()

    def look(self) -> None:
        """Something may have moved."""
        now_s = self._clock.time()
        for way in self._adopting:
            if way.before is None or not self._uses(way.before):
                way.change._holds()
                way.held_s = now_s
                self._leaving.append(way)
                self._time(way)
        self._adopting = [way for way in self._adopting if way.held_s is None]
        for way in self._leaving:
            if way.is_over(now_s):
                handle = self._cuts.pop(way.change, None)
                if handle is not None:
                    handle.cancel()
                way.change.end()
        self._leaving = [way for way in self._leaving if not way.change.done]
        if self._again is not None:
            self._again.cancel()
            self._again = None
        if self._leaving or self._adopting:
            self._again = self._clock.call_later(LOOK_S, self.look)

    def _time(self, way: Way) -> None:
        timeout_s = way.change.drain_timeout_s
        if timeout_s is not None and any(_has_to_go(one) for one in way.leaving):
            self._cuts[way.change] = self._clock.call_later(timeout_s, self._cut, way)

    def _cut(self, way: Way) -> None:
        self._cuts.pop(way.change, None)
        for server in way.leaving:
            if _has_to_go(server):
                way.change._reset += server.in_flight
                self._live.cut(server)

    def end(self) -> None:
        """The balancer has stopped: nobody is left anywhere."""
        for handle in self._cuts.values():
            handle.cancel()
        self._cuts.clear()
        if self._again is not None:
            self._again.cancel()
            self._again = None
        for way in (*self._adopting, *self._leaving):
            way.change.end()
        self._adopting, self._leaving = [], []


def _has_to_go(server: Server) -> bool:
    """Whether it still has something, and is not wanted again."""
    leaving = server.removed or server.draining or server.maintenance
    return leaving and server.in_flight > 0
