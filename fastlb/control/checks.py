"""How a server is asked whether it is well: one connection, and what is said on it; or a datagram.

Thousands of servers may be asked each second, beside the traffic. So a conversation is a generator
that is woken when its socket is ready, and not a task with its futures.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import select
import socket
import sys
from typing import TYPE_CHECKING, Any

from fastlb.compile.snapshot import SocketAddress
from fastlb.config.address import socket_address
from fastlb.config.health import EffectiveHealth
from fastlb.control.wire import Conversation, Unwell, Wire

if TYPE_CHECKING:
    from fastlb.control.secured import Secure

READ_BYTES_MAX = 65_536     # of a body, or of what is said to `expect`
# Of an answer with its head and its chunks' lines, so that a server that never ends its head
# doesn't keep us.
ANSWER_BYTES_MAX = 524_288
# What a server may say of itself in an answer, for balance = "prequal".
IN_FLIGHT, LATENCY_MS = b"x-in-flight", b"x-latency-ms"
REPORTED_MAX = 1_000_000_000
USER_AGENT = "fastlb-health"
# Conversations under way. Each has a descriptor, and needs the loop several times in its timeout.
AT_ONCE = 512
EVENTS = select.EPOLLIN | select.EPOLLOUT | select.EPOLLET
# A timeout that comes later than this share of itself says more of our loop than of the server.
LATE_SHARE = 0.5
NO_LINGER = b"\1\0\0\0\0\0\0\0"     # struct linger: on, 0 s
RTT_AT = 68                         # of struct tcp_info: tcpi_rtt, in us
# What we have run out of ourselves, which says nothing of a server.
OURS = {errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM, errno.EADDRNOTAVAIL}


class Report:
    """What a server said of itself."""

    in_flight: int | None = None
    latency_ms = 0.0
    nobody = False              # its host says that nobody listens there for datagrams
    connect_s: float | None = None      # how long connecting took, as the kernel measured it


class Visits:
    """Conversations under way. They have an epoll of their own, which the loop sees as one
    descriptor: a socket costs one system call there, and no object of the loop's."""

    def __init__(self) -> None:
        self._epoll = select.epoll()
        self._places = asyncio.Semaphore(AT_ONCE)
        self._under_way: dict[int, _Visit] = {}
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(self._epoll.fileno(), self._turn)

    async def make(
        self, address: SocketAddress, health: EffectiveHealth, name: str, report: Report,
        secure: Secure | None = None,
    ) -> str | None:
        """Check one server: "" if all is well, else what is wrong; None if it could not be checked
        for want of something of ours. `name` is its Host; `secure`: over TLS."""
        async with self._places:
            return await self._make(address, health, name, report, secure)

    async def _make(
        self, address: SocketAddress, health: EffectiveHealth, name: str, report: Report,
        secure: Secure | None,
    ) -> str | None:
        family = socket.AF_UNIX if isinstance(address, str) else (
            socket.AF_INET6 if ":" in address[0] else socket.AF_INET
        )
        kind = socket.SOCK_DGRAM if health.kind == "udp" else socket.SOCK_STREAM
        try:
            sock = socket.socket(family, kind | socket.SOCK_NONBLOCK)
        except OSError as error:
            return _what(error)
        try:
            where = address if isinstance(address, str) else socket_address(*address)
        except OSError as error:
            sock.close()
            return f"{address[0]}: {error.strerror or error}".lower()
        visit = _Visit(
            _converse(sock, where, health, name, report, secure), self._loop.create_future()
        )
        due_s = self._loop.time() + health.timeout_s
        timeout = self._loop.call_at(due_s, self._give_up, visit, due_s, health.timeout_s)
        try:
            if visit.go_on():
                self._under_way[sock.fileno()] = visit
                self._epoll.register(sock, EVENTS)
            return await visit.result
        finally:
            timeout.cancel()
            self._under_way.pop(sock.fileno(), None)
            visit.conversation.close()
            sock.close()

    def _give_up(self, visit: _Visit, due_s: float, timeout_s: float) -> None:
        if self._loop.time() - due_s > timeout_s * LATE_SHARE:
            visit.end(None)             # we were busy ourselves
        else:
            visit.end(f"no answer within {timeout_s:g} s")

    def _turn(self) -> None:
        for fd, _ in self._epoll.poll(0):
            visit = self._under_way.get(fd)
            if visit is not None:
                visit.go_on()

    def close(self) -> None:
        """When no check is under way."""
        self._loop.remove_reader(self._epoll.fileno())
        self._epoll.close()


class _Visit:
    """One conversation. `result` becomes what Visits.make() returns."""

    def __init__(self, conversation: Conversation, result: asyncio.Future[str | None]) -> None:
        self.conversation = conversation
        self.result = result

    def go_on(self) -> bool:
        """Whether it waits."""
        try:
            next(self.conversation)
            return True
        except StopIteration:
            self.end("")
        except Unwell as error:
            self.end(str(error))
        except OSError as error:
            self.end(_what(error))
        except Exception as error:      # of a library; the other conversations go on
            self.end(f"it can't be asked: {error!r}")
        return False

    def end(self, why: str | None) -> None:
        if not self.result.done():
            self.result.set_result(why)


def _what(error: OSError) -> str | None:
    if error.errno in OURS:
        return None
    return (os.strerror(error.errno) if error.errno else str(error)).lower()


