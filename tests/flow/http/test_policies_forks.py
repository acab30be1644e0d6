"""Functions that decide, and a process that forks meanwhile."""

from __future__ import annotations

import os
import threading

import pytest

from fastlb.policy import Request, Response
from tests.flow.conftest import DEADLINE_S
from tests.flow.http.policies import Decided, get


@pytest.mark.parametrize("mode", ["thread", "threads", "poll"], indirect=True)
def test_a_fork_elsewhere_waits_for_no_policy(decided: Decided) -> None:
    """A function that holds up its engine doesn't hold up a fork by another thread."""
    go, begun = threading.Event(), threading.Event()

    @decided.listener.route(name="r", deadline="60s")
    def stuck(request: Request) -> Response:
        begun.set()
        assert go.wait(DEADLINE_S)
        return Response(200, "done")

    wire = decided.start().client()
    wire.send(get())
    assert begun.wait(DEADLINE_S)
    child = os.fork()
    if child == 0:
        os._exit(7)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7
    go.set()
    assert wire.response().body == b"done"
    wire.close()
