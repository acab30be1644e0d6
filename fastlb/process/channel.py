"""What a worker and the parent that supervises it say to each other: JSON, a message a packet."""

from __future__ import annotations

import array
import json
import socket
from typing import Any

MESSAGE_BYTES_MAX = 65_536
SOCKETS_MAX = 64            # of one message: an address has one for each engine
ENVIRONMENT = "FASTLB_SUPERVISED"       # what a worker is told at its birth


def send(channel: socket.socket, message: dict[str, Any], fds: list[int] | None = None) -> None:
    """Send one, with copies of descriptors. OSError where nobody is there any more."""
    data = json.dumps(message).encode()
    rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", fds))] if fds else []
    channel.sendmsg([data], rights)


def receive(channel: socket.socket) -> tuple[dict[str, Any], list[int]] | None:
    """The next one, with the descriptors that came with it; None at the end."""
    size = array.array("i").itemsize
    data, ancillary, _, _ = channel.recvmsg(
        MESSAGE_BYTES_MAX, socket.CMSG_SPACE(SOCKETS_MAX * size))
    fds = array.array("i")
    for level, kind, content in ancillary:
        if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
            fds.frombytes(content[: len(content) - len(content) % size])
    if not data:
        return None
    message: dict[str, Any] = json.loads(data)
    return message, list(fds)
