"""A balancer that serves in a thread beside a program, and what it is to stop one."""

from __future__ import annotations

import asyncio
import atexit
import concurrent.futures
import os
import threading
from collections.abc import Callable, Generator
from types import TracebackType
from typing import TYPE_CHECKING, Any

from fastlb.process.loops import run_to_end

if TYPE_CHECKING:
    from fastlb.balancer import Balancer


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


class Background:
    """A balancer on a loop and thread of its own. Made by `Balancer.background()`."""

    def __init__(self, balancer: Balancer) -> None:
        self._balancer = balancer
        started: concurrent.futures.Future[None] = concurrent.futures.Future()
        self._thread = threading.Thread(
            target=self._serve, args=(started,), name="fastlb-control", daemon=True
        )
        self._thread.start()
        try:
            started.result()
        except BaseException:
            self._thread.join()
            raise
        # Registered after the engines' own handler, and so run before it: the loop's thread must
        # be gone when the interpreter goes.
        atexit.register(self.stop, 0)

    def _serve(self, started: concurrent.futures.Future[None]) -> None:
        import uvloop

        loop = uvloop.new_event_loop()
        try:
            run_to_end(loop, self._main(started))
        finally:
            loop.close()

    async def _main(self, started: concurrent.futures.Future[None]) -> None:
        try:
            await self._balancer.start()
        except BaseException as error:
            started.set_exception(error)
            return
        runtime = self._balancer._runtime
        assert runtime is not None
        started.set_result(None)
        await runtime.ended.wait()

    def stop(self, timeout: float | None = None) -> None:
        """Stop as `Balancer.stop()` does, and wait for it."""
        atexit.unregister(self.stop)
        if self._balancer._pid != os.getpid():
            return                      # a forked child: the thread stayed behind
        self._balancer.stop(timeout).wait()
        self._thread.join()

    def __enter__(self) -> Balancer:
        return self._balancer

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop(timeout=None if kind is None else 0)


