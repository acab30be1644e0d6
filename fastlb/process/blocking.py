"""Threads for functions that block."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future
from queue import Empty, SimpleQueue
from typing import Any

Work = tuple["Future[Any]", Callable[[Any], Any], Any]


class Blocking:
    """At most `most` threads, made as they are needed. One that is stuck in its function keeps no
    process alive, as those of concurrent.futures do: the interpreter waits for these at its end."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._work: SimpleQueue[Work | None] = SimpleQueue()      # None: a thread is to go
        self._lock = threading.Lock()
        self._threads: list[threading.Thread] = []
        self._idle = 0

    def submit(self, function: Callable[[Any], Any], argument: Any) -> Future[Any]:
        """Call a function on a thread. What it returns or raises is the future's."""
        future: Future[Any] = Future()
        with self._lock:
            if self._idle:
                self._idle -= 1
            elif len(self._threads) < self._most:
                thread = threading.Thread(
                    target=self._run, name=f"fastlb-policy_{len(self._threads)}", daemon=True)
                self._threads.append(thread)
                thread.start()
        self._work.put((future, function, argument))
        return future

    def _run(self) -> None:
        while work := self._work.get():
            _call(*work)
            del work                        # (it must not be kept until the next one comes)
            with self._lock:
                self._idle += 1

    def end(self, wait: bool) -> None:
        """Let all threads go once they are through. What waits for one is cancelled."""
        try:
            while work := self._work.get_nowait():
                work[0].cancel()
        except Empty:
            pass
        for _ in self._threads:
            self._work.put(None)
        if wait:
            for thread in self._threads:
                thread.join()


def _call(future: Future[Any], function: Callable[[Any], Any], argument: Any) -> None:
    if not future.set_running_or_notify_cancel():
        return
    try:
        result = function(argument)
    except BaseException as error:
        future.set_exception(error)
    else:
        future.set_result(result)
