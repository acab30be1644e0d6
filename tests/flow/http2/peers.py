"""A client that speaks HTTP/2 by the `h2` package, frame by frame where a test wants that."""

from __future__ import annotations

import contextlib
import socket
import ssl
import struct
from dataclasses import dataclass, field
from typing import Any

import h2.config
import h2.connection
import h2.events
import h2.exceptions

from tests.flow.conftest import DEADLINE_S

Headers = list[tuple[str, str]]
DATA, HEADERS, PRIORITY, RST_STREAM, SETTINGS, PING, GOAWAY, WINDOW_UPDATE, CONTINUATION = (
    0, 1, 2, 3, 4, 6, 7, 8, 9)


@dataclass
class Answer:
    fields: dict[str, str] = field(default_factory=dict)
    all: Headers = field(default_factory=list)
    body: bytearray = field(default_factory=bytearray)
    trailers: Headers = field(default_factory=list)
    interims: list[Headers] = field(default_factory=list)
    ended: bool = False
    reset: int | None = None

    @property
    def status(self) -> int:
        return int(self.fields[":status"])


class Client:
    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self.sock.settimeout(DEADLINE_S)
        self.h2 = h2.connection.H2Connection(
            h2.config.H2Configuration(client_side=True, header_encoding="utf-8"))
        self.answers: dict[int, Answer] = {}
        self.goaway: int | None = None
        self.noticed = False        # that the connection is to end
        self.pongs = 0              # answers to our PINGs
        self._unread = b""
        self.ended = False
        self.reads = True           # and lets the server send more
        self.strict = False         # what the package calls wrong is an error
        self.holds = False          # frames, until all are made: they go out with one write
        self.h2.initiate_connection()
        self.flush()

    def flush(self) -> None:
        """What can't be sent shows at the next look."""
        if not self.holds:
            self._send()

    def _send(self) -> None:
        if data := self.h2.data_to_send():
            with contextlib.suppress(OSError):
                self.sock.sendall(data)

    def raw(self, kind: int, flags: int, stream: int, payload: bytes = b"") -> bytes:
        """A frame (RFC 9113, 4.1)."""
        return (struct.pack(">I", len(payload))[1:] + bytes([kind, flags])
                + struct.pack(">I", stream) + payload)

    def ask(
        self, path: str = "/", *fields: tuple[str, str], method: str = "GET",
        body: bytes | None = None, authority: str = "site.test", ends: bool = True,
    ) -> int:
        """Send a request, and its whole body, as far as the windows let us; the stream's number."""
        stream = self.h2.get_next_available_stream_id()
        head = [(":method", method), (":scheme", "https"), (":path", path)]
        if authority:
            head.append((":authority", authority))
        self.answers[stream] = Answer()
        self.h2.send_headers(stream, [*head, *fields], end_stream=body is None and ends)
        self.flush()
        if body is not None:
            self.give(stream, body, ends)
        return stream

    def give(self, stream: int, body: bytes, ends: bool = True) -> None:
        at = 0
        while at < len(body):
            if self.answers[stream].reset is not None:
                return                      # it needs no more
            room = min(self.h2.local_flow_control_window(stream), self.h2.max_outbound_frame_size)
            if room == 0:
                self.look()
                continue
            self.h2.send_data(stream, body[at : at + room])
            at += room
            self.flush()
        if ends:
            self.h2.end_stream(stream)
            self.flush()

    def look(self) -> bool:
        """Take in what has come; False at the end."""
        self._send()
        try:
            data = self.sock.recv(65536)
        except TimeoutError:
            raise
        except OSError:
            data = b""
        if not data:
            self.ended = True
            return False
        self._receive(data)
        self.flush()
        return True

    def _receive(self, data: bytes) -> None:
        """Frame by frame: what answers frames that were written by hand may be no part of what `h2`
        knows of. Nor is a GOAWAY that only gives notice: for the package it is the end."""
        self._unread += data
        while len(self._unread) >= 9:
            size = 9 + int.from_bytes(self._unread[:3], "big")
            if len(self._unread) < size:
                return
            frame, self._unread = self._unread[:size], self._unread[size:]
            if frame[3] == GOAWAY and frame[9:13] == b"\x7f\xff\xff\xff":
                self.noticed = True
                continue
            try:
                for event in self.h2.receive_data(frame):
                    self._take(event)
            except h2.exceptions.ProtocolError:
                if self.strict:
                    raise

    def _take(self, event: Any) -> None:
        answer = self.answers.get(getattr(event, "stream_id", None) or 0, Answer())
        headers: Headers = list(getattr(event, "headers", None) or [])
        if isinstance(event, h2.events.ResponseReceived):
            answer.all = headers
            answer.fields = dict(headers)
        elif isinstance(event, h2.events.InformationalResponseReceived):
            answer.interims.append(headers)
        elif isinstance(event, h2.events.DataReceived):
            answer.body += event.data
            if self.reads:
                self.h2.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
        elif isinstance(event, h2.events.TrailersReceived):
            answer.trailers = headers
        elif isinstance(event, h2.events.StreamEnded):
            answer.ended = True
        elif isinstance(event, h2.events.StreamReset):
            answer.reset = int(event.error_code or 0)
        elif isinstance(event, h2.events.PingAckReceived):
            self.pongs += 1
        elif isinstance(event, h2.events.ConnectionTerminated):
            self.goaway = int(event.error_code or 0)

    def answer(self, stream: int) -> Answer:
        """Wait for the whole of it, or its reset."""
        answer = self.answers[stream]
        while not answer.ended and answer.reset is None:
            assert self.look(), f"the connection ended: {self.goaway}"
        return answer

    def get(self, path: str = "/", *fields: tuple[str, str], **keys: Any) -> Answer:
        return self.answer(self.ask(path, *fields, **keys))

    def look_if_any(self) -> bool:
        """The same, without waiting: True too when nothing has come."""
        self.sock.settimeout(0)
        try:
            data = self.sock.recv(65536)
        except (ssl.SSLWantReadError, BlockingIOError):
            return True
        except OSError:
            data = b""
        finally:
            self.sock.settimeout(DEADLINE_S)
        self._receive(data)
        self.ended = not data
        return bool(data)

    def until_end(self) -> None:
        while self.look():
            pass

    def close(self) -> None:
        self.sock.close()
