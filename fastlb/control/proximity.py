"""How near the zones of a pool are: by how long connecting to their servers takes.

Health checks measure it, as the kernel does (TCP_INFO). A zone is as near as the nearest of its
servers, of which the median of the last checks counts, so that a check that had to wait once moves
nothing. Zones change places when one is clearly nearer; so two that are about as near stay as they
are.
"""

from __future__ import annotations

import logging
import statistics
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace

from fastlb.compile.snapshot import ServerSpec
from fastlb.config.effective import EffectivePool
from fastlb.control.clock import Clock, Timer
from fastlb.control.events import Events

CHECKS = 5              # that are remembered of each server
WAIT_S = 0.2            # for further changes: thousands of pools are measured first at a time
NEARER = 0.8            # a zone is clearly nearer that takes so much of the other's time, and
NEARER_S = 0.0002       # at least this much less: within one building times differ by chance


@dataclass
class _Pool:
    zones: dict[str, str]                       # by server
    order: tuple[str, ...] = ()
    times: dict[str, deque[float]] = field(default_factory=dict)    # by server


class Proximity:
    """Knows the order of zones of pools that have `nearest.measured`. For the control loop's thread
    alone. `changed` is called soon after the order of a pool has changed, once for many."""

    def __init__(self, events: Events, changed: Callable[[], None], clock: Clock) -> None:
        self._events, self._changed, self._clock = events, changed, clock
        self._pools: dict[str, _Pool] = {}
        self._timer: Timer | None = None

    def follow(self, pool: EffectivePool, specs: Iterable[ServerSpec]) -> None:
        """Look after these servers of a pool from now on."""
        if pool.nearest is None or not pool.nearest.measured:
            self._pools.pop(pool.name, None)
            return
        known = self._pools.setdefault(pool.name, _Pool({}))
        known.zones = {spec.name: spec.zone for spec in specs if spec.zone}
        known.times = {name: times for name, times in known.times.items() if name in known.zones}

    def forget(self, pool: str) -> None:
        """The pool is no more."""
        self._pools.pop(pool, None)

    def measured(self, pool: str, server: str, seconds: float) -> None:
        """A check has connected to a server, which took so long."""
        known = self._pools.get(pool)
        if known is None or server not in known.zones:
            return
        known.times.setdefault(server, deque(maxlen=CHECKS)).append(seconds)
        times = self.times(pool)
        order = _sorted(known.order, times)
        if order == known.order:
            return
        known.order = order
        if len(order) == len(set(known.zones.values())):    # (or else more zones follow)
            shown = ", ".join(f"{zone} ({1000 * times[zone]:.3g} ms)" for zone in order)
            self._events.tell(logging.INFO, pool, "", "nearest", f"zones by connect time: {shown}")
        if self._timer is None:
            self._timer = self._clock.call_later(WAIT_S, self._tell)

    def _tell(self) -> None:
        self._timer = None
        self._changed()

    def times(self, pool: str) -> dict[str, float]:
        """Return how long connecting to each zone takes that was measured, in seconds."""
        known = self._pools.get(pool)
        found: dict[str, float] = {}
        if known is None:
            return found
        for server, times in known.times.items():
            zone, median = known.zones[server], statistics.median(times)
            found[zone] = min(median, found.get(zone, median))
        return found

    def applied(self, pool: EffectivePool) -> EffectivePool:
        """Return a pool with its zones in the measured order."""
        known = self._pools.get(pool.name)
        if known is None or pool.nearest is None or not pool.nearest.measured:
            return pool
        return replace(pool, nearest=replace(pool.nearest, others=known.order))


def _sorted(order: tuple[str, ...], times: dict[str, float]) -> tuple[str, ...]:
    """Return zones in their order, but for those that are clearly nearer than one before them. A
    new zone gets its place by its time."""
    made: list[str] = []
    for zone in (*(one for one in order if one in times),
                 *sorted(times.keys() - set(order), key=times.__getitem__)):
        share, less_s = (NEARER, NEARER_S) if zone in order else (1.0, 0.0)
        made.insert(next((
            i for i, other in enumerate(made)
            if times[zone] < times[other] * share and times[zone] < times[other] - less_s
        ), len(made)), zone)
    return tuple(made)
