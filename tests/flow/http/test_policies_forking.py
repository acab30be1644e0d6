"""Functions that decide, and forks: theirs, and those of others meanwhile."""

from __future__ import annotations

import os
import threading
import time
from typing import Any

import pytest

import fastlb
from fastlb.policy import Request, Response
from tests.flow.conftest import DEADLINE_S, Site, forks_with_threads
from tests.flow.http.conftest import HttpSite
from tests.flow.http.policies import Decided, get, of_kind


@forks_with_threads
@pytest.mark.modes("inline", "threads")
def test_a_policy_may_fork(origins: Any, mode: int, kind: str) -> None:
    """The child that comes back from the function ends quietly; the parent goes on."""
    lb = fastlb.Balancer(threads=mode)
    listener = lb.listen(
        "http://127.0.0.1:0", name="web", pool=lb.pool("a", [origins(name="a").address]))
    children: list[int] = []

    def fork(request: Request) -> Response:
        child = os.fork()
        if child == 0:
            if kind != "sync":
                os._exit(0)             # (there, the thread of the loop or of a pool would go on)
            return Response(200, "child")
        children.append(child)
        return Response(200, "parent")

    function, more = of_kind(kind, fork)
    listener.route(deadline="60s", **more)(function)
    with lb.background():
        web = HttpSite(Site(lb, listener))
        for _ in range(3):
            assert web.ask(get()).body == b"parent"
        web.wait_idle()
    deadline = time.monotonic() + DEADLINE_S
    for child in children:
        pid, status = 0, -1
        while pid == 0:
            assert time.monotonic() < deadline
            pid, status = os.waitpid(child, os.WNOHANG)
            time.sleep(0.002)
        assert status == 0


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
