"""Functions that decide, and leave: sys.exit() and Ctrl-C are failures of theirs."""

from __future__ import annotations

import logging
import threading

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
    runtime = decided.lb._runtime
    assert runtime is not None and runtime.loop is not None and runtime.loop.is_running()


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
