"""Servers that fail a large share of their requests, or are much slower than the others.

Engines eject for failures in a row; what takes a comparison over some time is found out here, from
the counters that the engines keep anyway.
"""

from __future__ import annotations

import asyncio
import statistics
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from fastlb._core.tables.live import Live
from fastlb._core.tables.states import Server
from fastlb.compile.snapshot import ServerSpec
from fastlb.config.failing import EffectiveOutliers
from fastlb.control.clock import Clock
from fastlb.control.tasks import end, keep_going

COMPARED_MIN = 3        # servers of which a median says something


@dataclass(frozen=True)
class Sample:
    """What a server did in an interval."""

    server: str
    requests: int               # or connections of tcp; those that failed included
    errors: int
    latency_us: int             # of all together


def judge(samples: Iterable[Sample], outliers: EffectiveOutliers) -> Iterator[tuple[str, str]]:
    """(server, why) of those to be ejected."""
    enough = [one for one in samples if one.requests >= outliers.requests_min]
    means = {one.server: one.latency_us / one.requests for one in enough if one.latency_us}
    median = statistics.median(means.values()) if len(means) >= COMPARED_MIN else 0.0
    for one in enough:
        if outliers.error_rate and one.errors * 1000 >= outliers.error_rate * one.requests:
            yield one.server, f"failed {one.errors} of {one.requests} requests"
        elif outliers.latency and median and means.get(one.server, 0) >= outliers.latency * median:
            times = means[one.server] / median
            yield one.server, f"is {times:.1f} times as slow as others"


class Comparison:
    """Looks at the servers of pools every interval. `eject(pool, server, why)` acts on it."""

    def __init__(
        self, live: Live, eject: Callable[[str, str, str], object], clock: Clock
    ) -> None:
        self._live = live
        self._eject = eject
        self._clock = clock
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._how: dict[str, EffectiveOutliers] = {}
        self._servers: dict[str, list[str]] = {}

    def follow(
        self, pool: str, outliers: EffectiveOutliers, specs: Iterable[ServerSpec]
    ) -> None:
        """These are a pool's servers from now on."""
        self._servers[pool] = [spec.name for spec in specs]
        if self._how.get(pool) != outliers:
            self._how[pool] = outliers
            if pool in self._tasks:
                self._tasks.pop(pool).cancel()
        if pool not in self._tasks and (outliers.error_rate or outliers.latency):
            self._tasks[pool] = keep_going(
                f"pool {pool}: comparing its servers", lambda: self._look(pool, outliers))

    def forget(self, pool: str) -> None:
        """It is no more."""
        self._how.pop(pool, None)
        if pool in self._tasks:
            self._tasks.pop(pool).cancel()

    async def stop(self) -> None:
        tasks, self._tasks = self._tasks, {}
        await end(tasks.values())

    async def _look(self, pool: str, outliers: EffectiveOutliers) -> None:
        before: dict[str, Sample] = {}
        while True:
            servers = [self._live.server(pool, name) for name in self._servers[pool]]
            now = {server.address: _totals(server) for server in servers}
            judged = [
                Sample(name, one.requests - before[name].requests,
                       one.errors - before[name].errors,
                       one.latency_us - before[name].latency_us)
                for name, one in now.items() if name in before
            ]
            ejected = {server.address for server in servers if server.ejection is not None}
            for name, why in judge(judged, outliers):
                if name not in ejected:
                    self._eject(pool, name, why)
            before = now
            await self._clock.sleep(outliers.interval_s)


def _totals(server: Server) -> Sample:
    totals = server.totals()
    failed = totals["connect_failures"]
    return Sample(
        server.address,
        requests=(totals["requests"] or totals["connections"]) + failed,
        errors=totals["errors"] + failed,
        latency_us=totals["latency_us"],
    )
