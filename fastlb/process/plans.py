"""Calls the functions that give keys of rate limits their own limits, and lets engines know."""

from __future__ import annotations

import asyncio
import concurrent.futures
import logging
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from fastlb._core.tables.live import Live
from fastlb._core.tables.rates import RateLimit
from fastlb.compile.policies import is_async
from fastlb.config.effective import EffectiveListener
from fastlb.config.rate_limits import EffectiveRateLimit, Limit, effective_limit
from fastlb.config.units import show
from fastlb.observe.refused import shown_key
from fastlb.process.blocking import Blocking
from fastlb.process.functions import (
    END_S,
    Exited,
    call_function,
    find,
    is_told,
    plans_of,
    run_function,
    running_loop,
)
from fastlb.process.modules import Modules

log = logging.getLogger("fastlb.policy")

CALLS_MAX = 64          # of one limit's function at a time: a database serves that many
THREADS_MAX = 16        # for functions that block
OUTCOMES = ("answered", "failed")
ARGUMENT = "the key's value"

_Asked = tuple[int, bytes, bool]        # a key, its value, and whether that is an address


@dataclass
class Planned:
    """A limit with its function, the keys that wait for it, and the calls that are made."""

    limit: EffectiveRateLimit
    function: Callable[[str], Any]
    waiting: deque[_Asked] = field(default_factory=deque)
    calls: dict[int, asyncio.Task[None]] = field(default_factory=dict)      # by key
    totals: dict[str, int] = field(default_factory=lambda: dict.fromkeys(OUTCOMES, 0))
    said: set[tuple[str, str, int]] = field(default_factory=set)


