"""One running balancer: engines, sockets, names and the snapshot that they make together."""

from __future__ import annotations

import asyncio
import itertools
import logging
import time
from collections.abc import Awaitable, Callable

from fastlb._core.engine import eject_server
from fastlb._core.tables.snapshot import Snapshot
from fastlb._core.tables.states import Server
from fastlb.compile.snapshot import Opened, ServerSpec, chosen, compile_snapshot
from fastlb.config.effective import Effective, EffectivePool
from fastlb.control.addresses import lost, names, servers_by_name, specs_of
from fastlb.control.bans import Bans
from fastlb.control.changes import ChangeTracker
from fastlb.control.clock import Clock, Timer
from fastlb.control.differences import tell_differences
from fastlb.control.discovery import Discovery
from fastlb.control.events import Events
from fastlb.control.geography import GeoFiles
from fastlb.control.health import Health
from fastlb.control.networks import NetworkSets
from fastlb.control.outliers import Comparison
from fastlb.control.overlay import Overlay
from fastlb.control.proximity import Proximity
from fastlb.control.retiring import spare_slots
from fastlb.control.spread import Spread
from fastlb.control.tasks import within
from fastlb.control.watch import Watch
from fastlb.errors import ConfigError, Problem
from fastlb.process.edits import Edits
from fastlb.process.handed import Handed
from fastlb.process.leaving import Leaving
from fastlb.process.machine import check_parser
from fastlb.process.modules import Modules
from fastlb.process.observing import Observing
from fastlb.process.plans import Plans
from fastlb.process.policies import Policies
from fastlb.process.securing import Securing
from fastlb.process.sockets import Listening, open_all
from fastlb.process.threads import HEAR_S, Engines
from fastlb.process.worker import Parent

log = logging.getLogger("fastlb")
log.addHandler(logging.NullHandler())       # a program that configured no logging hears nothing

LOOK_SHARE = 0.1    # of the loop's time goes to looking, at most, while very many states change
RETIRE_S = 0.5      # how often it is looked whether an old snapshot is in use still


