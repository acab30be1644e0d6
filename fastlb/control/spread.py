"""What each group of a pool's servers gets: by priority, near ones first, and what is left of them.

A group takes all that comes to it until less than 1 / OVERPROVISION of its weight is up; from then
on the next group takes the rest, in proportion to what is missing (as Envoy's priority levels do).
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence

from fastlb._core.tables.live import Live
from fastlb._core.tables.states import Server
from fastlb.compile.snapshot import ServerSpec, rank

OVERPROVISION = 1.4     # Envoy's default: 71 % of the servers may well do the work of all


def shares(groups: Sequence[tuple[float, float]]) -> list[float]:
    """What each group gets, 1 in all, of (weight that is up, weight in all)."""
    left, found = 1.0, []
    for up, total in groups:
        share = min(left, OVERPROVISION * up / total) if total else 0.0
        found.append(share)
        left -= share
    taken = sum(found)
    if taken == 0:                          # nobody is up: as though all were
        return [1.0, *[0.0] * (len(groups) - 1)]
    return [share / taken for share in found]


class Spread:
    """Tells the engines how to share out the pools that have several groups."""

    def __init__(self, live: Live) -> None:
        self._live = live
        self._groups: dict[str, list[list[tuple[Server, int]]]] = {}

    def follow(self, pool: str, specs: Iterable[ServerSpec]) -> None:
        """These are a pool's servers from now on."""
        groups = [
            [(self._live.server(pool, spec.name), spec.weight) for spec in part]
            for _, part in itertools.groupby(sorted(specs, key=rank), key=rank)
        ]
        self._groups.pop(pool, None)
        if len(groups) > 1:
            self._groups[pool] = groups

    def forget(self, pool: str) -> None:
        """It is no more."""
        self._groups.pop(pool, None)

    def look(self) -> None:
        """Share out by who is up now."""
        for name, groups in self._groups.items():
            pool = self._live.pool(name)
            pool.share(shares([
                (
                    sum(weight for server, weight in group
                        if server.usable or (pool.panic and server.down)),
                    sum(weight for _, weight in group),
                )
                for group in groups
            ]))
