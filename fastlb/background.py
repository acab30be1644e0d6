"""A balancer that serves in a thread beside a program."""

from __future__ import annotations

import atexit
import concurrent.futures
import threading
from types import TracebackType
from typing import Generic, TypeVar

from fastlb.process.instance import Instance
from fastlb.process.loops import run_to_end

Face = TypeVar("Face")


class Background(Generic[Face]):
    """A balancer on a loop and thread of its own. Made by `Balancer.background()`."""

    def __init__(self, instance: Instance, balancer: Face) -> None:
        self._instance = instance
        self._balancer = balancer               # what a `with` gives
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
            await self._instance.start()
        except BaseException as error:
            started.set_exception(error)
            return
        runtime = self._instance.runtime
        assert runtime is not None
        started.set_result(None)
        await runtime.ended.wait()

    def stop(self, timeout: float | None = None) -> None:
        """Stop as `Balancer.stop()` does, and wait for it."""
        atexit.unregister(self.stop)
        if not self._instance.is_ours:
            return                      # a forked child: the thread stayed behind
        self._instance.stop(timeout).wait()
        self._thread.join()

    def __enter__(self) -> Face:
        return self._balancer

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop(timeout=None if kind is None else 0)
