"""What people give a pool as its servers, before the start and while running."""

from __future__ import annotations

import threading
from collections.abc import Iterable
from typing import TYPE_CHECKING

from fastlb.config.effective import EffectiveDns, EffectiveServer, effective_server
from fastlb.config.limits import SERVERS_MAX
from fastlb.config.model import Config
from fastlb.config.server import Server, listed, server_keys
from fastlb.control.changes import Change
from fastlb.errors import ConfigError
from fastlb.process.runtime import Runtime

if TYPE_CHECKING:
    from fastlb.process.instance import Instance


class Filling:
    """Checks servers, and hands them to the runtime, or to the configuration to be started."""

    def __init__(self, instance: Instance) -> None:
        self._instance = instance
        self._lock = threading.Lock()
        # The servers that each pool was given last, and what they hold as.
        self._known: dict[str, tuple[EffectiveDns, dict[str | Server, EffectiveServer]]] = {}

    def set_servers(
        self, pool: str, servers: Iterable[str | Server], drain_timeout_s: float | None = None
    ) -> Change:
        self._instance.must_be_ours()
        given = listed(servers, pool)
        runtime = self._instance.started()
        if runtime is None:
            return self._fill(pool, given)
        own = self._valid(runtime, pool, given)
        return runtime.edits.set_servers(pool, own, drain_timeout_s)

    def _valid(
        self, runtime: Runtime, pool: str, given: list[str | Server]
    ) -> list[EffectiveServer]:
        """Servers as they hold. Only those are looked at that weren't given the last time: with a
        thousand, that takes longest."""
        dns, known = self._known.get(pool, (None, {}))
        if dns is not runtime.effective.dns:
            known = {}
        found: list[EffectiveServer | None] = [
            known.get(one) if isinstance(one, (str, Server)) else None for one in given
        ]
        new = [one for one, value in zip(given, found, strict=True) if value is None]
        try:
            made = iter(self._made(runtime, pool, new))
        except ConfigError:
            return self._made(runtime, pool, given)
        own = [value if value is not None else next(made) for value in found]
        if len({one.name for one in own}) != len(own) or len(own) > SERVERS_MAX:
            return self._made(runtime, pool, given)         # raises, and says where
        self._known[pool] = (runtime.effective.dns, {
            one: value for one, value in zip(given, own, strict=True)
            if isinstance(one, (str, Server))
        })
        return own

    def _made(
        self, runtime: Runtime, pool: str, given: list[str | Server]
    ) -> list[EffectiveServer]:
        keys = [server_keys(one) for one in given]
        made = Config.build({"pools": {pool: {"servers": keys}}}).pools[pool].servers
        return [effective_server(server, runtime.effective.dns) for server in made]

    def _fill(self, pool: str, servers: list[str | Server]) -> Change:
        """Before the start, a pool's servers are part of the configuration."""
        draft = self._instance.draft
        before = {one.address or one.dns for one in draft.config().pools[pool].servers}
        now = draft.fill(pool, servers).pools[pool].servers
        names = [one.address or one.dns or "" for one in now]
        change = Change(
            pool, [name for name in names if name not in before],
            [name for name in names if name in before],
            sorted(name for name in before if name and name not in names),
        )
        change.end()
        return change

    def edit_servers(
        self, pool: str, add: Iterable[str | Server], remove: Iterable[str],
        drain_timeout_s: float | None = None,
    ) -> Change:
        with self._lock:
            runtime = self._instance.runtime
            if runtime is None:
                configured = self._instance.current.pools[pool].servers
                known = [Server(**one.model_dump()) for one in configured]
                now = {one.address or one.dns or "": one for one in known}
            else:
                own = runtime.overlay.wanted_weights(
                    pool, runtime.edits.applied(pool).servers)
                now = {one.name: Server(**one.as_json()) for one in own}
            for address in remove:
                del now[address]
            return self.set_servers(pool, [*now.values(), *add], drain_timeout_s)
