"""Listening sockets that go while an engine is held up: their numbers are never used for others."""

from __future__ import annotations

import asyncio
import concurrent.futures
import logging
import os
import socket
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

import fastlb
from tests.flow.conftest import DEADLINE_S, wait_until
from tests.flow.http.conftest import origins  # noqa: F401
from tests.flow.http.peers import HttpOrigin, Wire, get

Origins = Callable[..., HttpOrigin]


class Hold:
    """A policy that holds its engine until it is let go."""

    def __init__(self) -> None:
        self.entered, self.let_go = threading.Event(), threading.Event()

    def __call__(self, request: fastlb.Request) -> None:
        if request.path == "/hold":
            self.entered.set()
            assert self.let_go.wait(DEADLINE_S)


class Held:
    """A balancer of one engine with the listeners `kept` (that holds it up) and others."""

    def __init__(self, origins: Origins) -> None:  # noqa: F811
        self.hold = Hold()
        self.servers = {name: origins(name=name).address for name in ("first", "second")}
        self.balancer = fastlb.Balancer(self.config(first="first"), threads=1)

    def config(self, **others: str) -> fastlb.Config:
        """`others` are listeners by name, and their servers."""
        listeners: dict[str, Any] = {"kept": {
            "bind": "http://127.0.0.1:0", "pool": "first",
            "routes": [{"name": "hold", "policy": self.hold}],
        }}
        for name, pool in others.items():
            listeners[name] = {"bind": "http://127.0.0.1:0", "pool": pool}
        return fastlb.Config.build({
            "listeners": listeners,
            "pools": {name: {"servers": [server]} for name, server in self.servers.items()},
        })

    def reload(self, **others: str) -> None:
        asyncio.run(self.balancer.reload(self.config(**others)))

    def wire(self, listener: str) -> Wire:
        port = self.balancer.listeners[listener].port
        return Wire(socket.create_connection(("127.0.0.1", port), DEADLINE_S))

    def begin(self) -> Wire:
        """A request that holds the engine up."""
        wire = self.wire("kept")
        wire.send(get("/hold"))
        assert self.hold.entered.wait(DEADLINE_S)
        return wire

    def end(self, wire: Wire) -> None:
        self.hold.let_go.set()
        wire.response("GET")
        wire.close()


@pytest.fixture
def held(
    origins: Origins, monkeypatch: pytest.MonkeyPatch  # noqa: F811
) -> Iterator[Held]:
    monkeypatch.setattr("fastlb.process.reload.ADOPT_S", 0.05)
    monkeypatch.setattr("fastlb.process.runtime.HEAR_S", 0.05)
    made = Held(origins)
    with made.balancer.background():
        yield made
        made.hold.let_go.set()


def ask(wire: Wire) -> bytes:
    """The name of the server that answers."""
    message = wire.response("GET")
    wire.close()
    return message.body.partition(b" ")[0]


def numbers(held: Held, listener: str) -> list[int]:
    runtime = held.balancer._instance.runtime
    assert runtime is not None
    return [fd for one in runtime.listening if one.listener == listener for fd in one.fds]


def inode(number: int) -> int:
    """Of the socket behind a descriptor; 0 where there is none."""
    try:
        return os.fstat(number).st_ino
    except OSError:
        return 0


def test_a_client_never_reaches_the_listener_that_had_the_number_before(
    held: Held, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "fastlb")
    before = numbers(held, "first")
    sockets = list(map(inode, before))
    asked = held.begin()
    held.reload()                           # `first` goes, and the engine doesn't know it
    assert "when the policy that holds up an engine is done" in caplog.text
    held.reload(second="second")
    assert set(numbers(held, "second")).isdisjoint(before)
    wires = [held.wire("second") for _ in range(20)]
    for wire in wires:
        wire.send(get("/"))
    held.end(asked)
    assert [ask(wire)[:6] for wire in wires] == [b"second"] * 20
    runtime = held.balancer._instance.runtime
    wait_until(lambda: runtime is not None and not runtime.leaving.all)
    assert set(map(inode, before)).isdisjoint(sockets)


def test_a_listener_that_comes_back_meanwhile_keeps_its_socket(held: Held) -> None:
    before, port = numbers(held, "first"), held.balancer.listeners["first"].port
    asked = held.begin()
    waiting = held.wire("first")
    waiting.send(get("/"))
    held.reload()
    held.reload(first="second")
    assert (numbers(held, "first"), held.balancer.listeners["first"].port) == (before, port)
    held.end(asked)
    assert ask(waiting)[:6] == b"second"


def test_a_stop_closes_no_socket_of_an_engine_that_is_held_up(held: Held) -> None:
    (number,) = numbers(held, "first")
    opened = inode(number)
    asked = held.begin()
    stopping = held.balancer.stop(timeout=0)
    runtime = held.balancer._instance.runtime
    wait_until(lambda: runtime is not None and len(runtime.leaving.all) == 2)
    with pytest.raises(concurrent.futures.TimeoutError):
        stopping.wait(0.2)
    assert inode(number) == opened
    held.hold.let_go.set()
    stopping.wait(DEADLINE_S)
    asked.close()
    assert inode(number) != opened
