"""Functions that decide, and leave: sys.exit() and Ctrl-C are failures of theirs."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Awaitable, Callable

import pytest

from fastlb.policy import Request
from tests.flow.conftest import DEADLINE_S
from tests.flow.http.policies import Decided, add, get
from tests.flow.http.test_policies_failing import counts, fail, told, traceback_of


@pytest.mark.parametrize("raised", [SystemExit(3), KeyboardInterrupt()], ids=repr)
def test_an_exit_is_a_failure_of_the_policy(
    decided: Decided, kind: str, raised: BaseException, caplog: pytest.LogCaptureFixture
) -> None:
    def leave(request: Request) -> None:
        raise raised

    add(decided, kind, leave, "/leave")
    web = decided.start()
    for _ in range(2):
        assert web.ask(get(b"/leave")).status == 503
    assert web.ask(get()).status == 200
    counts(decided, calls=2, failures=2)
    (record,) = told(caplog)
    assert type(raised).__name__ in traceback_of(record)
    runtime = decided.lb._instance.runtime
    assert runtime is not None and runtime.loop is not None and runtime.loop.is_running()


async def _gathered(leave: Callable[[], None]) -> None:
    async def inner() -> None:
        leave()

    await asyncio.gather(asyncio.sleep(0), inner())


async def _waited(leave: Callable[[], None]) -> None:
    async def inner() -> None:
        await asyncio.sleep(0)
        leave()

    await asyncio.wait_for(inner(), DEADLINE_S)


async def _called_soon(leave: Callable[[], None]) -> None:
    asyncio.get_running_loop().call_soon(leave)
    await asyncio.sleep(0.01)
    raise ValueError


@pytest.mark.parametrize("how", [_gathered, _waited, _called_soon])
@pytest.mark.parametrize("raised", [SystemExit(3), KeyboardInterrupt()], ids=repr)
def test_an_exit_in_a_task_of_a_policy_is_its_failure(
    decided: Decided, raised: BaseException, how: Callable[..., Awaitable[None]],
) -> None:
    """It stops the loop, which goes on."""
    def leave() -> None:
        raise raised

    async def decide(request: Request) -> None:
        await how(leave)

    add(decided, "async", decide, "/leave")
    web = decided.start()
    for _ in range(2):
        assert web.ask(get(b"/leave")).status == 503
    assert web.ask(get()).status == 200
    counts(decided, calls=2, failures=2)


def test_a_log_handler_that_blocks_holds_no_engine_up(decided: Decided) -> None:
    release = threading.Event()

    class Blocking(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            assert release.wait(DEADLINE_S)

    add(decided, "sync", fail, "/fail")
    handler, logger = Blocking(), logging.getLogger("fastlb.policy")
    logger.addHandler(handler)
    try:
        web = decided.start()
        if decided.threads:                     # (inline, the engine's thread is the loop's)
            assert web.ask(get(b"/fail")).status == 503
            assert web.ask(get()).status == 200
    finally:
        release.set()
        logger.removeHandler(handler)
