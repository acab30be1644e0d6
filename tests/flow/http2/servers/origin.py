"""An origin that speaks HTTP/2 by the `h2` package and does as it is told, frame by frame where a
test wants that."""

from __future__ import annotations

import contextlib
import socket
import struct
import threading
from collections.abc import Callable
from typing import Any

import h2.config
import h2.connection
import h2.events
import h2.exceptions
import h2.settings

from tests import ports
from tests.flow.conftest import DEADLINE_S
from tests.flow.secure import as_server

Headers = list[tuple[str, str]]
Settings = dict[h2.settings.SettingCodes, int]
GONE = (EOFError, OSError, h2.exceptions.ProtocolError)


def frame(kind: int, flags: int, stream: int, payload: bytes = b"") -> bytes:
    """RFC 9113, 4.1."""
    return (struct.pack(">I", len(payload))[1:] + bytes([kind, flags])
            + struct.pack(">I", stream) + payload)


def _text(headers: Any) -> Headers:
    return [(str(name), str(value)) for name, value in headers]


class Call:
    """A request, and what it is answered. Writing raises EOFError when the stream has ended."""

    def __init__(self, link: Link, stream: int, fields: Headers) -> None:
        self.link = link
        self.stream = stream
        self.all = fields
        self.fields = dict(fields)
        self.body = bytearray()
        self.trailers: Headers = []
        self.whole = threading.Event()
        self.over = threading.Event()       # the stream was reset, or its connection ended
        self.reset: int | None = None
        self.seen = 0                       # bytes of the body, see `part`
        self.sent = 0                       # bytes of the answer's body

    @property
    def line(self) -> str:
        return f"{self.fields[':method']} {self.fields[':path']}"

    @property
    def path(self) -> str:
        return self.fields[":path"]

    def head(self, status: int = 200, *fields: tuple[str, str], ends: bool = False) -> None:
        with self.link.lock:
            self._look()
            self.link.h2.send_headers(
                self.stream, [(":status", str(status)), *fields], end_stream=ends)
            self.link.flush()

    def data(self, body: bytes, ends: bool = False) -> None:
        """As the windows allow."""
        at = 0
        with self.link.lock:
            while at < len(body):
                self._look()
                room = min(self.link.h2.local_flow_control_window(self.stream),
                           self.link.h2.max_outbound_frame_size, len(body) - at)
                if room <= 0:
                    self.link.lock.wait(1)
                    continue
                self.link.h2.send_data(self.stream, body[at : at + room])
                self.link.flush()
                at += room
                self.sent += room
        if ends:
            self.end()

    def end(self, *trailers: tuple[str, str]) -> None:
        with self.link.lock:
            self._look()
            if trailers:
                self.link.h2.send_headers(self.stream, list(trailers), end_stream=True)
            else:
                self.link.h2.end_stream(self.stream)
            self.link.flush()

    def part(self) -> bytes:
        """What has come of the body since the last one; b"" at its end."""
        with self.link.lock:
            self.link.lock.wait_for(
                lambda: len(self.body) > self.seen or self.whole.is_set(), DEADLINE_S)
            part = bytes(self.body[self.seen :])
            self.seen = len(self.body)
        return part

    def answer(self, body: bytes = b"", status: int = 200, *fields: tuple[str, str]) -> None:
        """A whole one, with its length."""
        length = ("content-length", str(len(body)))
        without = self.fields[":method"] == "HEAD" or status in (204, 304)
        self.head(status, *fields, *([] if status == 204 else [length]), ends=without or not body)
        if body and not without:
            self.data(body, ends=True)

    def refuse(self, code: int) -> None:
        with self.link.lock:
            self._look()
            self.link.h2.reset_stream(self.stream, code)
            self.link.flush()

    def _look(self) -> None:
        if self.over.is_set():
            raise EOFError


Serve = Callable[[Call], object]