def _converse(
    sock: socket.socket, address: str | tuple[Any, ...], health: EffectiveHealth, name: str,
    report: Report, secure: Secure | None,
) -> Conversation:
    while error := sock.connect_ex(address):        # asked again, it says how it went
        if error not in (errno.EINPROGRESS, errno.EALREADY):
            raise OSError(error, os.strerror(error))
        yield
    if health.kind == "udp":
        yield from _ask_by_datagram(sock, health, report)
        return
    report.connect_s = _connect_s(sock)
    wire = Wire(sock)
    yield from wire.send(health.first)
    if health.kind == "tcp":
        # A port that is only looked at: leave no TIME_WAIT.
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, NO_LINGER)
        return
    if secure is not None:
        from fastlb.control.secured import SecureWire

        wire = SecureWire(sock, secure)
    yield from wire.open()
    if health.kind == "grpc" or (health.kind == "http" and health.speaks_h2):
        yield from _ask_framed(wire, health, name, report, secure is not None)
    elif health.kind == "http":
        yield from _ask(wire, health, name, report)
    elif health.kind == "expect":
        yield from _talk(wire, health)
    yield from wire.close()


def _connect_s(sock: socket.socket) -> float | None:
    """Return a connection's round trip in seconds, which its handshake took. None: a lost packet
    had to be sent again, or it is no TCP."""
    try:
        info = sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, RTT_AT + 4)
    except OSError:
        return None
    rtt_us = int.from_bytes(info[RTT_AT:], sys.byteorder)
    return rtt_us / 1e6 if rtt_us else None


def _talk(wire: Wire, health: EffectiveHealth) -> Conversation:
    yield from wire.send(health.send)
    said = b""
    while health.expect not in said:
        piece = yield from wire.receive()
        if not piece or len(said) > READ_BYTES_MAX:
            raise Unwell(f"it said {_shown(said)}")
        said += piece


def _ask_by_datagram(
    sock: socket.socket, health: EffectiveHealth, report: Report
) -> Conversation:
    """The socket is connected, so that nobody but the server is heard. What gets lost is a check
    that failed, as it is with clients."""
    try:
        while True:
            try:
                sock.send(health.send)
                break
            except BlockingIOError:
                yield
        while True:
            try:
                said = sock.recv(READ_BYTES_MAX)
                break
            except BlockingIOError:
                yield
    except ConnectionRefusedError:
        report.nobody = True
        raise
    if health.expect not in said:
        raise Unwell(f"it said {_shown(said)}")


def _ask(wire: Wire, health: EffectiveHealth, name: str, report: Report) -> Conversation:
    import httptools  # not needed by who has no such checks

    yield from wire.send(_request(health, name))
    answer = Answer(report)
    parser = answer.parser = httptools.HttpResponseParser(answer)
    n = 0
    while not answer.complete:
        piece = yield from wire.receive()
        n += len(piece)
        if not piece:
            break
        try:
            parser.feed_data(piece)
        except httptools.HttpParserUpgrade:
            break
        except httptools.HttpParserError:
            raise Unwell(f"its answer is no HTTP: {_shown(piece)}") from None
        if answer.status and not health.body:
            break
        if n > ANSWER_BYTES_MAX:
            raise Unwell("its answer has no end")
    if not answer.status:
        raise Unwell("it closed without an answer")
    _judge(health, answer.status, answer.body)


def _ask_framed(
    wire: Wire, health: EffectiveHealth, name: str, report: Report, secure: bool
) -> Conversation:
    from fastlb.control import framed  # not needed by who has no such checks

    if secure and wire.protocol != "h2":
        raise Unwell("it doesn't choose h2")
    fields = framed.head(health, name, secure, USER_AGENT)
    if health.kind == "grpc":
        yield from framed.check_grpc(wire, health, fields)
        return
    answer = yield from framed.ask(wire, fields, enough=not health.body)
    told = Answer(report)
    for key, value in answer.fields.items():
        told.on_header(key, value)
    _judge(health, answer.status, answer.body)


def _judge(health: EffectiveHealth, status: int, body: bytes) -> None:
    if not any(first <= status <= last for first, last in health.statuses):
        raise Unwell(f"it answered {status}")
    if health.body not in body:
        raise Unwell(f"its answer has no {_shown(health.body)}")


def _request(health: EffectiveHealth, name: str) -> bytes:
    host = health.host or ("localhost" if name.startswith("unix:") else name)
    return (
        f"{health.method} {health.path} HTTP/1.1\r\nHost: {host}\r\n"
        f"User-Agent: {USER_AGENT}\r\nAccept: */*\r\nConnection: close\r\n\r\n"
    ).encode()


class Answer:
    """What httptools tells of an answer."""

    def __init__(self, report: Report) -> None:
        self.parser: Any = None
        self.status = 0             # once its head is here
        self.complete = False
        self.body = b""
        self._report: Any = report

    def on_header(self, name: bytes, value: bytes) -> None:
        with contextlib.suppress(ValueError):       # what isn't a number says nothing
            if name.lower() == IN_FLIGHT:
                self._report.in_flight = min(max(int(value), 0), REPORTED_MAX)
            elif name.lower() == LATENCY_MS:
                self._report.latency_ms = min(max(0.0, float(value)), REPORTED_MAX)

    def on_headers_complete(self) -> None:
        status = self.parser.get_status_code()
        if status >= 200 or status == 101:      # others say that the answer is still to come
            self.status = status

    def on_body(self, data: bytes) -> None:
        self.body = (self.body + data)[:READ_BYTES_MAX]
        if len(self.body) == READ_BYTES_MAX:
            self.complete = True

    def on_message_complete(self) -> None:
        self.complete = self.status != 0


def _shown(data: bytes) -> str:
    text = repr(data[:40])[1:]
    return text + ("..." if len(data) > 40 else "")
