"""Listening sockets: bound once, one an engine, and never closed and bound again while running."""

from __future__ import annotations

import errno
import os
import socket
import stat
from collections.abc import Iterator
from dataclasses import dataclass, field

from fastlb.config.address import Address
from fastlb.config.effective import EffectiveListener
from fastlb.errors import BindError

FIRST_INHERITED_FD = 3      # sd_listen_fds(3): SD_LISTEN_FDS_START
SO_ACCEPTCON = 1 << 16      # in the flags of /proc/net/unix: it listens


@dataclass
class Listening:
    """The sockets of one address of one listener."""

    id: int
    listener: str
    address: Address
    sockets: list[socket.socket]
    shared: bool = False            # one socket for all engines
    unlink: str | None = None       # a unix socket's file, ours to remove
    fds: list[int] = field(default_factory=list)
    wanted: Address | None = None   # as configured: port 0 stands for any

    @property
    def shares_port(self) -> bool:
        """Whether other processes may have the same address."""
        return self.address.path is None and bool(
            self.sockets[0].getsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT))

    def close(self) -> None:
        for sock in self.sockets:
            sock.close()
        self.sockets = []
        if self.unlink:
            try:
                os.unlink(self.unlink)
            except OSError:
                pass                # someone was faster: the file is gone, as wanted
            self.unlink = None


def inherited() -> dict[tuple[str, int] | str, socket.socket]:
    """The listening sockets that systemd handed over (LISTEN_FDS, sd_listen_fds(3)), by address.

    They are the process's: only one that is a load balancer and nothing else may take them.
    """
    if os.environ.get("LISTEN_PID") != str(os.getpid()):
        return {}
    text = os.environ.get("LISTEN_FDS", "0")
    if not (text.isascii() and text.isdigit()):
        raise BindError(errno.EINVAL, f"LISTEN_FDS: {text!r} is not a number")
    count = int(text)
    for name in ("LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES"):
        os.environ.pop(name, None)
    found: dict[tuple[str, int] | str, socket.socket] = {}
    for fd in range(FIRST_INHERITED_FD, FIRST_INHERITED_FD + count):
        try:
            sock = socket.socket(fileno=fd)
            listens = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN)
        except OSError as error:
            why = (error.strerror or str(error)).lower()
            raise BindError(error.errno or 0, f"LISTEN_FDS: descriptor {fd}: {why}") from None
        if not listens:
            why = "it doesn't listen"
            raise BindError(errno.EINVAL, f"LISTEN_FDS: descriptor {fd}: {why}")
        os.set_inheritable(fd, False)
        name = sock.getsockname()
        found[name if isinstance(name, str) else (name[0], name[1])] = sock
    return found


def open_all(
    listener: EffectiveListener,
    ids: Iterator[int],
    engines: int,
    handed: dict[tuple[str, int] | str, socket.socket],
) -> list[Listening]:
    """Open every address of a listener, or none: BindError says which one could not be."""
    opened: list[Listening] = []
    try:
        for address in listener.binds:
            opened.append(open_one(listener, address, next(ids), engines, handed))
    except BaseException:
        for listening in opened:
            listening.close()
        raise
    return opened


def open_one(
    listener: EffectiveListener,
    address: Address,
    id: int,
    engines: int,
    handed: dict[tuple[str, int] | str, socket.socket],
    beside: bool = False,
) -> Listening:
    """Open one address. `beside`: a socket of ours that goes has its port too."""
    try:
        if address.path is not None:
            opened = _open_unix(listener, address, id, engines, handed)
        else:
            opened = _open_tcp(listener, address, id, engines, handed, beside)
    except OSError as error:
        raise _explained(listener, address, error) from None
    opened.wanted = address
    return opened


def _open_tcp(
    listener: EffectiveListener,
    address: Address,
    id: int,
    engines: int,
    handed: dict[tuple[str, int] | str, socket.socket],
    beside: bool,
) -> Listening:
    family, where = _resolve(address)
    sock = handed.pop(where, None)
    if sock is not None:
        _options(sock, listener)
        return _shared(listener, address, id, engines, sock)
    port = where[1]
    shares = engines > 1 or listener.reuse_port or beside
    if port and not listener.reuse_port and not beside:
        # SO_REUSEPORT would let us in beside a stranger of the same user, and split its traffic:
        # so ask once without it.
        with socket.socket(family, socket.SOCK_STREAM) as probe:
            _bind(probe, family, (where[0], port), share=False)
    sockets: list[socket.socket] = []
    try:
        for _ in range(engines):
            sock = socket.socket(family, socket.SOCK_STREAM)
            sockets.append(sock)
            _bind(sock, family, (where[0], port), share=shares)
            port = sock.getsockname()[1]
            _options(sock, listener)
        for sock in sockets:
            sock.listen(listener.backlog)
    except BaseException:
        for sock in sockets:
            sock.close()
        raise
    actual = Address(scheme=address.scheme, host=where[0], port=port, path=None)
    fds = [sock.fileno() for sock in sockets]
    return Listening(id, listener.name, actual, sockets, fds=fds)


