"""Servers that answer no check: the end that a check's timeout makes, without its time."""

from __future__ import annotations

import os
import socket

import fastlb


def give_up(balancer: fastlb.Balancer, where: tuple[str, int], timeout_s: float = 30.0) -> None:
    """End the checks of one server that are under way, as their timeout does when it is over. So
    a test's checks can have timeouts that no server reaches which only stands still for a while."""
    runtime = balancer._instance.running()
    loop = runtime.loop
    assert loop is not None

    def end() -> None:
        visits = runtime._health._visits
        for fd, visit in list(visits._under_way.items()) if visits is not None else ():
            with socket.socket(fileno=os.dup(fd)) as same:
                if same.getpeername()[:2] == where:
                    visits._give_up(visit, loop.time(), timeout_s)

    loop.call_soon_threadsafe(end)
