"""The worker's side of supervision: its listening sockets are held by the parent too."""

from __future__ import annotations

import asyncio
import importlib
import logging
import os
import socket

from fastlb.process.channel import ENVIRONMENT, receive, send
from fastlb.process.handed import Handed, listening
from fastlb.process.sockets import Listening

log = logging.getLogger("fastlb")


class Parent:
    """The process that supervises this one."""

    def __init__(self, channel: socket.socket) -> None:
        self._channel: socket.socket | None = channel
        self._loop: asyncio.AbstractEventLoop | None = None
        self._upgrade: asyncio.Future[None] | None = None
        self._dropped: list[Listening] = []

    @property
    def channel(self) -> socket.socket | None:
        return self._channel

    def follow(self, loop: asyncio.AbstractEventLoop) -> None:
        """Listen to what it says."""
        assert self._channel is not None
        self._loop = loop
        loop.add_reader(self._channel.fileno(), self._hear)

    def hold(self, opened: Listening) -> None:
        """It is to hold a new address, and to remove a unix socket's file in the end."""
        self._say(
            {"op": "hold", "label": opened.label, "unlink": opened.unlink},
            [sock.fileno() for sock in opened.sockets],
        )
        opened.unlink = None

    def drop(self, label: str) -> None:
        """It need hold an address no longer."""
        self._say({"op": "drop", "label": label})

    def say(self, op: str, **more: str) -> None:
        """`ready`, or `notify` with a `state` for systemd."""
        self._say({"op": op, **more})

    async def upgrade(self) -> None:
        """Have a new process started in our place. RuntimeError says why that failed; if it
        doesn't, this process is told to stop."""
        if self._upgrade is None:
            self._upgrade = asyncio.get_running_loop().create_future()
            self._say({"op": "upgrade"})
        await asyncio.shield(self._upgrade)

    def close(self) -> None:
        if self._channel is not None:
            if self._loop is not None and not self._loop.is_closed():
                self._loop.remove_reader(self._channel.fileno())
            self._channel.close()
            self._channel = None

    def _say(self, message: dict[str, object], fds: list[int] | None = None) -> None:
        if self._channel is None:
            return
        try:
            send(self._channel, message, fds)
        except OSError as error:
            log.error("the supervising process can't be told: %s", error)

    def _hear(self) -> None:
        assert self._channel is not None
        try:
            heard = receive(self._channel)
        except OSError:
            heard = None
        if heard is None:
            log.error("the supervising process is gone: going on without it")
            self.close()
            return
        message, _ = heard
        waiting, self._upgrade = self._upgrade, None
        if waiting is None or waiting.done():
            return
        if message.get("op") == "upgraded":
            waiting.set_result(None)
        else:
            waiting.set_exception(RuntimeError(str(message.get("why", "it failed"))))


def stand_by() -> tuple[Parent, Handed] | None:
    """As a supervised process: wait until we are told to serve, with all that takes long to import
    done; returns the parent, and the sockets that it holds. None where nobody supervises us.
    """
    told = os.environ.pop(ENVIRONMENT, "")
    if not told:
        return None
    for name in ("fastlb.balancer", "fastlb.config.reader", "fastlb.process.serve",
                 "fastlb.admin.server", "uvloop"):
        importlib.import_module(name)
    channel = socket.socket(fileno=int(told))
    os.set_inheritable(channel.fileno(), False)
    handed = Handed()
    while True:
        heard = receive(channel)
        if heard is None:
            raise SystemExit(0)             # we are not needed any more
        message, fds = heard
        if message["op"] == "serve":
            return Parent(channel), handed
        for fd in fds:
            handed.add(listening(fd, ENVIRONMENT), message["label"])
