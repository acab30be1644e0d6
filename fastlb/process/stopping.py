"""What it is to stop a balancer: something that is awaited, or waited for."""

from __future__ import annotations

import asyncio
import concurrent.futures
from collections.abc import Callable, Generator
from typing import Any


class Stopping:
    """A stop under way: `await` it on a loop, or `wait()` for it in a thread.

    Who stops awaiting it, as `asyncio.wait_for` does, resets the connections that are left.
    """

    def __init__(
        self, future: concurrent.futures.Future[None], hurry: Callable[[], object] | None = None
    ) -> None:
        self._future = future
        self._hurry = hurry

    def __await__(self) -> Generator[Any, None, None]:
        try:
            yield from asyncio.wrap_future(self._future).__await__()
        except asyncio.CancelledError:
            if self._hurry is not None and not self._future.done():
                self._hurry()
            raise

    def wait(self, timeout: float | None = None) -> None:
        """Block until it is done, for `timeout` seconds at most (else TimeoutError)."""
        self._future.result(timeout)