class Runtime:
    """Starts, updates and stops what a configuration describes, on the loop that calls start().

    `threads` 0 serves inside that loop. `poller` is "epoll" or "poll". `handed` are listening
    sockets that someone has opened already, by address.
    """

    def __init__(
        self,
        effective: Effective,
        threads: int,
        poller: str = "epoll",
        handed: Handed | None = None,
        parent: Parent | None = None,
    ) -> None:
        self.effective = effective
        self._handed = handed or Handed()
        self.parent = parent                # that holds our listening sockets too
        self.engines = Engines(threads, poller, effective.busy_poll)
        self.live = self.engines.live
        self.clock = Clock(self.live.clock)
        self.engines.on_fork = self._abandon
        self.listening: list[Listening] = []
        self.leaving = Leaving(self.any_uses)
        self._closed: list[Opened] = []     # in a stop: accepted on no more, and still served
        self.ids = itertools.count(1)
        self.retired: list[Snapshot] = []
        self.snapshot: Snapshot | None = None
        self.overlay = Overlay()
        self.changes = ChangeTracker(self.live, self.any_uses, self.clock)
        self.securing = Securing(self.clock)
        self.networks = NetworkSets(self.live, self.engines.all, self.clock)
        self.geography = GeoFiles(self.live, self.engines.all, self.clock)
        self.specs: dict[str, dict[str, ServerSpec]] = {}      # by pool and address
        self._found_by_name: dict[str, list[Server]] = {}
        self.events = Events()
        self.watch = Watch(self.live, self.events)
        self.bans = Bans(self.live, self.networks, self.events, self.clock)
        self._look_again: Timer | None = None
        self._retire_again: Timer | None = None
        self._look_at_s = self._rest_until_s = 0.0
        self._proximity = Proximity(self.events, self._reorder, self.clock)
        self._health = Health(
            self.live, self.events, self._look_soon, self.clock, self._proximity.measured)
        self._spread = Spread(self.live)
        self._comparison = Comparison(self.live, self._eject, self.clock)
        modules = Modules()
        self.policies = Policies(self.live, modules)
        self.plans = Plans(self.live, modules)
        self.observing = Observing(self.live, self.engines.settle)
        self.recording = self.observing.recording
        self.discovery = Discovery(effective.dns, self.update, self.clock)
        self.loop: asyncio.AbstractEventLoop | None = None
        self.edits = Edits(self)
        self._moved = asyncio.Event()       # an engine notified us
        self.ended = asyncio.Event()        # stopped, and all is given back
        self.closers: list[Callable[[], Awaitable[None]]] = []      # awaited at the end
        self.started_s = time.monotonic()
        self.draining = False       # told to stop: /readyz says no
        self.stopping = False       # and nothing is accepted or changed any more
        self._hurried = False

    # --- starting ---

    async def start(self) -> None:
        """Open every socket, resolve every name, and serve. Undone altogether if anything fails."""
        loop = asyncio.get_running_loop()
        try:
            check_parser(self.effective)
            self._open_sockets()
            self.drop_rest()
            await self.discovery.learn(names(self.effective.pools))
            networks = await self.networks.learn(self.effective.networks)
            geography = await self.geography.learn(self.effective.geo)
            self.loop = loop
            loop.add_reader(self.live.notify_fd, self._on_notify)
            self.observing.configure(self.effective)
            self.update()
            self.networks.follow(self.effective.networks, networks)
            self.geography.follow(self.effective.geo, geography)
            self.engines.start()
        except BaseException:
            await self._close()
            raise
        for listening in self.listening:
            log.info("listener %s: %s", listening.listener, listening.address)

    def _open_sockets(self) -> None:
        handed = self._handed
        engines = len(self.engines.all)
        for listener in self.effective.listeners:
            self.listening += open_all(listener, self.ids, engines, handed)

    def tell_parent(self, new: list[Listening], gone: list[Listening]) -> None:
        """What it is to hold, and what no more."""
        if self.parent is not None:
            for one in new:
                self.parent.hold(one.label, one.sockets, one.file)
                one.file = None
            for one in gone:
                self.parent.drop(one.label)

    def drop_rest(self) -> None:
        """Sockets that were opened for us and that we have no use for."""
        for where, sock in self._handed.rest():
            log.warning("an inherited socket, %s, belongs to no listener: closed", where)
            sock.close()

    # --- while running ---

    def update(self) -> list[Server]:
        """Compile what is known now, and let the engines take it up. Returns the servers that no
        pool has any more."""
        pools = [self._proximity.applied(pool)
                 for pool in self.overlay.applied(self.effective.pools)]
        servers = {pool.name: self._servers(pool) for pool in pools}
        spare_slots(self.live, self.engines.all, [
            *self.retired, *([self.snapshot] if self.snapshot else [])])
        callers = self.policies.of(self.effective.listeners)
        self.plans.follow(self.effective.listeners)
        opened = [
            Opened(id, s.listener, s.shared, fds)
            for s in self.listening for id, fds in s.rows
        ] + self._closed
        try:
            snapshot = compile_snapshot(
                self.live,
                self.effective.listeners,
                pools,
                servers,
                opened,
                self.effective.max_connections,
                self.effective.sessions_max,
                callers,
                self.securing.contexts,
            )
        except Exception as error:
            self._retire()                  # what only this one named
            if isinstance(error, (ValueError, OverflowError)) and not isinstance(
                    error, ConfigError):
                error = ConfigError([Problem(str(error))])      # more than tables can hold
            raise error from None
        if self.snapshot is not None:
            self.retired.append(self.snapshot)
        self.snapshot = snapshot
        snapshot.publish()
        before, self.specs = self.specs, {
            name: {spec.name: spec for spec in specs} for name, specs in servers.items()
        }
        if self.retired:                    # (the first one is no change)
            tell_differences(self.events, before, self.specs)
        self._found_by_name = servers_by_name(
            pools, self.specs, self.effective.zone, self.discovery, self.live)
        self.watch.full.limits = {
            "": self.effective.max_connections,
            **{one.name: one.max_connections for one in self.effective.listeners}}
        if not self.stopping:
            try:
                self._follow(pools, servers, before.keys() - self.specs.keys())
            except Exception:               # engines go by it already: there is no way back
                log.exception("a bug in fastlb: what is served now is not looked after")
        named = set(snapshot.servers)
        gone = [one for one in self.live.servers() if one not in named and not one.removed]
        for server in gone:
            server.remove()
        return gone

    def _follow(
        self, pools: list[EffectivePool], servers: dict[str, list[ServerSpec]], gone: set[str]
    ) -> None:
        """Look after these servers from now on."""
        self.policies.watch(self.engines.all, self.engines.thread_of)
        for pool in pools:
            self._health.follow(pool.name, pool.health, servers[pool.name], pool.tls)
            self._comparison.follow(pool.name, pool.outliers, servers[pool.name])
            self._spread.follow(pool.name, servers[pool.name])
            self._proximity.follow(pool, servers[pool.name])
        for name in gone:
            self._health.forget(name)
            self._comparison.forget(name)
            self._spread.forget(name)
            self._proximity.forget(name)
        self._spread.look()
        self.bans.follow(self.effective.listeners)
        self.securing.follow(self.effective, self.loop is not None)

    def _servers(self, pool: EffectivePool) -> list[ServerSpec]:
        found: dict[str, ServerSpec] = {}
        for server in pool.servers:
            for spec in specs_of(server, self.effective.zone, self.discovery, bool(pool.nearest)):
                found.setdefault(spec.name, spec)       # two names may stand for one address
        return self.overlay.weighed(pool.name, chosen(pool, list(found.values())))

    def _reorder(self) -> None:
        """The zones of a pool have another order."""
        if self.loop is not None and not self.stopping:
            self.update()

    def _eject(self, pool: str, server: str, why: str) -> None:
        if self.snapshot is not None:
            eject_server(self.snapshot, pool, server, why)

    def _on_notify(self) -> None:
        changed, asked = self.live.changed()
        if asked:
            self.policies.answer(self.engines.all)
            self.plans.answer()
        if changed:
            self.bans.look()
            self._look_soon()
            self._retire()
            self.leaving.look(self.stopping)
            self.changes.look()
            self._moved.set()

    def _look_soon(self) -> None:
        """At once, but for when it was done just now: a look is at all servers there are."""
        if self.loop is not None and self.clock.time() < self._rest_until_s:
            self._look_at(self._rest_until_s)
        else:
            self._look()

    def _look(self) -> None:
        if self._look_again is not None:
            self._look_again.cancel()
            self._look_again = None
        if self.loop is None:
            self._spread.look()
            return
        self.live.wake_pending()
        begin_s = time.monotonic()          # (uvloop's clock stands still meanwhile)
        self._spread.look()
        at_s = self.watch.look(self.clock.time())
        self.discovery.lost(lost(self._found_by_name))
        if at_s is not None:
            self._look_at(at_s)
        took_s = time.monotonic() - begin_s
        self._rest_until_s = self.clock.time() + took_s / LOOK_SHARE

    def _look_at(self, at_s: float) -> None:
        if self._look_again is not None:
            if self._look_at_s <= at_s:     # (uvloop's handle of a time that is over has no when)
                return
            self._look_again.cancel()
        self._look_again = self.clock.call_at(at_s, self._look)
        self._look_at_s = at_s

    def _retire(self) -> None:
        """Give back snapshots that no engine reads from any more, and what only they named."""
        self.retired = [
            snapshot
            for snapshot in self.retired
            if snapshot.in_use or any(engine.uses(snapshot) for engine in self.engines.all)
        ]
        if self._retire_again is not None:
            self._retire_again.cancel()
            self._retire_again = None
        if self.retired and self.loop is not None:      # (the last to let go tells nobody)
            self._retire_again = self.clock.call_later(RETIRE_S, self._retire)
        kept = [*self.retired, *([self.snapshot] if self.snapshot else [])]
        self.live.keep(
            {server for snapshot in kept for server in snapshot.servers},
            {pool for snapshot in kept for pool in snapshot.pools},
            {listener for snapshot in kept for listener in snapshot.listeners},
        )

    @property
    def current_servers(self) -> frozenset[Server]:
        """Those that new clients may be sent to; others of `live` only keep what they have."""
        return frozenset(self.snapshot.servers if self.snapshot is not None else ())

    def urls(self, listener: str) -> list[str]:
        """Every address of a listener, with its real port."""
        return [str(one.address) for one in self.listening if one.listener == listener]

    def counts(self) -> dict[str, int]:
        """What is alive now in all engines together."""
        total: dict[str, int] = {}
        for engine in self.engines.all:
            for name, n in engine.counts().items():
                total[name] = total.get(name, 0) + n
        return total

    # --- stopping ---

    async def stop(self, timeout_s: float, delay_s: float = 0) -> bool:
        """Accept for another `delay_s`, then no more, let relays finish for `timeout_s`, and reset
        the rest.

        False if any had to be reset. Cancelling it ends at once.
        """
        finished = False
        self.draining = True
        try:
            await self.wait(lambda: self._hurried, delay_s)
            self.stopping = True
            self.edits.cancel()
            begun_s = time.monotonic()
            await self._stop_accepting(timeout_s)
            left_s = timeout_s - (time.monotonic() - begun_s)
            finished = await self.engines.drain(
                self.wait, lambda: self._hurried, left_s, self.effective.shutdown_idle_ms / 1000)
            left = self.counts()["exchanges"]
            if left:
                log.warning("connections that had not ended in time, and were reset: %d", left)
        finally:
            await self._close()
            self.ended.set()
        return finished

    @property
    def delay_s(self) -> float:
        """How long a stop is to accept still; not at all if another process has replaced us."""
        replaced = self.parent is not None and self.parent.has_replaced_us
        return 0.0 if replaced else self.effective.shutdown_delay_ms / 1000

    def hurry(self) -> None:
        """Reset at once what a stop under way still waits for."""
        self._hurried = True
        self._moved.set()

    async def _stop_accepting(self, timeout_s: float) -> None:
        """Take in who waits in the queues, then close them: closing first would reset those. An
        engine that is held up keeps its sockets until it has ended."""
        listening, self.listening = self.listening, []
        self._closed = [Opened(id, s.listener, s.shared, [-1] * len(fds))
                        for s in listening for id, fds in s.rows]
        try:
            self.update()
        finally:
            self.leaving.add(listening, self.retired)
        await self.wait(lambda: not self.leaving.all or self._hurried, max(timeout_s, HEAR_S))
        self.tell_parent([], listening)

    def any_uses(self, snapshot: Snapshot) -> bool:
        return any(engine.uses(snapshot) for engine in self.engines.all)

    async def wait(self, done: Callable[[], bool], timeout_s: float) -> bool:
        """Wait until `done()`, looking again at every notification of an engine."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + timeout_s
        while not done():
            self._moved.clear()
            left_s = deadline - loop.time()
            if left_s <= 0:
                return False
            try:
                await within(left_s, self._moved.wait())
            except asyncio.TimeoutError:
                return done()
        return True

    async def _close(self) -> None:
        self.end()
        await self.discovery.stop()
        await self._health.stop()
        await self._comparison.stop()
        await self.policies.stop()
        await self.plans.stop()
        self.events.end()
        for close in self.closers:
            await close()

    def end(self) -> None:
        """Reset what is left and give everything back. Safe to call twice, and without the loop."""
        for handle in (self._look_again, self._retire_again):
            if handle is not None:
                handle.cancel()
        self._look_again = self._retire_again = None
        if self.loop is not None:
            if not self.loop.is_closed():
                self.loop.remove_reader(self.live.notify_fd)
            self.loop = None
        self.edits.end()
        self.changes.end()
        self.policies.end()
        self.plans.end()
        self.engines.end()
        for listening in self.listening:        # (not before: a number is used anew at once)
            listening.close()
        self.listening = []
        self.leaving.end()
        self.networks.end()
        self.geography.end()
        self.securing.end()
        self.observing.end()

    def _abandon(self) -> None:
        """In a forked child: let go of the listening sockets, but not of a unix socket's file."""
        self.observing.abandon()
        for listening in self.listening:
            listening.file = None
            listening.close()
        self.listening = []
        self.leaving.abandon()