class Plans:
    """Those of a running balancer. For the control loop's thread alone.

    An engine asks about a key, and goes on with the limit that the key has. So nobody waits for a
    function, and one that is slow or fails costs precision alone.
    """

    def __init__(self, live: Live, modules: Modules) -> None:
        self._live, self._modules = live, modules
        self.known: dict[str, Planned] = {}       # by the limit's name
        self._threads: Blocking | None = None
        self._blocked: set[concurrent.futures.Future[Any]] = set()

    def follow(self, listeners: Iterable[EffectiveListener]) -> None:
        """Go by these listeners' limits from now on. Raises ConfigError where a function can't be
        found, and then nothing is different."""
        found = [(limit, find(plan.call, where, argument=ARGUMENT))
                 for where, limit, plan in plans_of(listeners)]
        self._modules.note(limit.plan.call.partition(":")[0] for limit, _ in found
                           if limit.plan is not None and isinstance(limit.plan.call, str))
        known: dict[str, Planned] = {}
        for limit, function in found:
            planned = self.known.get(limit.name)
            if planned is None or planned.function != function:
                planned = Planned(limit, function)
            planned.limit = limit
            known[limit.name] = planned
        self.use(known)

    def use(self, known: dict[str, Planned]) -> None:
        """Go by these, such as the ones before a reload that failed."""
        before, self.known = self.known, known
        for name, planned in before.items():
            if known.get(name) is not planned:
                for call in planned.calls.values():
                    call.cancel()
        is_new = any(before.get(name) is not planned for name, planned in known.items())
        if is_new and (loop := running_loop()) is not None:
            loop.call_soon(self.answer)     # (engines may have asked before)

    def answer(self) -> None:
        """Begin to answer what engines have asked since the last time."""
        for limit in self._live.rate_limits() if self.known else ():
            planned = self.known.get(limit.name)
            if planned is not None:
                self._begin(limit, planned)

    def totals(self) -> Mapping[str, Mapping[str, int]]:
        """Return by limit: `plans` that are known, and calls that were `answered`, that `failed`,
        that are `pending`, and that were `dropped` as too many were."""
        core = {limit.name: limit.plans for limit in self._live.rate_limits()}
        return {
            name: {"plans": core[name]["known"], **one.totals,
                   "pending": len(one.waiting) + len(one.calls), "dropped": core[name]["dropped"]}
            for name, one in self.known.items() if name in core
        }

    def _begin(self, limit: RateLimit, planned: Planned) -> None:
        # (not before those that were taken last have begun: so both queues are bounded)
        while len(planned.calls) < CALLS_MAX:
            if not planned.waiting:
                planned.waiting.extend(limit.take_asked())
            if not planned.waiting:
                return
            asked = planned.waiting.popleft()
            if asked[0] not in planned.calls:
                call = asyncio.get_running_loop().create_task(self._call(limit, planned, asked))
                planned.calls[asked[0]] = call
                call.add_done_callback(partial(self._done, limit, planned, asked[0]))

    def _done(
        self, limit: RateLimit, planned: Planned, key: int, call: asyncio.Task[None]
    ) -> None:
        planned.calls.pop(key, None)
        if self.known.get(limit.name) is planned:
            self._begin(limit, planned)

    async def _call(self, limit: RateLimit, planned: Planned, asked: _Asked) -> None:
        key, value, is_source = asked
        plan = planned.limit.plan
        assert plan is not None
        said = self._ask(planned.function, shown_key(value, is_source) if is_source
                         else value.decode("utf-8", "surrogateescape"))
        try:
            await asyncio.wait({said}, timeout=plan.deadline_ms / 1000)
            if not said.done():
                raise TimeoutError("it took longer than its deadline")
            if said.cancelled():
                raise Exited("it was cancelled from within")
            limit.plan(key, *_amounts(said.result(), planned.limit), plan.cache_ms)
            planned.totals["answered"] += 1
        except Exception as error:
            planned.totals["failed"] += 1
            self._tell(planned, error)
            if isinstance(said, asyncio.Task):
                said.cancel()
                await asyncio.wait({said}, timeout=END_S)
            else:                       # (its thread is busy: so many are at most)
                await asyncio.wait({said})
        finally:
            said.cancel()
            said.add_done_callback(_forget)

    def _ask(self, function: Callable[[str], Any], value: str) -> asyncio.Future[Any]:
        if is_async(function):
            return asyncio.get_running_loop().create_task(run_function(function, value))
        if self._threads is None:
            self._threads = Blocking(THREADS_MAX)
        future = self._threads.submit(partial(call_function, function), value)
        self._blocked.add(future)
        future.add_done_callback(self._blocked.discard)
        return asyncio.wrap_future(future)

    def _tell(self, planned: Planned, error: BaseException) -> None:
        if not is_told(error, planned.said):
            log.error("plan of rate limit %s failed; this is said once", planned.limit.name,
                      exc_info=error)

    async def stop(self) -> None:
        """Cancel all calls. A function that blocks goes on until it is through."""
        calls = [call for one in self.known.values() for call in one.calls.values()]
        self.known = {}
        for call in calls:
            call.cancel()
        if calls:
            await asyncio.wait(calls, timeout=END_S)
        self.end()

    def end(self) -> None:
        """Stop without the loop."""
        if self._threads is not None:
            self._threads.end(wait=not self._blocked)
            self._threads = None


def _amounts(said: Any, configured: EffectiveRateLimit) -> tuple[float, float]:
    """Return how long a unit takes, in ns, and how many may come at once; two zeros mean as
    configured. Raises TypeError or ValueError for what is no limit here."""
    if said is None:
        return 0.0, 0.0
    if isinstance(said, str):
        said = Limit(said)
    if not isinstance(said, Limit):
        raise TypeError(f"a plan returns a fastlb.Limit, a rate or None, not {said!r}")
    limit = effective_limit(said)
    if limit.is_bytes != configured.is_bytes:
        wanted = "bytes" if configured.is_bytes else "requests"
        raise ValueError(f"{show(said.limit)} doesn't fit a limit of {wanted}")
    return limit.unit_ns, limit.burst


def _forget(said: asyncio.Future[Any]) -> None:
    """Nobody wants to know any more how a call ended; asyncio would complain."""
    if not said.cancelled():
        said.exception()
