"""Health checks: connections of our own to every server of a pool that asks for them.

They run on the control loop, each server's in a task, spread over the interval, and the first ones
over all pools.
"""

from __future__ import annotations

import asyncio
import errno
import logging
import os
import random
from collections.abc import Callable, Iterable
from functools import partial
from logging import ERROR, INFO, WARNING
from typing import TYPE_CHECKING

from fastlb._core.tables.live import Live
from fastlb._core.tables.states import Server
from fastlb.compile.snapshot import ServerSpec, SocketAddress
from fastlb.config.effective_tls import EffectiveServerTls
from fastlb.config.health import EffectiveHealth
from fastlb.control.checks import Report, Visits
from fastlb.control.clock import Clock
from fastlb.control.events import Events
from fastlb.control.tasks import end, keep_going

log = logging.getLogger("fastlb.health")

if TYPE_CHECKING:
    import ssl

    from fastlb.control.secured import Secure

REFUSED = os.strerror(errno.ECONNREFUSED).lower()
FIRST_GAP_S = 0.001         # between the first checks of any two servers: a thousand a second
JITTER = 0.1                # of an interval, so that several balancers don't ask together


class Health:
    """Checks the servers of pools, and tells the engines which are down."""

    def __init__(
        self, live: Live, events: Events, changed: Callable[[], object], clock: Clock,
        measured: Callable[[str, str, float], None],
    ) -> None:
        self._measured = measured       # pool, server, seconds that connecting took
        self._live = live
        self._events = events
        self._changed = changed
        self._clock = clock
        self._tasks: dict[str, dict[str, asyncio.Task[None]]] = {}      # by pool and server
        self._panics: dict[str, int] = {}       # by pool, of 1000 servers
        self._counts: dict[str, tuple[int, int]] = {}   # by pool: servers that are up, and all
        self._how: dict[str, _How] = {}         # by pool
        self._visits: Visits | None = None      # while anybody is checked
        self._first_s = 0.0     # when the next server can have its first check

    def follow(
        self, pool: str, health: EffectiveHealth | None, specs: Iterable[ServerSpec],
        tls: EffectiveServerTls | None = None,
    ) -> None:
        """Check these servers of a pool from now on, and no others; over TLS if the pool is."""
        wanted = {spec.name: spec for spec in specs} if health is not None else {}
        self._panics[pool] = health.panic if health is not None else 0
        before = self._how.get(pool)
        other = before is not None and (before.health, before.tls) != (health, tls)
        if before is None or other:
            self._how[pool] = _How(pool, health, tls)
        how = self._how[pool]
        tasks = self._tasks.setdefault(pool, {})
        for name in list(tasks):
            if other or name not in wanted:
                tasks.pop(name).cancel()
            if name not in wanted and self._live.knows(pool, name):
                self._live.server(pool, name).down = False
                self._live.server(pool, name).checked = False
        new = [spec for name, spec in wanted.items() if name not in tasks]
        if new and self._visits is None:
            self._visits = Visits()
        for i, spec in enumerate(new):
            assert health is not None and self._visits is not None
            patient = Patient(
                self._live.server(pool, spec.name), spec.address, health, self._visits,
                self._turned, how.secure(spec), spec.other, clock=self._clock,
                on_connect=partial(self._measured, pool, spec.name))
            patient.delay_s = max(health.interval_s * i / len(new), self._first_delay_s())
            tasks[spec.name] = keep_going(
                f"pool {pool}: checking server {spec.name}", patient.follow)
        servers = [self._live.server(pool, name) for name in tasks]
        self._counts[pool] = sum(not server.down for server in servers), len(servers)
        self._look_at(pool)

    def _first_delay_s(self) -> float:
        """Thousands of pools begin together. Servers that are all asked at once answer too late."""
        now_s = self._clock.time()
        self._first_s = max(now_s, self._first_s + FIRST_GAP_S)
        return self._first_s - now_s

    def forget(self, pool: str) -> None:
        """It is no more."""
        if pool in self._how:
            self.follow(pool, None, ())
            del self._tasks[pool], self._how[pool], self._panics[pool], self._counts[pool]

    def _turned(self, server: Server, why: str) -> None:
        """A server has gone down, or come up (""). Thousands may, at once."""
        up, n = self._counts[server.pool]
        self._counts[server.pool] = up + (-1 if why else 1), n
        if why:
            self._events.tell(WARNING, server.pool, server.address, "down", f"is down: {why}")
        else:
            self._events.tell(INFO, server.pool, server.address, "up", "is up")
        self._look_at(server.pool)

    def _look_at(self, pool: str) -> None:
        """Whether enough servers of a pool are up to go by that."""
        up, n = self._counts[pool]
        panic = up * 1000 < self._panics[pool] * n
        state = self._live.pool(pool)
        counted = f"{up} of {n} servers are up"
        if panic and not state.panic:
            self._events.tell(ERROR, pool, "", "panic", f"{counted}: all are used")
        elif state.panic and not panic:
            self._events.tell(INFO, pool, "", "serving", f"{counted}: others get nothing")
        state.panic = panic
        self._changed()

    async def stop(self) -> None:
        tasks, self._tasks = self._tasks, {}
        await end(task for of_pool in tasks.values() for task in of_pool.values())
        if self._visits is not None:
            self._visits.close()
            self._visits = None


