"""Ports that are free, and stay so: until the test or its program takes them, and after a server
has closed its own, so that a test can rely on being refused there."""

from __future__ import annotations

import contextlib
import itertools
import random
import socket
from collections.abc import Iterator
from contextlib import ExitStack

# Below those that the kernel gives to connections (net.ipv4.ip_local_port_range): such a one could
# get a port after we looked, and before its program does. Each process has a share of its own.
FIRST, LAST, SHARES = 12_000, 32_000, 32
SHARE = (LAST - FIRST) // SHARES


def _take() -> tuple[int, socket.socket]:
    """The first port of a share that no other process has, while this name is bound."""
    for share in range(SHARES):
        name = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        try:
            name.bind(f"\0fastlb-tests-ports-{share}")
        except OSError:
            name.close()
        else:
            return FIRST + SHARE * share, name
    raise AssertionError(f"{SHARES} processes run tests at once")


_mine, _name = _take()
_turn = itertools.count(random.randrange(SHARE))


def _ports() -> Iterator[int]:
    """Each once, those first that were used longest ago."""
    for _ in range(SHARE):
        yield _mine + next(_turn) % SHARE


def bind(sock: socket.socket, host: str = "127.0.0.1") -> int:
    """Bind a server's socket to a free port; returns that."""
    for port in _ports():
        with contextlib.suppress(OSError):
            sock.bind((host, port))
            return port
    raise AssertionError("no port is free")


def server(host: str = "127.0.0.1", backlog: int = 1024) -> socket.socket:
    """A socket that listens on a free port."""
    sock = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    bind(sock, host)
    sock.listen(backlog)
    return sock


def free_ports(
    n: int, kind: socket.SocketKind = socket.SOCK_STREAM, *more: socket.SocketKind
) -> list[int]:
    """Ports for programs that can't be told to take any, or that nobody listens on; each is free
    for every one of these kinds."""
    with ExitStack() as stack:
        found: list[int] = []
        for port in _ports():
            with contextlib.suppress(OSError):
                for each in (kind, *more):
                    sock = stack.enter_context(socket.socket(type=each))
                    sock.bind(("127.0.0.1", port))
                found.append(port)
            if len(found) == n:
                return found
    raise AssertionError("no port is free")


def free_port(kind: socket.SocketKind = socket.SOCK_STREAM, *more: socket.SocketKind) -> int:
    return free_ports(1, kind, *more)[0]


def nobody() -> str:
    """An address that refuses: nobody listens there."""
    return f"127.0.0.1:{free_port()}"
