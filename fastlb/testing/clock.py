"""The clock of a balancer for tests: an hour of it takes no time."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from fastlb.config.units import seconds
from fastlb.process.runtime import Runtime
from fastlb.testing.limits import WAIT_S

AHEAD_MAX_S = 30 * 365 * 86_400.0       # more overflows somewhere: times are in ns
# Of the loop, where what is due wakes tasks that begin more; and of engines, which look for events
# once more before timeouts end anything.
TURNS = 4


class Clock:
    """The clock of one TestBalancer, which goes as the system's does, and further when told to."""

    def __init__(self, runtime: Callable[[], Runtime]) -> None:
        self._runtime = runtime

    def advance(self, duration: str | float) -> None:
        """Move the clock ahead, by "1h" or so many seconds.

        What is due by then has happened when this returns: timeouts have ended what they end,
        ejections are over, and health checks and DNS questions that came due were made. What
        recurs happens once, however far the clock moves. How long a server takes to answer a
        health check is measured with the system's clock. Raises ValueError for anything that is
        no duration, and TimeoutError if a check, a question or a policy takes more than 30 s.
        """
        wanted = seconds(duration, "duration")
        if wanted is None:
            raise ValueError('duration: write it like "60s"')
        if wanted > AHEAD_MAX_S:
            raise ValueError(f"duration: {duration!r} is more than 30 years")
        _advance(self._runtime(), wanted)


def _advance(runtime: Runtime, seconds: float) -> None:
    assert runtime.loop is not None
    if asyncio._get_running_loop() is runtime.loop:
        raise RuntimeError("the clock is moved from the test, not from what the balancer calls")

    async def go() -> None:
        runtime.clock.advance(seconds)
        for _ in range(TURNS):
            await asyncio.sleep(0)
        await runtime.clock.rest()

    asyncio.run_coroutine_threadsafe(go(), runtime.loop).result(WAIT_S)
    for _ in range(TURNS):
        if not runtime.engines.settle(WAIT_S):
            raise TimeoutError(f"an engine has done nothing for {WAIT_S:.0f} s: is it in a policy?")
