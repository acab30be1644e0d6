"""Sets of networks while they run: read from their sources, and read again when those change.

Engines look into a set at any time. One that is replaced is kept until every engine has begun
another turn.
"""

from __future__ import annotations

import asyncio
import logging
import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from fastlb._core.engine import Engine
from fastlb._core.tables.live import Live
from fastlb._core.tables.networks import Network, NetworkSet
from fastlb.config import limits
from fastlb.config.files import read_file
from fastlb.config.networks import EffectiveNetworks
from fastlb.control.clock import Clock, Timer
from fastlb.control.tasks import once
from fastlb.errors import ConfigError, Problem

log = logging.getLogger("fastlb.networks")

RETIRE_S = 0.1          # how often it is looked whether engines have let go of what was replaced
LINES_SHOWN = 5         # of those that are no networks

Stamp = tuple[int, int, int]        # of a file: its inode, size, and time of change


@dataclass(frozen=True)
class _Read:
    made: NetworkSet
    stamp: Stamp | None


def read_networks(one: EffectiveNetworks) -> _Read:
    """Read a set from its source. ValueError says what is wrong with it."""
    if not one.file:
        return _Read(NetworkSet("\n".join(one.cidrs).encode(), limits.NETWORKS_MAX), None)
    try:
        data, found = read_file(one.file, limits.NETWORKS_BYTES_MAX)
    except OSError as error:
        raise ValueError(f"{one.file} can't be read: {error.strerror}") from None
    if len(data) > limits.NETWORKS_BYTES_MAX:
        raise ValueError(f"{one.file} has more than {limits.NETWORKS_BYTES_MAX >> 20} MiB")
    try:
        made = NetworkSet(data, limits.NETWORKS_MAX)
    except ValueError as error:
        raise ValueError(f"{one.file}: {error}") from None
    if made.wrong:
        lines = ", ".join(map(str, made.wrong_lines[:LINES_SHOWN]))
        more = f" and {made.wrong - LINES_SHOWN} more" if made.wrong > LINES_SHOWN else ""
        raise ValueError(f"{one.file}: no networks in line {lines}{more}")
    return _Read(made, _stamp(found))


def _stamp(found: os.stat_result) -> Stamp:
    return found.st_ino, found.st_size, found.st_mtime_ns


def _problem(one: EffectiveNetworks, error: ValueError) -> Problem:
    return Problem(str(error), f"networks.{one.name}{'.file' if one.file else ''}")


def read_all(wanted: Sequence[EffectiveNetworks]) -> dict[str, NetworkSet]:
    """Return the sets of a configuration that isn't served, by name. Raises ConfigError."""
    problems, found = [], {}
    for one in wanted:
        try:
            found[one.name] = read_networks(one).made
        except ValueError as error:
            problems.append(_problem(one, error))
    if problems:
        raise ConfigError(problems)
    return found


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
        self.stamp: Stamp | None = None
        self.failure = ""           # why its source can't be read now
        self.timer: Timer | None = None
        self.added: dict[str, float] = {}       # by network: until when, by the clock
        self.made: asyncio.Future[None] | None = None   # when the next set of those is in use
        self.expiry: Timer | None = None

    def cancel(self) -> None:
        for timer in (self.timer, self.expiry):
            if timer is not None:
                timer.cancel()
        if self.made is not None and not self.made.done():
            self.made.set_exception(RuntimeError(f"networks {self.network.name}: the set is gone"))
            self.made.exception()       # (nobody may be waiting for it)


