"""Tasks that end when they are told to, and not before.

`asyncio.wait_for()` before Python 3.12 loses a cancellation that comes in the same turn of the loop
as the result: a task that asks in a circle would then go on for ever.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine, Iterable
from typing import Any, TypeVar

log = logging.getLogger("fastlb")

Result = TypeVar("Result")

AGAIN_S, AGAIN_MAX_S = 1.0, 60.0    # before work that failed begins again; doubled each time
WELL_S = 300.0                      # work that went on for so long is well again
ASK_AGAIN_S = 0.1       # who lost a cancellation (a library, with a wait_for() of its own)


def keep_going(what: str, work: Callable[[], Coroutine[Any, Any, None]]) -> asyncio.Task[None]:
    """Start work that goes on in the background until it is cancelled, or returns.

    An exception doesn't end it: that is logged, and the work begins again a little later. `what` is
    what the log calls it.
    """
    return asyncio.ensure_future(_keep_going(what, work))


async def _keep_going(what: str, work: Callable[[], Coroutine[Any, Any, None]]) -> None:
    loop = asyncio.get_running_loop()
    wait_s = AGAIN_S
    while True:
        begin_s = loop.time()
        try:
            return await work()
        except Exception:
            if loop.time() - begin_s > WELL_S:
                wait_s = AGAIN_S
            log.exception("%s failed; it begins again in %g s", what, wait_s)
        await asyncio.sleep(wait_s)
        wait_s = min(2 * wait_s, AGAIN_MAX_S)


def once(what: str, work: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
    """Start work in the background that nobody waits for. An exception is logged."""
    def look(done: asyncio.Task[Any]) -> None:
        if not done.cancelled() and done.exception() is not None:
            log.error("%s failed", what, exc_info=done.exception())

    task = asyncio.ensure_future(work)
    task.add_done_callback(look)
    return task


async def within(seconds: float, work: Coroutine[Any, Any, Result]) -> Result:
    """The result of `work`. Raises asyncio.TimeoutError if it takes longer."""
    task = asyncio.ensure_future(work)
    try:
        done, _ = await asyncio.wait({task}, timeout=seconds)
        if not done:
            raise asyncio.TimeoutError
        return task.result()
    finally:
        if not task.done():
            task.cancel()
            await asyncio.wait({task})      # what it holds must not be closed while it uses it
        _forget(task)


async def end(tasks: Iterable[asyncio.Task[Any]]) -> None:
    """Cancel tasks, and wait until they are gone."""
    left = set(tasks)
    while left:
        for task in left:
            task.cancel()
        done, left = await asyncio.wait(left, timeout=ASK_AGAIN_S)
        for task in done:
            _forget(task)


def _forget(task: asyncio.Task[Any]) -> None:
    """What it raised interests nobody any more; asyncio would complain that nobody asked."""
    if not task.cancelled():
        task.exception()
