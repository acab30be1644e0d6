"""What a worker and the parent that supervises it say to each other: JSON, a message a packet."""

from __future__ import annotations

import array
import collections
import json
import os
import select
import socket
import time
from collections.abc import Callable
from typing import Any

MESSAGE_BYTES_MAX = 65_536
SOCKETS_MAX = 64            # of one message: an address has one for each engine
LOOK_S = 0.1                # a socket is told to be writable only once most of it has been read
ENVIRONMENT = "FASTLB_SUPERVISED"       # what a worker is told at its birth

Message = dict[str, Any]


class Truncated(Exception):
    """A message whose descriptors didn't fit below our limit; they are closed."""

    def __init__(self, message: Message) -> None:
        super().__init__("the descriptor limit is reached")
        self.message = message


def send(channel: socket.socket, message: Message, fds: list[int] | None = None) -> None:
    """Send one, with copies of descriptors. OSError where nobody is there any more."""
    data = json.dumps(message).encode()
    rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", fds))] if fds else []
    channel.sendmsg([data], rights)


def receive(channel: socket.socket) -> tuple[Message, list[int]] | None:
    """The next one, with the descriptors that came with it; None at the end."""
    size = array.array("i").itemsize
    data, ancillary, flags, _ = channel.recvmsg(
        MESSAGE_BYTES_MAX, socket.CMSG_SPACE(SOCKETS_MAX * size))
    fds = array.array("i")
    for level, kind, content in ancillary:
        if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
            fds.frombytes(content[: len(content) - len(content) % size])
    if not data:
        return None
    message: Message = json.loads(data)
    if flags & socket.MSG_CTRUNC:
        for fd in fds:
            os.close(fd)
        raise Truncated(message)
    return message, list(fds)


class Outbox:
    """Messages that wait until a channel takes them: none is lost, and nobody is held up. `full` is
    told when it begins and ends to have some, so that `flush` is called when there is room."""

    def __init__(self, channel: socket.socket, full: Callable[[bool], object]) -> None:
        channel.setblocking(False)
        self._channel = channel
        self._full = full
        self._waiting: collections.deque[tuple[Message, list[int]]] = collections.deque()

    def say(self, message: Message, fds: list[int] | None = None) -> None:
        """OSError where nobody is there any more."""
        if not self._waiting:
            try:
                send(self._channel, message, fds)
                return
            except BlockingIOError:
                self._full(True)
        # (copies: they may be closed before they have been sent)
        self._waiting.append((message, [os.dup(fd) for fd in fds or ()]))

    def flush(self) -> None:
        """There is room. OSError where nobody is there any more."""
        while self._waiting:
            message, fds = self._waiting[0]
            try:
                send(self._channel, message, fds)
            except BlockingIOError:
                return
            self._drop()
        self._full(False)

    def end(self, seconds: float = 0) -> None:
        """Send what is left, for so long, and forget the rest."""
        poll = select.poll()
        poll.register(self._channel, select.POLLOUT)
        deadline_s = time.monotonic() + seconds
        try:
            while self._waiting and (left_s := deadline_s - time.monotonic()) > 0:
                self.flush()
                if self._waiting:
                    poll.poll(min(left_s, LOOK_S) * 1000)
        except OSError:
            pass                        # nobody is there any more
        while self._waiting:
            self._drop()

    def _drop(self) -> None:
        for fd in self._waiting.popleft()[1]:
            os.close(fd)
