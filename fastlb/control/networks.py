"""Sets of networks while they run: read from their sources, and read again when those change.

Engines look into a set at any time. One that is replaced is kept until every engine has begun
another turn.
"""

from __future__ import annotations

import asyncio
import logging
import math
import time
from collections.abc import Mapping, Sequence
from typing import Any

from fastlb._core.engine import Engine
from fastlb._core.tables.live import Live
from fastlb._core.tables.networks import Network, NetworkSet
from fastlb.config import limits
from fastlb.config.networks import EffectiveNetworks
from fastlb.control.clock import Clock, Timer
from fastlb.control.fetching import Version
from fastlb.control.network_sources import Read, Stamp, begin_without, problem_of, read_source
from fastlb.control.retiring import Retiring
from fastlb.control.tasks import once
from fastlb.errors import ConfigError

log = logging.getLogger("fastlb.networks")

RETRY_S = 60.0          # after a URL could not be fetched, if `refresh` is longer
FETCHES_MAX = 3         # at a time: the loop has five threads or more for everybody
OUTCOMES = ("read", "unchanged", "failed")      # of looks at a source


def fill_networks(live: Live, found: Mapping[str, NetworkSet]) -> list[Network]:
    """Give sets to `live`, which forgets those that nobody holds."""
    networks = [live.network(name) for name in found]
    for network in networks:
        network.use(found[network.name])
    return networks


class _Followed:
    """One set, what is known of its source, and what was added while running."""

    def __init__(self, network: Network) -> None:
        self.network = network
        self.wanted: EffectiveNetworks | None = None
        self.stamp: Stamp | Version | None = None
        self.failure = ""           # why its source can't be read now
        self.reads = dict.fromkeys(OUTCOMES, 0)
        self.current_s: float | None = None     # when it was last as its source, by NetworkSets
        self.timer: Timer | None = None
        self.look: asyncio.Task[Any] | None = None      # at its source, under way
        self.added: dict[str, float] = {}       # by network: until when, by the clock
        self.made: asyncio.Future[None] | None = None   # when the next set of those is in use
        self.expiry: Timer | None = None

    def cancel(self) -> None:
        for timer in (self.timer, self.expiry):
            if timer is not None:
                timer.cancel()
        if self.look is not None:
            self.look.cancel()
        if self.made is not None and not self.made.done():
            self.made.set_exception(RuntimeError(f"networks {self.network.name}: the set is gone"))
            self.made.exception()       # (nobody may be waiting for it)


