"""What is set while running, over the configuration: servers, weights and states, of any thread."""

from __future__ import annotations

import asyncio
import collections
import logging
import time
from typing import TYPE_CHECKING

from fastlb._core.tables.states import Server
from fastlb.compile.snapshot import ServerSpec
from fastlb.config.effective import EffectivePool, EffectiveServer
from fastlb.control.changes import Change

if TYPE_CHECKING:
    from fastlb.process.runtime import Runtime

log = logging.getLogger("fastlb")


class Changing:
    """Sets what is set while running, and lets the runtime make a snapshot of it."""

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        # That the next snapshot is to hold. Threads add to it while the loop takes from it.
        self._wanted: collections.deque[Change] = collections.deque()
        self._applying: asyncio.Task[None] | None = None
        self.lock = asyncio.Lock()          # one change of what is served at a time

    def cancel(self) -> None:
        """Begin nothing new."""
        if self._applying is not None:
            self._applying.cancel()

    def end(self) -> None:
        """Whoever waits for a change that was not made waits in vain."""
        while self._wanted:
            self._wanted.popleft().end()

    def set_servers(
        self, pool: str, servers: list[EffectiveServer], drain_timeout_s: float | None = None
    ) -> Change:
        """These are a pool's servers from now on, whatever the configuration says."""
        change = Change(
            pool, *self._runtime.overlay.set_servers(self._pool(pool), servers), drain_timeout_s
        )
        self._want(change)
        return change

    def set_weight(self, server: Server, weight: int) -> Change:
        """A server's weight from now on, whatever the configuration says."""
        self._runtime.overlay.set_weight(server.pool, server.address, weight)
        change = Change(server.pool, kept=[server.address])
        self._want(change)
        return change

    def reset(self, pool: str) -> Change:
        """A pool is to be as the configuration says: its servers, their weights and states."""
        before = {server.name for server in self.applied(pool).servers}
        self._runtime.overlay.drop(pool)
        now = {server.name: server.state for server in self._pool(pool).servers}
        for server in self._runtime.live.servers():
            if server.pool == pool and server.chosen is not None:
                spec = self._runtime.specs.get(pool, {}).get(server.address)
                server.reset(now.get(server.address, spec.state if spec is not None else "up"))
        change = Change(
            pool, sorted(now.keys() - before), sorted(now.keys() & before),
            sorted(before - now.keys()),
        )
        self._want(change)
        return change

    def spec(self, pool: str, address: str) -> ServerSpec | None:
        """A server as its pool has it now."""
        return self._runtime.specs.get(pool, {}).get(address)

    def _pool(self, name: str) -> EffectivePool:
        for pool in self._runtime.effective.pools:
            if pool.name == name:
                return pool
        raise KeyError(f"there is no pool {name!r}")

    def applied(self, name: str) -> EffectivePool:
        return self._runtime.overlay.applied([self._pool(name)])[0]

    def _want(self, change: Change) -> None:
        loop = self._runtime.loop
        if loop is None or self._runtime.stopping:
            raise RuntimeError("the balancer isn't running")
        self._wanted.append(change)
        loop.call_soon_threadsafe(self._begin_applying)

    def _begin_applying(self) -> None:
        if self._applying is None and self._wanted and not self._runtime.stopping:
            self._applying = asyncio.ensure_future(self._apply())
            self._applying.add_done_callback(self._applied_all)

    def _applied_all(self, done: asyncio.Task[None]) -> None:
        self._applying = None
        if not done.cancelled() and done.exception() is not None:
            log.error("a change can't be applied", exc_info=done.exception())
        self._begin_applying()

    async def _apply(self) -> None:
        """All changes that have come together make one snapshot."""
        while self._wanted:
            async with self.lock:
                changes = [self._wanted.popleft() for _ in range(len(self._wanted))]
                names = self._runtime.names(self._runtime.effective.pools)
                try:
                    await self._runtime.discovery.learn(names)
                    begun_s, before = time.monotonic(), self._runtime.snapshot
                    gone = self._runtime.update()
                except BaseException as error:
                    for change in changes:
                        change.fail(error)
                    raise
                self._runtime.changes.begin(changes, before, gone)
                self._runtime.discovery.keep(names)
            # However many come: half of the loop's time is for others. (uvloop's own clock stands
            # still while it works.)
            await asyncio.sleep(time.monotonic() - begun_s)

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
