"""A loop of our own, which nothing that runs on it can end."""

from __future__ import annotations

import asyncio
import logging
import signal
import threading
from collections.abc import Coroutine
from typing import Any, TypeVar

log = logging.getLogger("fastlb")

T = TypeVar("T")


def run_to_end(loop: asyncio.AbstractEventLoop, main: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine to its end, and return what it returns.

    SystemExit and KeyboardInterrupt of another task or callback end a loop. These are a policy's:
    whoever awaits the task has them too, and the loop goes on.
    """
    task = loop.create_task(main)
    while True:
        try:
            return loop.run_until_complete(task)
        except (SystemExit, KeyboardInterrupt) as error:
            if task.done() or (isinstance(error, KeyboardInterrupt) and _is_from_terminal()):
                raise
            log.error("something on the control loop wanted to end the process: %r", error,
                      exc_info=error)


def _is_from_terminal() -> bool:
    """Whether Ctrl-C still raises KeyboardInterrupt in this thread."""
    return (threading.current_thread() is threading.main_thread()
            and signal.getsignal(signal.SIGINT) is signal.default_int_handler)