class NetworkSets:
    """Those of a running balancer."""

    def __init__(self, live: Live, engines: Sequence[Engine], clock: Clock) -> None:
        self._live, self._clock = live, clock
        self._followed: dict[str, _Followed] = {}
        self._retiring = Retiring(engines, clock)
        self._places = asyncio.Semaphore(FETCHES_MAX)

    async def learn(self, wanted: Sequence[EffectiveNetworks]) -> dict[str, Read]:
        """Read the sets that are new, or whose source is another one or has changed. Names that
        nobody knows yet are filled at once; `follow` does the rest. ConfigError: nothing has
        changed."""
        found: dict[str, Read] = {}
        problems = []
        read = await asyncio.gather(*map(self._learn, wanted), return_exceptions=True)
        for one, result in zip(wanted, read, strict=True):
            if isinstance(result, ValueError):
                problems.append(problem_of(one, result))
            elif isinstance(result, BaseException):
                raise result
            elif result is not None:
                found[one.name] = result
        if problems:
            raise ConfigError(problems)
        for name, result in found.items():
            followed = self._followed.setdefault(name, _Followed(self._live.network(name)))
            if followed.wanted is None:
                self._use(followed, result)
                # (the set of that name that was served before may still be known)
                self._retiring.keep(followed.network.use_added(None))
        return found

    async def _learn(self, one: EffectiveNetworks) -> Read | None:
        """Return what a set begins with; None: it stays as it is."""
        known = self._followed.get(one.name)
        if known is not None and known.wanted is not None and known.wanted.is_of(one):
            # (nobody waits for the same URL: `follow` has it asked afterwards)
            read = await read_source(one, self._places, known.stamp) if one.file else None
            if read is not None and read.made.entries == 0:
                raise ValueError(f"{one.source} is empty")
            return read
        try:
            read = await read_source(one, self._places)
            assert read is not None
        except ValueError as error:
            if not one.url:
                raise
            read = await begin_without(one, error, known.network.set if known else None)
            log.warning("networks.%s: %s; %s (entries: %d)", one.name, read.failure, read.instead,
                        read.made.entries)
            return read
        if one.source and read.made.entries == 0:
            log.warning("networks.%s: %s is empty", one.name, one.source)
        return read

    def follow(self, wanted: Sequence[EffectiveNetworks], found: dict[str, Read]) -> None:
        """These are served from now on; `found` is what `learn` has returned for them."""
        for name in self._followed.keys() - {one.name for one in wanted}:
            self._followed.pop(name).cancel()
        for one in wanted:
            followed = self._followed[one.name]
            if one.name in found and followed.wanted is not None:
                self._use(followed, found[one.name])
            followed.wanted = one
            self._wait(followed)
            if one.url and one.name not in found:       # (a reload asks again, whatever `refresh`)
                self._begin_looking(followed)

    def keep(self, wanted: Sequence[EffectiveNetworks]) -> None:
        """A change was refused: forget what only it had."""
        for name in self._followed.keys() - {one.name for one in wanted}:
            self._followed.pop(name).cancel()

    def _use(self, followed: _Followed, read: Read) -> None:
        followed.stamp, followed.failure = read.stamp, read.failure
        self._count(followed, "failed" if read.failure else "read")
        if read.unsaved:
            log.warning("networks.%s: %s", followed.network.name, read.unsaved)
        if read.made is not followed.network.set:
            self._retiring.keep(followed.network.use(read.made))

    def _count(self, followed: _Followed, outcome: str) -> None:
        followed.reads[outcome] += 1
        if outcome != "failed":
            followed.current_s = self._now_s()

    def _now_s(self) -> float:
        """By the clock, of any thread."""
        return time.monotonic() + self._clock.ahead_s

    def _wait(self, followed: _Followed) -> None:
        if followed.timer is not None:
            followed.timer.cancel()
            followed.timer = None
        wanted = followed.wanted
        if wanted is not None and wanted.source:
            wait_s = wanted.refresh_ms / 1000
            if wanted.url and followed.failure:
                wait_s = min(wait_s, RETRY_S)
            followed.timer = self._clock.call_later(wait_s, self._begin_looking, followed)

    def _begin_looking(self, followed: _Followed) -> None:
        if followed.look is None or followed.look.done():
            followed.look = once(
                f"reading networks {followed.network.name}", self._look(followed))

    async def _look(self, followed: _Followed) -> None:
        with self._clock.work():
            try:
                await self._read_again(followed)
            finally:
                if self._followed.get(followed.network.name) is followed:
                    self._wait(followed)

    async def _read_again(self, followed: _Followed) -> None:
        """A source that can't be used keeps the set as it is, which is said once for each cause."""
        wanted = followed.wanted
        assert wanted is not None
        try:
            read = await read_source(wanted, self._places, followed.stamp)
            if read is not None and read.made.entries == 0:
                raise ValueError(f"{wanted.source} is empty")
        except ValueError as error:
            self._count(followed, "failed")
            if str(error) != followed.failure:
                followed.failure = str(error)
                log.warning("networks.%s: %s; the set stays as it was (entries: %d)", wanted.name,
                            error, _entries(followed.network))
            return
        now = followed.wanted
        if self._followed.get(wanted.name) is not followed or now is None or not now.is_of(wanted):
            return                      # (a reload came in between)
        if read is None:
            self._count(followed, "unchanged")
            if followed.failure:
                log.info("networks.%s: %s can be read again, and hasn't changed (entries: %d)",
                         wanted.name, wanted.source, _entries(followed.network))
            followed.failure = ""
            return
        before = _entries(followed.network)
        self._use(followed, read)
        log.info("networks.%s: read again; entries: %d, before: %d", wanted.name,
                 read.made.entries, before)

    # --- what is added while running ---

    def add(self, name: str, network: str, ttl_s: float | None) -> asyncio.Future[None]:
        """Add a network to a set, for so long. Done when engines go by it. KeyError: there is no
        such set. ValueError: it is full."""
        followed = self._known(name)
        if len(followed.added) >= limits.NETWORKS_ADDED_MAX and network not in followed.added:
            raise ValueError(f"{limits.NETWORKS_ADDED_MAX:,} networks have been added to {name}"
                             " already")
        followed.added[network] = math.inf if ttl_s is None else self._clock.time() + ttl_s
        return self._renew(followed)

    def extend(self, name: str, network: str, ttl_s: float) -> asyncio.Future[None]:
        """Add a network, or let it stay for so long at least; otherwise as `add`."""
        until_s = self._known(name).added.get(network, 0.0)
        return self.add(name, network, max(ttl_s, until_s - self._clock.time())
                        if until_s < math.inf else None)

    def remove(self, name: str, network: str) -> asyncio.Future[None]:
        """Remove a network that was added. KeyError: there is no such set, or it wasn't."""
        followed = self._known(name)
        if network not in followed.added:
            raise KeyError(f"{network} was not added to {name}, or is gone already")
        del followed.added[network]
        return self._renew(followed)

    @property
    def names(self) -> list[str]:
        return [*self._followed]

    def added(self, name: str) -> dict[str, float | None]:
        """The networks that were added to a set, and for how many seconds each stays; None: as long
        as the process runs. KeyError."""
        now_s = self._clock.time()
        return {network: None if until_s == math.inf else round(until_s - now_s, 3)
                for network, until_s in self._known(name).added.items() if until_s > now_s}

    def sources(self) -> dict[str, dict[str, Any]]:
        """By name of a set with a source: that `source`, the seconds since the set was as its
        source had it (`age`), the `error` now, and how often the source was read. Of any thread."""
        now_s = self._now_s()
        return {
            name: {"source": one.wanted.source,
                   "age": None if one.current_s is None else max(now_s - one.current_s, 0.0),
                   "error": one.failure, **one.reads}
            for name, one in dict(self._followed).items()
            if one.wanted is not None and one.wanted.source
        }

    def _known(self, name: str) -> _Followed:
        if name not in self._followed:
            raise KeyError(f"there is no set of networks {name!r}")
        return self._followed[name]

    def _renew(self, followed: _Followed) -> asyncio.Future[None]:
        """All changes of one turn of the loop make one set."""
        if followed.made is None:
            loop = asyncio.get_running_loop()
            followed.made = loop.create_future()
            loop.call_soon(self._use_added, followed)
        return followed.made

    def _use_added(self, followed: _Followed) -> None:
        if self._followed.get(followed.network.name) is not followed:
            return                      # (a reload has removed it)
        made, followed.made = followed.made, None
        now_s = self._clock.time()
        for network in [one for one, until_s in followed.added.items() if until_s <= now_s]:
            del followed.added[network]
        lines = "\n".join(followed.added).encode()
        try:
            added = NetworkSet(lines, limits.NETWORKS_ADDED_MAX) if lines else None
        except Exception as error:      # memory is gone: the ones before stay
            if made is None:
                raise
            made.set_exception(error)
            return
        self._retiring.keep(followed.network.use_added(added))
        if followed.expiry is not None:
            followed.expiry.cancel()
        first_s = min(followed.added.values(), default=math.inf)
        followed.expiry = self._clock.call_at(first_s, self._use_added, followed) \
            if first_s < math.inf else None
        if made is not None and not made.done():
            made.set_result(None)

    def end(self) -> None:
        """The engines have ended, or have never begun."""
        for followed in self._followed.values():
            followed.cancel()
        self._followed.clear()
        self._retiring.end()


def _entries(network: Network) -> int:
    return network.set.entries if network.set is not None else 0
