"""HTTP/2 as tests of HTTP/1.1 can use it: a socket that takes requests and gives answers as text.
What is written is asked by streams, so this is for tests whose matter isn't how a request is
written; hostile bytes have test_hostile.py."""

from __future__ import annotations

import re
import socket
from http import HTTPStatus
from typing import Any

import h2.config

from tests.flow.http2.peers import Answer, Client, Headers

# What has no place in HTTP/2 (RFC 9113, 8.2.2), or stands elsewhere.
NOT_SENT = {"connection", "keep-alive", "proxy-connection", "transfer-encoding", "upgrade", "host",
            "http2-settings"}
NEVER_SENT_TO_US = NOT_SENT - {"host"}


class _Asked:
    """One request, and how much of its answer was given on."""

    def __init__(self, stream: int, method: str, answer: Answer) -> None:
        self.stream, self.method, self.answer = stream, method, answer
        self.given = 0              # of the body
        self.interims = 0
        self.begun = self.chunked = False

    def text(self) -> bytes:
        """What has come since."""
        answer, made = self.answer, b""
        for fields in answer.interims[self.interims:]:
            self.interims += 1
            made += _head(fields)
        if answer.all and not self.begun:
            self.begun = True
            none = self.method == "HEAD" or answer.status in (204, 304)
            self.chunked = not none and "content-length" not in answer.fields
            made += _head(answer.all, b"transfer-encoding: chunked\r\n" if self.chunked else b"")
        if piece := bytes(answer.body[self.given:]):
            self.given += len(piece)
            made += b"%x\r\n%s\r\n" % (len(piece), piece) if self.chunked else piece
        if answer.ended and self.chunked:
            made += b"0\r\n" + b"".join(map(_line, answer.trailers)) + b"\r\n"
        return made


def _line(field: tuple[str, str]) -> bytes:
    name, value = field
    assert re.fullmatch(r"[!#$%&'*+.^_`|~0-9a-z-]+", name), field
    assert name not in NEVER_SENT_TO_US and not set(value) & set("\r\n\0"), field
    return f"{name}: {value}\r\n".encode()


def _head(fields: Headers, more: bytes = b"") -> bytes:
    name, status = fields[0]
    assert name == ":status"
    line = f"HTTP/1.1 {status} {HTTPStatus(int(status)).phrase}\r\n".encode()
    return line + b"".join(map(_line, fields[1:])) + more + b"\r\n"


class H2Socket:
    """As much of a socket as peers.Wire uses. An answer that is reset is a connection's reset."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self._client = Client(sock)
        self._client.h2.config = h2.config.H2Configuration(
            client_side=True, header_encoding="latin-1", validate_outbound_headers=False,
            normalize_outbound_headers=False)
        self._client.strict = True
        self._unsent = b""
        self._sending: _Asked | None = None     # whose body goes on
        self._left: int | None = None           # of it, or of its chunk; None: chunks' lines follow
        self._coded = False
        self._asked: list[_Asked] = []
        self._ahead = b""

    def __getattr__(self, name: str) -> Any:
        return getattr(self._sock, name)

    # --- what goes out ---

    def sendall(self, data: bytes) -> None:
        if self._client.ended or self._client.goaway is not None:
            raise ConnectionResetError("it has ended")
        self._unsent += data
        self._client.holds = True   # (with a head goes what there is of its body)
        while self._body() if self._sending is not None else self._request():
            pass
        self._client.holds = False
        self._client.flush()

    def send(self, data: bytes) -> int:
        self.sendall(data)
        return len(data)

    def _request(self) -> bool:
        text, end, rest = self._unsent.partition(b"\r\n\r\n")
        if not end:
            return False
        self._unsent = rest
        line, *lines = text.decode("latin-1").split("\r\n")
        method, target, _ = line.split(" ")
        split = [one.partition(":") for one in lines]
        fields = [(name.lower(), value.strip()) for name, _, value in split]
        lookup = dict(fields)
        host = lookup.get("host", "")
        if target.startswith("http://"):
            target = "/" + target[7:].partition("/")[2]
        self._coded = "transfer-encoding" in lookup
        self._left = None if self._coded else int(lookup.get("content-length", 0))
        sent: Any = [(name, value.encode("latin-1")) for name, value in fields
                     if name not in NOT_SENT]
        stream = self._client.ask(
            target, *sent, method=method, authority=host, ends=self._left == 0)
        asked = _Asked(stream, method, self._client.answers[stream])
        self._asked.append(asked)
        self._sending = None if self._left == 0 else asked
        return True

    def _body(self) -> bool:
        """A piece of it, if there is one."""
        assert self._sending is not None
        if self._left is None:
            return self._chunk()
        piece, self._unsent = self._unsent[: self._left], self._unsent[self._left:]
        self._left -= len(piece)
        ends = self._left == 0 and not self._coded
        if piece:
            self._client.give(self._sending.stream, piece, ends=ends)
        if self._left == 0:
            self._left = None
            if ends:
                self._sending = None
        return bool(piece)

    def _chunk(self) -> bool:
        """Its line; of the last one, trailers too."""
        assert self._sending is not None
        found = re.match(rb"(?:\r\n)?([0-9a-fA-F]+)[^\r\n]*\r\n", self._unsent)
        if not found:
            return False
        size, rest = int(found[1], 16), self._unsent[found.end():]
        if size:
            self._left, self._unsent = size, rest
            return True
        lines, end, rest = (b"\r\n" + rest).partition(b"\r\n\r\n")
        if not end:
            return False
        self._unsent = rest
        trailers = [(name.decode().lower(), value.strip().decode()) for name, _, value in
                    (one.partition(b":") for one in lines.split(b"\r\n")[1:])]
        stream = self._sending.stream
        if trailers:
            self._client.h2.send_headers(stream, trailers, end_stream=True)
            self._client.flush()
        else:
            self._client.give(stream, b"")
        self._sending = None
        return True

    # --- what comes back ---

    def recv(self, size: int, flags: int = 0) -> bytes:
        """b"" at the connection's end."""
        while not self._ahead:
            if self._asked:
                asked = self._asked[0]
                self._ahead = asked.text()
                if asked.answer.ended:
                    self._asked.pop(0)
                    if self._sending is asked:
                        self._sending, self._unsent = None, b""
                    continue
                if not self._ahead and asked.answer.reset is not None:
                    raise ConnectionResetError(f"reset: {asked.answer.reset}")
            if not self._ahead and not self._client.look():
                return b""
        data, self._ahead = self._ahead[:size], self._ahead[size:]
        return data
