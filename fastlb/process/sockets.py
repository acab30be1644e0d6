"""Listening sockets: bound once, one an engine, and never closed and bound again while running."""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Iterator
from dataclasses import dataclass, field

from fastlb.config.address import Address, socket_address
from fastlb.config.effective import EffectiveListener
from fastlb.errors import BindError
from fastlb.process.handed import Handed
from fastlb.process.unix import UnixFile, open_unix

# What Python's socket lacks (linux/udp.h, asm-generic/socket.h, linux/in.h).
SOL_UDP, UDP_GRO, SO_RCVBUFFORCE, IP_PKTINFO = 17, 104, 33, 8


@dataclass
class Listening:
    """The sockets of one address of one listener."""

    id: int
    listener: str
    address: Address
    sockets: list[socket.socket]
    shared: bool = False            # one socket for all engines
    file: UnixFile | None = None    # a unix socket's, ours to remove
    fds: list[int] = field(default_factory=list)
    wanted: Address | None = None   # as configured: port 0 stands for any
    more: list[tuple[int, list[int]]] = field(default_factory=list)

    @property
    def rows(self) -> list[tuple[int, list[int]]]:
        """(id, a socket for each engine): several where there are more sockets than engines."""
        return [(self.id, self.fds), *self.more] if self.fds else []

    @property
    def label(self) -> str:
        """What it was opened for."""
        return label(self.listener, self.wanted or self.address)

    @property
    def shares_port(self) -> bool:
        """Whether other processes may have the same address."""
        return self.address.path is None and bool(
            self.sockets[0].getsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT))

    def close(self) -> None:
        for sock in self.sockets:
            sock.close()
        self.sockets = []
        if self.file is not None:
            self.file.remove()
            self.file = None


def open_all(
    listener: EffectiveListener,
    ids: Iterator[int],
    engines: int,
    handed: Handed,
) -> list[Listening]:
    """Open every address of a listener, or none: BindError says which one could not be."""
    opened: list[Listening] = []
    try:
        for address in listener.binds:
            opened.append(open_one(listener, address, ids, engines, handed))
    except BaseException:
        for listening in opened:
            listening.close()
        raise
    return opened


def open_one(
    listener: EffectiveListener,
    address: Address,
    ids: Iterator[int],
    engines: int,
    handed: Handed,
    beside: bool = False,
) -> Listening:
    """Open one address. `beside`: a socket of ours that goes has its port too."""
    try:
        if address.path is not None:
            opened = _open_unix(listener, address, ids, engines, handed)
        else:
            opened = _open_ip(listener, address, ids, engines, handed, beside)
    except OSError as error:
        raise explained(f"listeners.{listener.name}.bind", address, error) from None
    opened.wanted = address
    return opened


def _open_ip(
    listener: EffectiveListener,
    address: Address,
    ids: Iterator[int],
    engines: int,
    handed: Handed,
    beside: bool,
) -> Listening:
    """Of udp, the kernel shares flows out among the sockets, by their addresses and ports: a flow
    stays with its socket while there are as many."""
    kind = socket.SOCK_DGRAM if address.scheme == "udp" else socket.SOCK_STREAM
    family, where = resolved(address)
    found = handed.take(where, label(listener.name, address), kind)
    if found:
        return _taken(listener, address, ids, engines, found)
    port = where[1]
    shares = engines > 1 or listener.reuse_port or beside
    if port and not listener.reuse_port and not beside:
        # SO_REUSEPORT would let us in beside a stranger of the same user, and split its traffic:
        # so ask once without it.
        with socket.socket(family, kind) as probe:
            bind_one(probe, (where[0], port), share=False)
    sockets: list[socket.socket] = []
    try:
        for _ in range(engines):
            sock = socket.socket(family, kind)
            sockets.append(sock)
            bind_one(sock, (where[0], port), share=shares)
            port = sock.getsockname()[1]
            _options(sock, listener)
        for sock in sockets:
            _listen(sock, listener)
    except BaseException:
        for sock in sockets:
            sock.close()
        raise
    actual = Address(scheme=address.scheme, host=where[0], port=port, path=None)
    fds = [sock.fileno() for sock in sockets]
    return Listening(next(ids), listener.name, actual, sockets, fds=fds)


def _listen(sock: socket.socket, listener: EffectiveListener) -> None:
    if sock.type == socket.SOCK_STREAM:
        sock.listen(listener.backlog)


def _datagram_options(sock: socket.socket, listener: EffectiveListener) -> None:
    assert listener.udp is not None
    try:
        sock.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, listener.udp.receive_buffer)
    except OSError:                     # not root: as much as the kernel gives to everybody
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, listener.udp.receive_buffer)
    host = sock.getsockname()[0]
    if host in ("0.0.0.0", "::"):       # answers have to come from where the client sent to
        if sock.family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_RECVPKTINFO, 1)
        else:
            sock.setsockopt(socket.IPPROTO_IP, IP_PKTINFO, 1)
    # (not where each datagram is looked at by itself)
    gathers = int(listener.udp.answers != 1 and listener.policy is None
                  and listener.proxy_protocol is None)
    try:
        sock.setsockopt(SOL_UDP, UDP_GRO, gathers)
    except OSError:
        pass                            # a kernel before 5.0


