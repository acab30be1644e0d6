"""The worker's side of supervision: its listening sockets are held by the parent too."""

from __future__ import annotations

import asyncio
import errno
import importlib
import logging
import os
import socket

from fastlb.errors import BindError
from fastlb.process.channel import ENVIRONMENT, Outbox, Truncated, receive
from fastlb.process.descriptors import raise_descriptor_limit
from fastlb.process.handed import Handed, listening
from fastlb.process.unix import UnixFile

log = logging.getLogger("fastlb")

HEARD_MAX = 4           # messages that a parent has for us at a time
LAST_WORDS_S = 5.0      # for the parent to read what we still have to say


class Parent:
    """The process that supervises this one."""

    def __init__(self, channel: socket.socket) -> None:
        self._channel: socket.socket | None = channel
        self._outbox = Outbox(channel, self._wait_for_room)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._upgrade: asyncio.Future[None] | None = None
        self._replaced = False

    @property
    def channel(self) -> socket.socket | None:
        return self._channel

    @property
    def has_replaced_us(self) -> bool:
        """Whether another process serves in our place already."""
        for _ in range(HEARD_MAX):          # (a signal may be faster than what explains it)
            if self._channel is not None:
                self._hear()
        return self._replaced

    def follow(self, loop: asyncio.AbstractEventLoop) -> None:
        """Listen to what it says."""
        assert self._channel is not None
        self._loop = loop
        loop.add_reader(self._channel.fileno(), self._hear)

    def hold(self, label: str, sockets: list[socket.socket], file: UnixFile | None) -> None:
        """It is to hold a new address, and to remove a unix socket's file in the end."""
        self._say(
            {"op": "hold", "label": label,
             "file": None if file is None else [file.path, file.device, file.inode]},
            [sock.fileno() for sock in sockets],
        )

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

    async def close(self) -> None:
        """Say what is still to be said, and let go."""
        await asyncio.to_thread(self._outbox.end, LAST_WORDS_S)
        self._close()

    def say_last(self, op: str, **more: str) -> None:
        """Without a loop."""
        self._say({"op": op, **more})
        self._outbox.end(LAST_WORDS_S)

    def _close(self) -> None:
        if self._channel is None:
            return
        if self._loop is not None and not self._loop.is_closed():
            self._loop.remove_reader(self._channel.fileno())
            self._loop.remove_writer(self._channel.fileno())
        self._outbox.end()
        self._channel.close()
        self._channel = None

    def _say(self, message: dict[str, object], fds: list[int] | None = None) -> None:
        if self._channel is None:
            return
        try:
            self._outbox.say(message, fds)
        except OSError as error:
            log.error("the supervising process can't be told: %s", error)

    def _wait_for_room(self, full: bool) -> None:
        if self._loop is None or self._channel is None:
            return                          # (`end` flushes)
        if full:
            self._loop.add_writer(self._channel.fileno(), self._flush)
        else:
            self._loop.remove_writer(self._channel.fileno())

    def _flush(self) -> None:
        try:
            self._outbox.flush()
        except OSError as error:
            log.error("the supervising process can't be told: %s", error)
            self._close()

    def _hear(self) -> None:
        assert self._channel is not None
        try:
            heard = receive(self._channel)
        except BlockingIOError:
            return
        except OSError:
            heard = None
        if heard is None:
            log.error("the supervising process is gone: going on without it")
            self._close()
            return
        message, _ = heard
        if message.get("op") == "replaced":
            self._replaced = True
            return
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
    channel.setblocking(True)
    os.set_inheritable(channel.fileno(), False)
    raise_descriptor_limit()
    handed = Handed()
    while True:
        try:
            heard = receive(channel)
        except Truncated as error:
            Parent(channel).say_last("failed", why=str(error))
            raise BindError(errno.EMFILE, f"listening sockets can't be taken over: {error}"
                            ) from None
        if heard is None:
            raise SystemExit(0)             # we are not needed any more
        message, fds = heard
        if message["op"] == "serve":
            return Parent(channel), handed
        for fd in fds:
            handed.add(listening(fd, ENVIRONMENT), message["label"])
