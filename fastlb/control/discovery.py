"""Names of servers: resolved at start, and again as their TTL or a set interval says."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Container, Mapping
from dataclasses import dataclass, field

from fastlb.config.effective import EffectiveDns
from fastlb.control.clock import Clock
from fastlb.control.resolver import FAMILIES, Answer, Resolver
from fastlb.control.tasks import end, keep_going

log = logging.getLogger("fastlb.dns")

RETRY_S = 1.0               # after a failure; doubled each time
RETRY_MAX_S = 30.0
RECORDS = {4: "A", 6: "AAAA"}


@dataclass(frozen=True)
class Known:
    """The last good addresses of a name, by version of IP.

    `others` are tried where a connect to `addresses` is refused.
    """

    families: Mapping[int, tuple[str, ...]] = field(default_factory=dict)
    others: tuple[str, ...] = ()

    @property
    def addresses(self) -> tuple[str, ...]:
        return tuple(one for version in FAMILIES for one in self.families.get(version, ()))


@dataclass
class Name:
    """One name that servers stand behind."""

    host: str
    refresh_s: float | None                 # None: as the TTL says
    known: Known = Known()
    failures: int = 0                       # in a row
    why: str = ""                           # the last one
    asked_s: float = 0.0                    # by the loop's clock
    is_lost: bool = False                   # no server behind it can be reached
    searches: int = 0                       # since it is
    due: asyncio.Event = field(default_factory=asyncio.Event)


class Discovery:
    """Keeps the addresses of names. `changed` is called when those of any name have changed."""

    def __init__(
        self, dns: EffectiveDns, changed: Callable[[], object], clock: Clock
    ) -> None:
        self._changed = changed
        self._clock = clock
        self._resolver = Resolver(dns, clock)
        self._names: dict[str, Name] = {}
        self._tasks: dict[str, asyncio.Task[None]] = {}

    def known(self, host: str) -> Known:
        """What the last good answer said; empty if there never was one."""
        name = self._names.get(host)
        return name.known if name is not None else Known()

    async def learn(self, wanted: Mapping[str, float | None]) -> dict[str, str]:
        """Ask for every name that isn't known yet, and go on asking in the background. The values
        are how often (s), or None: as the TTL says. Returns the names without an address that were
        asked for now, and why."""
        new = [Name(host, refresh_s) for host, refresh_s in wanted.items()
               if host not in self._names]
        for host, refresh_s in wanted.items():
            if host in self._names:
                self._names[host].refresh_s = refresh_s
        self._names.update({name.host: name for name in new})
        try:
            waits = await asyncio.gather(*(self._ask(name) for name in new))
        except BaseException:
            for name in new:
                del self._names[name.host]
            raise
        for name, (known, wait_s) in zip(new, waits, strict=True):
            name.known = known
            self._follow(name, wait_s)
        return {name.host: name.why for name in new if not name.known.addresses}

    def keep(self, wanted: Container[str]) -> None:
        """Ask for no others any more."""
        for host in [host for host in self._names if host not in wanted]:
            del self._names[host]
            task = self._tasks.pop(host, None)
            if task is not None:
                task.cancel()

    def configure(self, dns: EffectiveDns) -> None:
        """Ask so from the next time on."""
        self._resolver.dns = dns

    def lost(self, hosts: Container[str]) -> None:
        """No server behind these names can be reached: their addresses may have changed before the
        TTL said so. They are asked for at once, and then with a back-off, until that is over."""
        for name in self._names.values():
            if name.is_lost != (name.host in hosts):
                name.is_lost = not name.is_lost
                name.searches = 0
                if name.is_lost:
                    name.due.set()

    async def stop(self) -> None:
        tasks, self._tasks = self._tasks, {}
        await end(tasks.values())

    def _follow(self, name: Name, wait_s: float) -> None:
        async def follow() -> None:
            nonlocal wait_s
            while True:
                await _sleep(name, wait_s, self._clock)
                wait_s = 0.0                # where this fails, it has waited before it comes back
                wait_s = await self._ask_again(name)

        self._tasks[name.host] = keep_going(f"following the name {name.host}", follow)

    async def _ask_again(self, name: Name) -> float:
        before = name.known
        known, wait_s = await self._ask(name)
        if known != before:
            name.known = known
            try:
                self._changed()
            except Exception:
                name.known = before         # all or nothing; it is asked for again
                raise
            if known.addresses != before.addresses:
                log.info("%s is now %s", name.host, ", ".join(known.addresses))
        if name.is_lost:
            wait_s = min(wait_s, _back_off_s(name.searches))
            name.searches += 1
        return wait_s

    async def _ask(self, name: Name) -> tuple[Known, float]:
        """Ask once. Returns what is known now, and how long it holds (s)."""
        with self._clock.work():
            answer = await self._resolver.resolve(name.host)
        name.asked_s = self._clock.time()
        known = _merged(name.known, answer)
        if not answer.is_whole or not answer.addresses:
            name.why = answer.why
            name.failures += 1
            if name.failures == 1:
                log.warning("%s", _complaint(name.host, known, answer))
            return known, _back_off_s(name.failures - 1)
        if name.failures:
            log.info("%s resolves again: %s", name.host, ", ".join(known.addresses))
            name.failures = 0
        return known, name.refresh_s if name.refresh_s is not None else answer.ttl_s


def _merged(known: Known, answer: Answer) -> Known:
    """What failed keeps its last answer. So does a name that has no address at all any more: a
    zone that is empty for a moment must not leave a pool without servers."""
    families = {
        version: answer.families[version].addresses if version in answer.families
        else known.families.get(version, ())
        for version in FAMILIES
    }
    return Known(families, answer.others) if any(families.values()) else known


def _complaint(host: str, known: Known, answer: Answer) -> str:
    kept = ", ".join(known.addresses)
    if answer.addresses:
        missing = next(name for version, name in RECORDS.items() if version not in answer.families)
        return (f"the {missing} records of {host} can't be resolved: {answer.why}; going by {kept};"
                " asking again")
    rest = f"keeping {kept}" if kept else "it gives no server until then"
    return f"{host} can't be resolved: {answer.why}; asking again; {rest}"


def _back_off_s(turn: int) -> float:
    return min(RETRY_S * 2.0 ** min(turn, 10), RETRY_MAX_S)


async def _sleep(name: Name, seconds: float, clock: Clock) -> None:
    """Until it is to be asked for, by its time or because its servers are lost."""
    begin_s = clock.time()
    handle = clock.call_later(seconds, name.due.set)
    try:
        await name.due.wait()
    finally:
        handle.cancel()
    name.due.clear()
    if clock.time() < begin_s + seconds:        # however often they are lost and found
        await clock.sleep(max(0.0, name.asked_s + RETRY_S - clock.time()))
