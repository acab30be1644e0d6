"""What was set while running, over the configuration: it outlives reloads until it is dropped."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

from fastlb.compile.snapshot import ServerSpec
from fastlb.config.effective import EffectivePool, EffectiveServer

Weighed = TypeVar("Weighed", ServerSpec, EffectiveServer)


@dataclass
class Own:
    """Of one pool. `servers` None: those of the configuration."""

    servers: tuple[EffectiveServer, ...] | None = None
    weights: dict[str, int] = field(default_factory=dict)      # by address


class Overlay:
    """Servers and weights that were set, by pool. Of any thread. (States are kept in Live.)"""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._pools: dict[str, Own] = {}

    def set_servers(
        self, pool: EffectivePool, servers: Sequence[EffectiveServer]
    ) -> tuple[tuple[str, ...], tuple[str, ...], tuple[str, ...]]:
        """These are a pool's from now on: (added, kept, removed), as they are written."""
        with self._lock:
            own = self._pools.setdefault(pool.name, Own())
            before = {one.name for one in (pool.servers if own.servers is None else own.servers)}
            own.servers = tuple(servers)
            own.weights = {}                # what was said last holds
        now = {one.name: one for one in servers}
        return (
            tuple(name for name in now if name not in before),
            tuple(name for name in now if name in before),
            tuple(sorted(before - now.keys())),
        )

    def set_weight(self, pool: str, address: str, weight: int) -> None:
        with self._lock:
            self._pools.setdefault(pool, Own()).weights[address] = weight

    def drop(self, pool: str) -> None:
        with self._lock:
            self._pools.pop(pool, None)

    def keep(self, pools: Iterable[str]) -> list[str]:
        """Forget what was set for other pools; returns their names."""
        with self._lock:
            gone = sorted(self._pools.keys() - set(pools))
            for name in gone:
                del self._pools[name]
        return gone

    def applied(self, pools: Sequence[EffectivePool]) -> list[EffectivePool]:
        """The pools of a configuration, with the servers that were set."""
        with self._lock:
            return [
                replace(pool, servers=list(own.servers))
                if (own := self._pools.get(pool.name)) is not None and own.servers is not None
                else pool
                for pool in pools
            ]

    def weighed(self, pool: str, servers: list[Weighed]) -> list[Weighed]:
        """A pool's servers, with the weights that were set."""
        with self._lock:
            own = self._pools.get(pool)
            weights = dict(own.weights) if own is not None else {}
        if not weights:
            return servers
        return [
            replace(one, weight=weights[one.name]) if one.name in weights else one
            for one in servers
        ]

    def as_json(self) -> dict[str, dict[str, Any]]:
        """By pool: `servers` (tables, as in a configuration) and `weights`, where they were set."""
        with self._lock:
            return {
                name: {
                    **({"servers": [one.as_json() for one in own.servers]}
                       if own.servers is not None else {}),
                    **({"weights": dict(own.weights)} if own.weights else {}),
                }
                for name, own in self._pools.items()
                if own.servers is not None or own.weights
            }
