"""One running balancer: engines, sockets, names and the snapshot that they make together."""

from __future__ import annotations

import asyncio
import ipaddress
import itertools
import logging
import os
import socket
import time
from collections.abc import Callable

from fastlb._core.engine import eject_server, publish
from fastlb._core.tables.live import Server
from fastlb._core.tables.snapshot import Snapshot
from fastlb.compile.snapshot import Opened, ServerSpec, chosen, compile_snapshot
from fastlb.config.effective import Effective, EffectivePool, EffectiveServer
from fastlb.control.discovery import Discovery
from fastlb.control.events import Events
from fastlb.control.health import Health
from fastlb.control.outliers import Comparison
from fastlb.control.spread import Spread
from fastlb.control.tasks import within
from fastlb.control.watch import Watch
from fastlb.errors import ConfigError, Problem
from fastlb.process.machine import PIP_LINE, bind_llhttp
from fastlb.process.policies import Policies
from fastlb.process.sockets import Listening, open_all
from fastlb.process.threads import Engines

log = logging.getLogger("fastlb")
log.addHandler(logging.NullHandler())       # a program that configured no logging hears nothing

LOOK_SHARE = 0.1    # of the loop's time goes to looking, at most, while very many states change
ADOPT_S = 1.0       # an engine takes up a new snapshot within a turn, so within milliseconds


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
        handed: dict[tuple[str, int] | str, socket.socket] | None = None,
    ) -> None:
        self.effective = effective
        self._handed = handed or {}
        self.engines = Engines(threads, poller, effective.busy_poll)
        self.live = self.engines.live
        self.engines.on_fork = self._abandon
        self.listening: list[Listening] = []
        self._ids = itertools.count(1)
        self._retired: list[Snapshot] = []
        self._snapshot: Snapshot | None = None
        self.events = Events()
        self._watch = Watch(self.live, self.events)
        self._look_again: asyncio.TimerHandle | None = None
        self._look_at_s = 0.0
        self._rest_until_s = 0.0
        self._health = Health(self.live, self.events, self._look_soon)
        self._spread = Spread(self.live)
        self._comparison = Comparison(self.live, self._eject)
        self.policies = Policies(self.live)
        self._discovery = Discovery(effective.dns, self.update)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._moved = asyncio.Event()       # an engine notified us
        self.ended = asyncio.Event()        # stopped, and all is given back
        self.stopping = False
        self._hurried = False

    # --- starting ---

    async def start(self) -> None:
        """Open every socket, resolve every name, and serve. Undone altogether if anything fails."""
        loop = asyncio.get_running_loop()
        try:
            self._check_parser()
            self._open_sockets()
            self._name_servers()
            await self._discovery.start()
            self._loop = loop
            loop.add_reader(self.live.notify_fd, self._on_notify)
            self.update()
            self.engines.start()
            self.policies.watch(self.engines.all, self.engines.thread_of)
        except BaseException:
            await self._close()
            raise
        for listening in self.listening:
            log.info("listener %s: %s", listening.listener, listening.address)

    def _check_parser(self) -> None:
        http = next((one for one in self.effective.listeners if one.http is not None), None)
        failure = bind_llhttp() if http is not None else ""
        if http is not None and failure:
            where = f"listeners.{http.name}.bind"
            raise ConfigError(
                [Problem(f"http needs llhttp, and {failure}; run: {PIP_LINE}", where)]
            )

    def _open_sockets(self) -> None:
        handed = self._handed
        engines = len(self.engines.all)
        for listener in self.effective.listeners:
            self.listening += open_all(listener, self._ids, engines, handed)
        for where, sock in handed.items():
            log.warning("an inherited socket, %s, belongs to no listener: closed", where)
            sock.close()
        handed.clear()

    def _name_servers(self) -> None:
        for pool in self.effective.pools:
            for server in pool.servers:
                if _is_name(server):
                    assert server.address.host is not None
                    refresh_ms = server.refresh_ms
                    self._discovery.add(
                        server.address.host, None if refresh_ms is None else refresh_ms / 1000
                    )

    # --- while running ---

    def update(self) -> None:
        """Compile what is known now, and let the engines take it up."""
        servers = {pool.name: self._servers(pool) for pool in self.effective.pools}
        callers = self.policies.of(self.effective.listeners)
        opened = [Opened(s.id, s.listener, s.shared, s.fds) for s in self.listening if s.fds]
        snapshot = compile_snapshot(
            self.live,
            self.effective.listeners,
            self.effective.pools,
            servers,
            opened,
            self.effective.max_connections,
            callers,
        )
        if self._snapshot is not None:
            self._retired.append(self._snapshot)
        self._snapshot = snapshot
        publish(self.live, snapshot)
        if not self.stopping:
            for pool in self.effective.pools:
                self._health.follow(pool.name, pool.health, servers[pool.name])
                self._comparison.follow(pool.name, pool.outliers, servers[pool.name])
                self._spread.follow(pool.name, servers[pool.name])
            self._spread.look()

    def _servers(self, pool: EffectivePool) -> list[ServerSpec]:
        found: dict[str, ServerSpec] = {}
        for server in pool.servers:
            for spec in self._addresses(server):
                found.setdefault(spec.name, spec)       # two names may stand for one address
        return chosen(pool, list(found.values()))

    def _addresses(self, server: EffectiveServer) -> list[ServerSpec]:
        address = server.address
        zone = self.effective.zone
        what = (server.weight, server.max_connections, server.priority,
                not zone or server.zone in ("", zone), server.state)
        if address.path is not None:
            return [ServerSpec(f"unix:{address.path}", address.path, *what)]
        assert address.host is not None and address.port is not None
        hosts = [address.host]
        if _is_name(server):
            hosts = list(self._discovery.addresses(address.host))
        return [
            ServerSpec(
                f"[{host}]:{address.port}" if ":" in host else f"{host}:{address.port}",
                (host, address.port),
                *what,
            )
            for host in hosts
        ]

    def choose(self, server: Server, state: str) -> None:
        """Somebody wants a server up, draining or in maintenance. Of any thread."""
        server.choose(state)
        self._watch.note(server.pool, server.address, state)
        self.live.notify()

    def _eject(self, pool: str, server: str, why: str) -> None:
        if self._snapshot is not None:
            eject_server(self._snapshot, pool, server, why)

    def _on_notify(self) -> None:
        changed, asked = self.live.changed()
        if asked:
            self.policies.answer(self.engines.all)
        if changed:
            self._look_soon()
            self._retire()
            self._moved.set()

    def _look_soon(self) -> None:
        """At once, but for when it was done just now: a look is at all servers there are."""
        if self._loop is not None and self._loop.time() < self._rest_until_s:
            self._look_at(self._rest_until_s)
        else:
            self._look()

    def _look(self) -> None:
        if self._look_again is not None:
            self._look_again.cancel()
            self._look_again = None
        if self._loop is None:
            self._spread.look()
            return
        self.live.wake_pending()
        begin_s = time.monotonic()          # (uvloop's clock stands still meanwhile)
        self._spread.look()
        at_s = self._watch.look(self._loop.time())
        if at_s is not None:
            self._look_at(at_s)
        took_s = time.monotonic() - begin_s
        self._rest_until_s = self._loop.time() + took_s / LOOK_SHARE

    def _look_at(self, at_s: float) -> None:
        if self._look_again is not None:
            if self._look_at_s <= at_s:     # (uvloop's handle of a time that is over has no when)
                return
            self._look_again.cancel()
        assert self._loop is not None
        self._look_again = self._loop.call_at(at_s, self._look)
        self._look_at_s = at_s

    def _retire(self) -> None:
        """Give back snapshots that no engine reads from any more, and what only they named."""
        self._retired = [
            snapshot
            for snapshot in self._retired
            if snapshot.in_use or any(engine.uses(snapshot) for engine in self.engines.all)
        ]
        kept = [*self._retired, *([self._snapshot] if self._snapshot else [])]
        self.live.keep(
            {server for snapshot in kept for server in snapshot.servers},
            {pool for snapshot in kept for pool in snapshot.pools},
            {listener for snapshot in kept for listener in snapshot.listeners},
        )

    def summary(self) -> str:
        """What is served, in one line."""
        engines = "inside this loop"
        if not self.engines.inline:
            n = len(self.engines.all)
            engines = f"{n} thread{'s' if n > 1 else ''}"
        parts = [
            f"{s.address} -> {listener.pool}"
            for listener in self.effective.listeners
            for s in self.listening
            if s.listener == listener.name
        ]
        return f"{', '.join(parts) or 'no listener'} ({engines})"

    def counts(self) -> dict[str, int]:
        """What is alive now in all engines together."""
        total: dict[str, int] = {}
        for engine in self.engines.all:
            for name, n in engine.counts().items():
                total[name] = total.get(name, 0) + n
        return total

    # --- stopping ---

    async def stop(self, timeout_s: float) -> bool:
        """Stop accepting, let relays finish for `timeout_s`, and reset the rest.

        False if any had to be reset. Cancelling it ends at once.
        """
        finished = False
        self.stopping = True
        try:
            await self._stop_accepting(timeout_s)
            self.engines.stop()
            await self._wait(lambda: not self.engines.running or self._hurried, timeout_s)
            finished = not self.engines.running
            left = self.counts()["exchanges"]
            if left:
                log.warning("connections that had not ended in time, and were reset: %d", left)
        finally:
            await self._close()
            self.ended.set()
        return finished

    def hurry(self) -> None:
        """Reset at once what a stop under way still waits for."""
        self._hurried = True
        self._moved.set()

    async def _stop_accepting(self, timeout_s: float) -> None:
        """Take in who waits in the queues, then close them: closing first would reset those."""
        listening, self.listening = self.listening, []
        old = self._snapshot
        self.update()
        try:
            if old is not None:
                # However short the timeout: an engine must not accept on a number that was closed,
                # which the program may have for another socket by then.
                await self._wait(lambda: not self._any_uses(old), max(timeout_s, ADOPT_S))
        finally:
            for sockets in listening:
                sockets.close()

    def _any_uses(self, snapshot: Snapshot) -> bool:
        return any(engine.uses(snapshot) for engine in self.engines.all)

    async def _wait(self, done: Callable[[], bool], timeout_s: float) -> bool:
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
        await self._discovery.stop()
        await self._health.stop()
        await self._comparison.stop()
        await self.policies.stop()
        self.events.end()

    def end(self) -> None:
        """Reset what is left and give everything back. Safe to call twice, and without the loop."""
        for listening in self.listening:
            listening.close()
        self.listening = []
        if self._look_again is not None:
            self._look_again.cancel()
            self._look_again = None
        if self._loop is not None:
            if not self._loop.is_closed():
                self._loop.remove_reader(self.live.notify_fd)
            self._loop = None
        self.policies.end()
        self.engines.end()

    def _abandon(self) -> None:
        """In a forked child: let go of the listening sockets, but not of a unix socket's file."""
        for listening in self.listening:
            listening.unlink = None
            listening.close()
        self.listening = []


def _is_name(server: EffectiveServer) -> bool:
    if server.address.host is None:
        return False
    try:
        ipaddress.ip_address(server.address.host)
    except ValueError:
        return True
    return False


def default_poller() -> str:
    """The poller that the environment variable FASTLB_POLLER names; epoll if none."""
    return os.environ.get("FASTLB_POLLER", "epoll")