def resolved(address: Address) -> tuple[socket.AddressFamily, tuple[str, int]]:
    assert address.host is not None and address.port is not None
    if "%" in address.host:                 # an address of a link, which resolves to itself
        return socket.AF_INET6, (address.host, address.port)
    found = socket.getaddrinfo(
        address.host, address.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
    )
    family, _, _, _, where = found[0]
    return family, (str(where[0]), int(where[1]))


def bind_one(sock: socket.socket, where: tuple[str, int], share: bool) -> None:
    if sock.type == socket.SOCK_STREAM:     # (of udp it lets anybody in who sets it too)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    if sock.family == socket.AF_INET6:
        # [::] and 0.0.0.0 are two addresses, to be named both where both are meant.
        sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
    if share:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    sock.bind(socket_address(*where))


def _options(sock: socket.socket, listener: EffectiveListener) -> None:
    """What accepted connections inherit, so that it costs nothing for each."""
    sock.setblocking(False)
    if sock.type == socket.SOCK_DGRAM:
        _datagram_options(sock, listener)
        return
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
    _listen(sock, listener)
    if sock.family == socket.AF_UNIX and listener.mode is not None:
        os.chmod(sock.getsockname(), listener.mode)
    if sock.family != socket.AF_UNIX and listener.keepalive is None:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 0)


def _shared(
    listener: EffectiveListener, address: Address, id: int, engines: int, sock: socket.socket
) -> Listening:
    if sock.type == socket.SOCK_DGRAM:      # two threads would each have a client's session
        fds = [sock.fileno(), *[-1] * (engines - 1)]
        return Listening(id, listener.name, address, [sock], fds=fds)
    fds = [sock.fileno()] * engines
    return Listening(id, listener.name, address, [sock], shared=engines > 1, fds=fds)


def _taken(
    listener: EffectiveListener, address: Address, ids: Iterator[int], engines: int,
    found: list[socket.socket],
) -> Listening:
    """Sockets that were opened before, by however many engines: each is accepted on by one of
    ours at least, or who waits there would wait in vain."""
    for sock in found:
        _options(sock, listener)
    actual = address
    if address.path is None:
        host, port = found[0].getsockname()[:2]
        actual = Address(scheme=address.scheme, host=str(host), port=int(port), path=None)
    if len(found) == 1:
        return _shared(listener, actual, next(ids), engines, found[0])
    fds = [sock.fileno() for sock in found]
    while len(fds) < engines:           # more engines than before
        more = socket.socket(found[0].family, found[0].type)
        found.append(more)
        assert actual.host is not None and actual.port is not None
        bind_one(more, (actual.host, actual.port), share=True)
        _options(more, listener)
        _listen(more, listener)
        fds.append(more.fileno())
    rows = [fds[i : i + engines] for i in range(0, len(fds), engines)]
    return Listening(
        next(ids), listener.name, actual, found, fds=rows[0],
        more=[(next(ids), row) for row in rows[1:]],
    )


def label(listener: str, wanted: Address) -> str:
    """What an address was opened for, as the parent of a supervised process knows it."""
    udp = " udp" if wanted.scheme == "udp" else ""
    return f"{listener} {wanted.host} {wanted.port} {wanted.path}{udp}"


def _open_unix(
    listener: EffectiveListener,
    address: Address,
    ids: Iterator[int],
    engines: int,
    handed: Handed,
) -> Listening:
    path = address.path
    assert path is not None
    found = handed.take(path, "")
    if found:
        return _taken(listener, address, ids, engines, found)
    sock, file = open_unix(path, listener.mode, listener.backlog)
    _options(sock, listener)
    listening = _shared(listener, address, next(ids), engines, sock)
    listening.file = file
    return listening


def _is_listened_on_here(address: Address) -> bool:
    """Whether a socket of this process has the port, or the path."""
    for entry in os.listdir("/proc/self/fd"):
        try:
            copy = os.dup(int(entry))
        except OSError:                 # (the directory's own is closed by now)
            continue
        try:
            sock = socket.socket(fileno=copy)
        except OSError:                 # not a socket
            os.close(copy)
            continue
        with sock:
            try:
                where = sock.getsockname()
                listens = sock.type == socket.SOCK_DGRAM or sock.getsockopt(
                    socket.SOL_SOCKET, socket.SO_ACCEPTCONN)
            except OSError:
                continue
        if listens and (where == address.path or (
                isinstance(where, tuple) and where[1:2] == (address.port,))):
            return True
    return False


def explained(key: str, address: Address, error: OSError) -> BindError:
    """What is wrong with an address that `key` names."""
    if error.errno == errno.EADDRINUSE and _is_listened_on_here(address):
        why = ("the port is taken: this process listens there already (if a Balancer does, stop it"
               " first: lb.stop().wait(), or the end of its `with`)")
    elif error.errno == errno.EADDRINUSE and address.path is not None:
        why = "another process listens there"
    elif error.errno == errno.EADDRINUSE:
        why = "the port is taken: another process listens there"
        if key.startswith("listeners."):
            why += " (to share it with one that agrees, set reuse_port = true in both)"
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
    return BindError(error.errno or 0, f"{key}: {address}: {why}")
