"""Listening sockets that others have opened for this process: systemd, or the parent that holds
them while processes come and go."""

from __future__ import annotations

import errno
import os
import socket

from fastlb.errors import BindError

FIRST_INHERITED_FD = 3      # sd_listen_fds(3): SD_LISTEN_FDS_START

Where = tuple[str, int] | str       # (IP address, port), or a unix socket's path


class Handed:
    """Sockets that wait to be asked for. `label` is what they were opened for, where that is
    known: port 0 is another one for everybody."""

    def __init__(self) -> None:
        self._left: list[tuple[Where, str, socket.socket]] = []

    def add(self, sock: socket.socket, label: str = "") -> None:
        self._left.append((where(sock), label, sock))

    def take(self, at: Where, label: str, kind: int = socket.SOCK_STREAM) -> list[socket.socket]:
        """All that listen there; of any free port, those that were opened for the same."""
        any_port = not isinstance(at, str) and at[1] == 0
        found = [
            one for one in self._left
            if (one[1] == label if any_port else one[0] == at)
            and one[2].type == kind
        ]
        self._left = [one for one in self._left if one not in found]
        return [sock for _, _, sock in found]

    def rest(self) -> list[tuple[Where, socket.socket]]:
        """What nobody asked for, once."""
        left, self._left = self._left, []
        return [(at, sock) for at, _, sock in left]


def where(sock: socket.socket) -> Where:
    name = sock.getsockname()
    return name if isinstance(name, str) else (str(name[0]), int(name[1]))


def listening(fd: int, what: str) -> socket.socket:
    """The socket of a descriptor that was handed over; BindError if it is none that listens."""
    try:
        sock = socket.socket(fileno=fd)
        listens = sock.type == socket.SOCK_DGRAM or sock.getsockopt(
            socket.SOL_SOCKET, socket.SO_ACCEPTCONN)
    except OSError as error:
        why = (error.strerror or str(error)).lower()
        raise BindError(error.errno or 0, f"{what}: descriptor {fd}: {why}") from None
    if not listens:
        raise BindError(errno.EINVAL, f"{what}: descriptor {fd}: it doesn't listen")
    os.set_inheritable(fd, False)
    return sock


def inherited() -> list[socket.socket]:
    """Those that systemd handed over (LISTEN_FDS, sd_listen_fds(3)).

    They are the process's: only one that is a load balancer and nothing else may take them.
    """
    if os.environ.get("LISTEN_PID") != str(os.getpid()):
        return []
    text = os.environ.get("LISTEN_FDS", "0")
    if not (text.isascii() and text.isdigit()):
        raise BindError(errno.EINVAL, f"LISTEN_FDS: {text!r} is not a number")
    for name in ("LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES"):
        os.environ.pop(name, None)
    fds = range(FIRST_INHERITED_FD, FIRST_INHERITED_FD + int(text))
    return [listening(fd, "LISTEN_FDS") for fd in fds]