class Link:
    """A connection. What comes is taken in by a thread; others write to it, each with the lock."""

    def __init__(self, origin: H2Origin, sock: socket.socket) -> None:
        self.origin = origin
        self.sock = sock
        self.lock = threading.Condition(threading.RLock())
        self.calls: dict[int, Call] = {}
        self.ended = False
        self.goaway: int | None = None
        self.most = 0                       # requests at a time
        self.h2 = h2.connection.H2Connection(h2.config.H2Configuration(
            client_side=False, header_encoding="utf-8", validate_outbound_headers=False,
            normalize_outbound_headers=False, validate_inbound_headers=origin.strict))

    def flush(self) -> None:
        if data := self.h2.data_to_send():
            self.sock.sendall(data)

    def raw(self, data: bytes) -> None:
        """Frames that the package knows nothing of."""
        with self.lock:
            self.sock.sendall(data)

    def cut(self) -> None:
        with contextlib.suppress(OSError):
            self.sock.shutdown(socket.SHUT_RDWR)

    def leave(self, last: int) -> None:
        """GOAWAY. (The package would take and send nothing after one of its own.)"""
        self.raw(frame(7, 0, 0, struct.pack(">II", last, 0)))

    def run(self) -> None:
        try:
            with self.lock:
                if self.origin.settings is not None:
                    self.h2.local_settings = h2.settings.Settings(
                        client=False, initial_values=self.origin.settings)
                self.h2.initiate_connection()
                self.flush()
            while data := self.sock.recv(65536):
                with self.lock:
                    for event in self.h2.receive_data(data):
                        self._take(event)
                    self.flush()
                    self.lock.notify_all()
        except GONE:
            pass
        finally:
            with self.lock:
                self.ended = True
                for call in self.calls.values():
                    call.over.set()
                    call.whole.set()
                self.lock.notify_all()
            self.cut()
            self.sock.close()

    def _take(self, event: Any) -> None:
        if isinstance(event, h2.events.RequestReceived):
            call = Call(self, event.stream_id, _text(event.headers))
            self.calls[call.stream] = call
            self.most = max(self.most, self.h2.open_inbound_streams)
            self.origin.requests.append(call)
            if self.origin.early:
                self._serve(call)
        elif isinstance(event, h2.events.ConnectionTerminated):
            self.goaway = int(event.error_code or 0)
        self._take_part(event, self.calls.get(getattr(event, "stream_id", None) or 0))

    def _take_part(self, event: Any, call: Call | None) -> None:
        if call is None:
            return
        if isinstance(event, h2.events.DataReceived):
            call.body += event.data
            if self.origin.reads:
                self.h2.acknowledge_received_data(event.flow_controlled_length, call.stream)
        elif isinstance(event, h2.events.TrailersReceived):
            call.trailers = _text(event.headers)
        elif isinstance(event, h2.events.StreamReset):
            call.reset = int(event.error_code or 0)
            call.over.set()
            call.whole.set()
        elif isinstance(event, h2.events.StreamEnded):
            call.whole.set()
            if not self.origin.early:
                self._serve(call)

    def _serve(self, call: Call) -> None:
        def run() -> None:
            with contextlib.suppress(*GONE):
                self.origin.serve(call)

        threading.Thread(target=run, daemon=True).start()


class H2Origin:
    """Listens, and calls `serve` for each request in a thread of its own: when it is whole, or
    `early`, when its head has come. `begin` may have the connection instead, before any of it."""

    def __init__(
        self, serve: Serve | None = None, name: str = "origin", early: bool = False,
        settings: Settings | None = None, begin: Callable[[socket.socket], object] | None = None,
    ) -> None:
        self.name = name
        self.serve = serve or self.echo
        self.early = early
        self.settings = settings
        self.begin = begin
        self.strict = True                  # and wants an authority
        self.reads = True                   # and lets clients send more
        self.requests: list[Call] = []
        self.links: list[Link] = []
        self.connections = 0
        self.listener = ports.server()
        threading.Thread(target=self._accept, daemon=True).start()

    @property
    def address(self) -> str:
        host, port = self.listener.getsockname()
        return f"{host}:{port}"

    def echo(self, call: Call) -> None:
        call.answer(f"{self.name} {call.line}\n".encode() + call.body)

    def _accept(self) -> None:
        while True:
            try:
                sock, _ = self.listener.accept()
            except OSError:
                return
            self.connections += 1
            threading.Thread(target=self._run, args=(sock,), daemon=True).start()

    def _run(self, plain: socket.socket) -> None:
        plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        try:
            sock = as_server(plain)
        except OSError:                     # it went during its handshake
            plain.close()
            return
        if self.begin is not None:
            sock.settimeout(DEADLINE_S)
            with contextlib.suppress(*GONE):
                self.begin(sock)
            sock.close()
            return
        link = Link(self, sock)
        self.links.append(link)
        link.run()

    def open(self) -> int:
        return sum(not link.ended for link in self.links)

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()
        for link in self.links:
            link.cut()