class _How:
    """How the servers of one pool are checked."""

    def __init__(
        self, pool: str, health: EffectiveHealth | None, tls: EffectiveServerTls | None
    ) -> None:
        self._pool = pool
        self.health = health
        self.tls = tls
        self._context: ssl.SSLContext | None = None     # once there is somebody to be checked

    def secure(self, spec: ServerSpec) -> Secure | None:
        health, tls = self.health, self.tls
        if health is None or health.kind in ("tcp", "udp") or health.plain:
            return None
        if health.kind != "tls" and tls is None:
            return None
        from fastlb.control.secured import Secure, anybody, context_of

        if self._context is None:
            try:
                self._context = context_of(tls) if tls is not None else anybody()
            except (OSError, ValueError) as error:      # of another OpenSSL than ours
                log.error("pool %s: its checks look at no certificate: %s", self._pool, error)
                self._context = anybody(tls.alpn if tls is not None else ())
        name = health.host if health.kind == "tls" else ""
        if not name and tls is not None:
            name = tls.server_name or spec.tls_name
        return Secure(self._context, name)


class Patient:
    """One server and its last checks."""

    def __init__(
        self, server: Server, address: SocketAddress, health: EffectiveHealth, visits: Visits,
        on_change: Callable[[Server, str], None] = lambda server, why: None,
        secure: Secure | None = None, other: tuple[str, int] | None = None, *, clock: Clock,
        on_connect: Callable[[float], None] = lambda seconds: None,
    ) -> None:
        self.on_connect = on_connect
        self.server = server
        self.clock = clock
        self.visits = visits
        self.on_change = on_change
        self.health = health
        self.secure = secure
        self.address = address
        self.other = other
        if health.port and not isinstance(address, str):
            self.address = (address[0], health.port)
            self.other = (other[0], health.port) if other is not None else None
        self.row = 0                # checks in a row that spoke against the present state
        self.known = False          # the first good check decides at once
        self.delay_s = 0.0          # before the first one

    async def follow(self) -> None:
        clock = self.clock
        await clock.sleep(self.delay_s)
        while True:
            begin_s = clock.time()
            if self.server.maintenance:
                self.known = False      # the first good check after it decides at once
                self.row = 0
            else:
                with clock.work():
                    why, at_once = await self._check()
                if why is not None:
                    self.note(why, at_once)
            wait_s = self.health.fast_interval_s if self.row else self.health.interval_s
            wait_s *= 1 + random.uniform(-JITTER, JITTER)
            await clock.sleep(max(0.0, begin_s + wait_s - clock.time()))

    def note(self, why: str, at_once: bool = False) -> None:
        """The result of one check: "" if all was well. `at_once`: it needs no other one."""
        changes = bool(why) != self.server.down
        self.row = self.row + 1 if changes else 0
        needed = self.health.fall if why else self.health.rise
        if changes and (self.row >= needed or at_once or not (self.known or why)):
            self.row = 0
            self.server.down = bool(why)
            self.on_change(self.server, why)
        if not why or self.server.down:
            self.known = self.server.checked = True

    async def _check(self) -> tuple[str | None, bool]:
        report = Report()
        name = self.server.address
        why = await self.visits.make(
            self.address, self.health, name, report, self.secure
        )
        if why == REFUSED and self.other is not None:
            report = Report()
            why = await self.visits.make(
                self.other, self.health, name, report, self.secure
            )
        if report.connect_s is not None:
            self.on_connect(report.connect_s)
        if report.in_flight is not None:
            self.server.report(report.in_flight, report.latency_ms)
        return why, report.nobody
