"""What was set while running, over the configuration: it outlives reloads until it is dropped."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

from fastlb.compile.snapshot import ServerSpec
from fastlb.config.effective import EffectivePool, EffectiveServer

Weighed = TypeVar("Weighed", ServerSpec, EffectiveServer)


@dataclass(frozen=True)
class Own:
    """Of one pool. `servers` None: those of the configuration."""

    servers: tuple[EffectiveServer, ...] | None = None
    weights: Mapping[str, int] = field(default_factory=dict)      # by address


Owns = dict[str, Own]                   # by pool
Edit = Callable[[Owns], object]         # one change of it; an Own itself is never changed


def having_servers(pool: str, servers: Sequence[EffectiveServer]) -> Edit:
    """These are a pool's servers. (What was said last holds, so weights from before don't.)"""
    return lambda owns: owns.update({pool: Own(tuple(servers))})


def having_weight(pool: str, address: str, weight: int) -> Edit:
    def edit(owns: Owns) -> None:
        own = owns.get(pool, Own())
        owns[pool] = replace(own, weights={**own.weights, address: weight})

    return edit


def having_nothing(pool: str) -> Edit:
    return lambda owns: owns.pop(pool, None)


class Overlay:
    """Servers and weights that were set, by pool. Of any thread. (States are kept in Live.)

    `holding` is what engines go by. What is wanted comes first: that is `holding` with the edits
    that are still to be applied, and becomes `holding` as a whole, or not at all.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._holding: Owns = {}
        self._wanted: Owns = {}

    def want(self, edit: Edit) -> None:
        with self._lock:
            edit(self._wanted)

    def edited(self, edits: Iterable[Edit]) -> Owns:
        """What would hold with these edits."""
        owns = dict(self._holding)
        for edit in edits:
            edit(owns)
        return owns

    def hold(self, owns: Owns) -> Owns:
        """Go by this from now on; returns what held before."""
        before, self._holding = self._holding, owns
        return before

    def settle(self, waiting: Iterable[Edit]) -> None:
        """An edit was refused: what is wanted is what holds, and what still waits."""
        with self._lock:
            self._wanted = self.edited(waiting)

    def keep(self, pools: Iterable[str]) -> list[str]:
        """Forget what was set for other pools; returns their names."""
        names = set(pools)
        with self._lock:
            gone = sorted((self._holding.keys() | self._wanted.keys()) - names)
            self._holding = {k: own for k, own in self._holding.items() if k in names}
            self._wanted = {k: own for k, own in self._wanted.items() if k in names}
        return gone

    def wanted(self, pool: EffectivePool) -> EffectivePool:
        """A pool as it will be when all has been applied."""
        with self._lock:
            own = self._wanted.get(pool.name)
        return _with_servers(pool, own)

    def applied(
        self, pools: Sequence[EffectivePool], owns: Owns | None = None
    ) -> list[EffectivePool]:
        """The pools of a configuration, with the servers that were set."""
        owns = self._holding if owns is None else owns
        return [_with_servers(pool, owns.get(pool.name)) for pool in pools]

    def weighed(self, pool: str, servers: list[ServerSpec]) -> list[ServerSpec]:
        """A pool's servers, with the weights that hold."""
        return _weighed(self._holding.get(pool), servers)

    def wanted_weights(
        self, pool: str, servers: list[EffectiveServer]
    ) -> list[EffectiveServer]:
        """A pool's servers, with the weights that will hold when all has been applied."""
        with self._lock:
            own = self._wanted.get(pool)
        return _weighed(own, servers)

    def as_json(self) -> dict[str, dict[str, Any]]:
        """By pool: `servers` (tables, as in a configuration) and `weights`, where they were set."""
        with self._lock:
            wanted = dict(self._wanted)
        return {
            name: {
                **({"servers": [one.as_json() for one in own.servers]}
                   if own.servers is not None else {}),
                **({"weights": dict(own.weights)} if own.weights else {}),
            }
            for name, own in wanted.items()
            if own.servers is not None or own.weights
        }


def _with_servers(pool: EffectivePool, own: Own | None) -> EffectivePool:
    if own is None or own.servers is None:
        return pool
    return replace(pool, servers=list(own.servers))


def _weighed(own: Own | None, servers: list[Weighed]) -> list[Weighed]:
    if own is None or not own.weights:
        return servers
    return [
        replace(one, weight=own.weights[one.name]) if one.name in own.weights else one
        for one in servers
    ]
