"""Changes to a running balancer, over its configuration: servers, weights, states. Thread-safe."""

from __future__ import annotations

import asyncio
import collections
import logging
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from fastlb._core.tables.states import Server
from fastlb.config.effective import EffectivePool, EffectiveServer
from fastlb.control.addresses import names as names_of
from fastlb.control.addresses import unresolved
from fastlb.control.changes import Change
from fastlb.control.overlay import Edit, having_nothing, having_servers, having_weight
from fastlb.control.tasks import once
from fastlb.errors import NOT_RUNNING, ConfigError

if TYPE_CHECKING:
    from fastlb.process.runtime import Runtime

log = logging.getLogger("fastlb")


@dataclass(frozen=True, eq=False)
class _Wanted:
    """A change that was asked for, and the edit of the overlay that makes it."""

    change: Change
    edit: Edit


class Edits:
    """Sets what is set while running, and lets the runtime make a snapshot of it."""

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        # That the next snapshot is to hold. Threads add to it while the loop takes from it.
        self._wanted: collections.deque[_Wanted] = collections.deque()
        self._edits = threading.Lock()      # what is wanted is edited and queued in one step
        self._applying: asyncio.Task[None] | None = None
        self.lock = asyncio.Lock()          # one change of what is served at a time

    def cancel(self) -> None:
        """Begin nothing new."""
        if self._applying is not None:
            self._applying.cancel()

    def end(self) -> None:
        """Whoever waits for a change that was not made waits in vain."""
        while self._wanted:
            self._wanted.popleft().change.end()

    def set_servers(
        self, pool: str, servers: list[EffectiveServer], drain_timeout_s: float | None = None
    ) -> Change:
        """These are a pool's servers from now on, whatever the configuration says."""
        now = {one.name: one for one in servers}
        with self._edits:
            before = {one.name for one in self.applied(pool).servers}
            return self._want(having_servers(pool, servers), Change(
                pool, [name for name in now if name not in before],
                [name for name in now if name in before], sorted(before - now.keys()),
                drain_timeout_s,
            ))

    def set_weight(self, server: Server, weight: int) -> Change:
        """A server's weight from now on, whatever the configuration says."""
        with self._edits:
            return self._want(having_weight(server.pool, server.address, weight),
                              Change(server.pool, kept=[server.address]))

    def reset(self, pool: str) -> Change:
        """A pool is to be as the configuration says: its servers, their weights and states."""
        now = {server.name: server.state for server in self._pool(pool).servers}
        for server in self._runtime.live.servers():
            if server.pool == pool and server.chosen is not None:
                spec = self._runtime.specs.get(pool, {}).get(server.address)
                server.reset(now.get(server.address, spec.state if spec is not None else "up"))
        with self._edits:
            before = {server.name for server in self.applied(pool).servers}
            return self._want(having_nothing(pool), Change(
                pool, sorted(now.keys() - before), sorted(now.keys() & before),
                sorted(before - now.keys()),
            ))

    def weight(self, server: Server) -> int:
        """A server's weight as its pool has it now; 0 where it is no more."""
        spec = self._runtime.specs.get(server.pool, {}).get(server.address)
        return spec.weight if spec is not None else 0

    def _pool(self, name: str) -> EffectivePool:
        for pool in self._runtime.effective.pools:
            if pool.name == name:
                return pool
        raise KeyError(f"there is no pool {name!r}")

    def applied(self, name: str) -> EffectivePool:
        """A pool as it will be when every change has been applied."""
        return self._runtime.overlay.wanted(self._pool(name))

    def _want(self, edit: Edit, change: Change) -> Change:
        loop = self._runtime.loop
        if loop is None or self._runtime.stopping:
            raise RuntimeError(NOT_RUNNING)
        self._runtime.overlay.want(edit)
        self._wanted.append(_Wanted(change, edit))
        loop.call_soon_threadsafe(self._begin_applying)
        return change

    def _begin_applying(self) -> None:
        if self._applying is None and self._wanted and not self._runtime.stopping:
            self._applying = once("applying a change", self._apply())
            self._applying.add_done_callback(self._applied_all)

    def _applied_all(self, done: asyncio.Task[None]) -> None:
        self._applying = None
        self._begin_applying()

    async def _apply(self) -> None:
        """All changes that have come together make one snapshot. Where that can't be made, each is
        tried alone, so that a bad one is refused and no other with it."""
        while self._wanted:
            async with self.lock:
                batch = [self._wanted.popleft() for _ in range(len(self._wanted))]
                try:
                    took_s = await self._publish(batch)
                except Exception as error:
                    took_s = await self._publish_each(batch, error)
                except BaseException as error:
                    for one in batch:
                        one.change.fail(error)
                    raise
            # However many come: half of the loop's time is for others. (uvloop's own clock stands
            # still while it works.)
            await asyncio.sleep(took_s)

    async def _publish_each(self, batch: Sequence[_Wanted], error: Exception) -> float:
        """What can be made of changes that together can't be, which is none of one."""
        took_s = 0.0
        for i, one in enumerate(batch):
            try:
                if len(batch) == 1:
                    raise error
                took_s += await self._publish([one])
            except Exception as why:
                self._refuse(one, why, batch[i + 1:])
        return took_s

    async def _publish(self, batch: Sequence[_Wanted]) -> float:
        """Let engines go by these changes, or leave all as it was. Returns the seconds that making
        the tables took."""
        runtime = self._runtime
        configured = runtime.effective.pools
        owns = runtime.overlay.edited(one.edit for one in batch)
        pools = runtime.overlay.applied(configured, owns)
        names = names_of(pools)
        try:
            failures = await runtime.discovery.learn(names)
            if failures:
                raise unresolved(pools, failures)
            begun_s, before = time.monotonic(), runtime.snapshot
            held = runtime.overlay.hold(owns)
            try:
                gone = runtime.update()
            except BaseException:
                runtime.overlay.hold(held)
                raise
        except BaseException:
            runtime.discovery.keep(names_of(runtime.overlay.applied(configured)))
            raise
        runtime.changes.begin([one.change for one in batch], before, gone)
        runtime.discovery.keep(names)
        return time.monotonic() - begun_s

    def _refuse(self, one: _Wanted, error: Exception, rest: Sequence[_Wanted]) -> None:
        """A change can't be made: nobody goes by it, now or later."""
        with self._edits:
            self._runtime.overlay.settle([later.edit for later in (*rest, *self._wanted)])
        if isinstance(error, ConfigError):
            for problem in error.problems:
                log.error("pool %s: nothing was changed: %s", one.change.pool, problem)
        else:
            log.error("pool %s: a change can't be applied", one.change.pool, exc_info=error)
        one.change.fail(error)

    def choose(
        self, server: Server, state: str, drain_timeout_s: float | None = None
    ) -> Change:
        """Somebody wants a server up, draining or in maintenance. Of any thread."""
        server.choose(state)
        self._runtime.watch.note(server.pool, server.address, state)
        self._runtime.live.notify()
        change = Change(server.pool, kept=[server.address], drain_timeout_s=drain_timeout_s)
        loop = self._runtime.loop
        if loop is None:
            change.end()
        else:
            leaving = [server] if state != "up" else []
            loop.call_soon_threadsafe(self._runtime.changes.begin, [change], None, leaving)
        return change
