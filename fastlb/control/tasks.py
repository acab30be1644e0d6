"""Tasks that end when they are told to.

`asyncio.wait_for()` before Python 3.12 loses a cancellation that comes in the same turn of the loop
as the result: a task that asks in a circle would then go on for ever.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Iterable
from typing import Any, TypeVar

Result = TypeVar("Result")

ASK_AGAIN_S = 0.1       # who lost a cancellation (a library, with a wait_for() of its own)


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