class NetworkSets:
    """Those of a running balancer."""

    def __init__(self, live: Live, engines: Sequence[Engine], clock: Clock) -> None:
        self._live, self._engines, self._clock = live, engines, clock
        self._followed: dict[str, _Followed] = {}
        # What was replaced, and the turn that each engine had begun last by then.
        self._retiring: list[tuple[NetworkSet, list[int]]] = []
        self._retire_timer: Timer | None = None
        self.failures = 0           # how often a source could not be read

    async def learn(self, wanted: Sequence[EffectiveNetworks]) -> dict[str, _Read]:
        """Read the sets that are new, or whose source is another one or has changed. Names that
        nobody knows yet are filled at once; `follow` does the rest. ConfigError: nothing has
        changed."""
        found: dict[str, _Read] = {}
        problems = []
        for one in wanted:
            known = self._followed.get(one.name)
            is_same = known is not None and known.wanted == one
            if is_same and not one.file:
                continue
            try:
                read = await asyncio.to_thread(
                    _changed, one, known.stamp if is_same and known is not None else None)
                if read is not None:
                    found[one.name] = read
                    if one.file and read.made.entries == 0:
                        if is_same:
                            raise ValueError(f"{one.file} is empty")
                        log.warning("networks.%s: %s is empty", one.name, one.file)
            except ValueError as error:
                problems.append(_problem(one, error))
        if problems:
            raise ConfigError(problems)
        for name, read in found.items():
            followed = self._followed.setdefault(name, _Followed(self._live.network(name)))
            if followed.wanted is None:
                self._use(followed, read)
                # (the set of that name that was served before may still be known)
                self._retire(followed.network.use_added(None))
        return found

    def follow(self, wanted: Sequence[EffectiveNetworks], found: dict[str, _Read]) -> None:
        """These are served from now on; `found` is what `learn` has returned for them."""
        for name in self._followed.keys() - {one.name for one in wanted}:
            self._followed.pop(name).cancel()
        for one in wanted:
            followed = self._followed[one.name]
            if one.name in found and followed.wanted is not None:
                self._use(followed, found[one.name])
            followed.wanted = one
            self._wait(followed)

    def keep(self, wanted: Sequence[EffectiveNetworks]) -> None:
        """A change was refused: forget what only it had."""
        for name in self._followed.keys() - {one.name for one in wanted}:
            self._followed.pop(name).cancel()

    def _use(self, followed: _Followed, read: _Read) -> None:
        followed.stamp, followed.failure = read.stamp, ""
        self._retire(followed.network.use(read.made))

    def _wait(self, followed: _Followed) -> None:
        if followed.timer is not None:
            followed.timer.cancel()
            followed.timer = None
        wanted = followed.wanted
        if wanted is not None and wanted.file:
            followed.timer = self._clock.call_later(
                wanted.refresh_ms / 1000, self._begin_looking, followed)

    def _begin_looking(self, followed: _Followed) -> None:
        once(f"reading networks {followed.network.name}", self._look(followed))

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
            read = await asyncio.to_thread(_changed, wanted, followed.stamp)
            if read is not None and read.made.entries == 0:
                raise ValueError(f"{wanted.file} is empty")
        except ValueError as error:
            self.failures += 1
            if str(error) != followed.failure:
                followed.failure = str(error)
                log.warning("networks.%s: %s; the set stays as it was (entries: %d)", wanted.name,
                            error, _entries(followed.network))
            return
        if followed.wanted is not wanted or self._followed.get(wanted.name) is not followed:
            return                      # (a reload came in between)
        if read is None:
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
        self._retire(followed.network.use_added(added))
        if followed.expiry is not None:
            followed.expiry.cancel()
        first_s = min(followed.added.values(), default=math.inf)
        followed.expiry = self._clock.call_at(first_s, self._use_added, followed) \
            if first_s < math.inf else None
        if made is not None and not made.done():
            made.set_result(None)

    # --- what was replaced ---

    def _retire(self, replaced: NetworkSet | None) -> None:
        if replaced is None:
            return
        self._retiring.append((replaced, [_turns(engine) for engine in self._engines]))
        for engine in self._engines:
            _wake(engine)
        if self._retire_timer is None:
            self._retire_timer = self._clock.call_later(RETIRE_S, self._let_go)

    def _let_go(self) -> None:
        self._retire_timer = None
        now = [_turns(engine) for engine in self._engines]
        self._retiring = [
            (one, then) for one, then in self._retiring
            if any(a == b >= 0 for a, b in zip(now, then, strict=True))
        ]
        if self._retiring:
            self._retire_timer = self._clock.call_later(RETIRE_S, self._let_go)

    def end(self) -> None:
        """The engines have ended, or have never begun."""
        for followed in self._followed.values():
            followed.cancel()
        self._followed.clear()
        if self._retire_timer is not None:
            self._retire_timer.cancel()
        self._retiring.clear()


def _changed(wanted: EffectiveNetworks, stamp: Stamp | None) -> _Read | None:
    """Read a source again. Returns None if its file still has this stamp."""
    try:
        if stamp is not None and _stamp(os.stat(wanted.file)) == stamp:
            return None
    except OSError as error:
        raise ValueError(f"{wanted.file} can't be read: {error.strerror}") from None
    return read_networks(wanted)


def _entries(network: Network) -> int:
    return network.set.entries if network.set is not None else 0


def _turns(engine: Engine) -> int:
    """How many it has begun; -1 if it is closed."""
    try:
        return engine.turns
    except RuntimeError:
        return -1


def _wake(engine: Engine) -> None:
    try:
        engine.wake()
    except RuntimeError:
        pass