def _resolve(address: Address) -> tuple[socket.AddressFamily, tuple[str, int]]:
    assert address.host is not None and address.port is not None
    found = socket.getaddrinfo(
        address.host, address.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
    )
    family, _, _, _, where = found[0]
    return family, (str(where[0]), int(where[1]))


def _bind(
    sock: socket.socket, family: socket.AddressFamily, where: tuple[str, int], share: bool
) -> None:
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    if family == socket.AF_INET6:
        # [::] and 0.0.0.0 are two addresses, to be named both where both are meant.
        sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
    if share:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    sock.bind(where)


def _options(sock: socket.socket, listener: EffectiveListener) -> None:
    """What accepted connections inherit, so that it costs nothing for each."""
    sock.setblocking(False)
    if sock.family == socket.AF_UNIX:
        return
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, int(listener.tcp_nodelay))
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_OOBINLINE, 1)
    if listener.keepalive is not None:
        idle, interval, count = listener.keepalive
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, idle)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, interval)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT, count)


def tune(sock: socket.socket, listener: EffectiveListener) -> None:
    """Give a socket that listens already the options of a new configuration."""
    _options(sock, listener)
    sock.listen(listener.backlog)
    if sock.family == socket.AF_UNIX and listener.mode is not None:
        os.chmod(sock.getsockname(), listener.mode)
    if sock.family != socket.AF_UNIX and listener.keepalive is None:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 0)


def _shared(
    listener: EffectiveListener, address: Address, id: int, engines: int, sock: socket.socket
) -> Listening:
    fds = [sock.fileno()] * engines
    return Listening(id, listener.name, address, [sock], shared=engines > 1, fds=fds)


def _open_unix(
    listener: EffectiveListener,
    address: Address,
    id: int,
    engines: int,
    handed: dict[tuple[str, int] | str, socket.socket],
) -> Listening:
    path = address.path
    assert path is not None
    sock = handed.pop(path, None)
    if sock is not None:
        _options(sock, listener)
        return _shared(listener, address, id, engines, sock)
    _remove_stale(path)
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        sock.bind(path)
        if listener.mode is not None:
            os.chmod(path, listener.mode)
        _options(sock, listener)
        sock.listen(listener.backlog)
    except BaseException:
        sock.close()
        raise
    listening = _shared(listener, address, id, engines, sock)
    listening.unlink = path
    return listening


def _remove_stale(path: str) -> None:
    """Remove a unix socket that a process left behind; one that answers is in use."""
    try:
        if not stat.S_ISSOCK(os.stat(path).st_mode):
            raise OSError(errno.EEXIST, "a file that is not a socket is there")
    except FileNotFoundError:
        return
    if _is_listened_on(path):
        raise OSError(errno.EADDRINUSE, "in use")
    os.unlink(path)


def _is_listened_on(path: str) -> bool:
    """Whether a process listens on a unix socket. Asking by connecting would make a connection."""
    with open("/proc/net/unix", encoding="utf-8", errors="surrogateescape") as file:
        for line in file:
            fields = line.rstrip("\n").split(" ", 7)
            if fields[-1] == path and int(fields[3], 16) & SO_ACCEPTCON:
                return True
    return False


def _explained(listener: EffectiveListener, address: Address, error: OSError) -> BindError:
    if error.errno == errno.EADDRINUSE and address.path is not None:
        why = "another process listens there"
    elif error.errno == errno.EADDRINUSE:
        why = (
            "the port is taken: another process listens there"
            " (to share it with one that agrees, set reuse_port = true in both)"
        )
    elif error.errno == errno.EACCES and address.path is None:
        why = (
            f"no permission for port {address.port}: grant CAP_NET_BIND_SERVICE,"
            " lower sysctl net.ipv4.ip_unprivileged_port_start,"
            " or let systemd open it (socket activation)"
        )
    elif error.errno == errno.EADDRNOTAVAIL:
        why = "this machine has no such address"
    elif isinstance(error, socket.gaierror):
        reason = (error.strerror or "unknown").lower()
        why = f"{address.host} is not an address of this machine ({reason})"
    else:
        why = (error.strerror or str(error)).lower()
    key = f"listeners.{listener.name}.bind"
    return BindError(error.errno or 0, f"{key}: {address}: {why}")
