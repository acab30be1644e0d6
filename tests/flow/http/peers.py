"""Peers that speak HTTP/1.1 byte by byte: an origin that does as it is told, and a client."""

from __future__ import annotations

import contextlib
import re
import socket
import threading
from collections.abc import Callable
from dataclasses import dataclass, field

from tests import ports
from tests.flow.conftest import DEADLINE_S
from tests.flow.secure import as_server


@dataclass
class Message:
    """A message as it arrived: its first line, its fields in order, its body without framing."""

    line: str
    fields: list[tuple[str, str]]
    body: bytes = b""
    trailers: list[tuple[str, str]] = field(default_factory=list)

    def all(self, name: str) -> list[str]:
        return [value for key, value in self.fields if key.lower() == name.lower()]

    def __getitem__(self, name: str) -> str:
        values = self.all(name)
        assert len(values) == 1, (name, self.fields)
        return values[0]

    def __contains__(self, name: str) -> bool:
        return bool(self.all(name))

    @property
    def status(self) -> int:
        return int(self.line.split(" ")[1])

    @property
    def target(self) -> str:
        return self.line.split(" ")[1]

    @property
    def method(self) -> str:
        return self.line.split(" ")[0]


class Wire:
    """A socket with what was read ahead of need."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self.sock.settimeout(DEADLINE_S)
        self.ahead = b""

    def send(self, data: bytes) -> None:
        self.sock.sendall(data)

    def close(self) -> None:
        self.sock.close()

    def some(self) -> bytes:
        """What there is; b"" at the end."""
        if self.ahead:
            data, self.ahead = self.ahead, b""
            return data
        return self.sock.recv(65536)

    def exactly(self, n: int) -> bytes:
        if len(self.ahead) < n:
            got = bytearray(self.ahead)         # (adding to bytes would copy all of them)
            while len(got) < n:
                piece = self.sock.recv(65536)
                if not piece:
                    raise EOFError(f"{len(got)} of {n} bytes")
                got += piece
            self.ahead = bytes(got)
        data, self.ahead = self.ahead[:n], self.ahead[n:]
        return data

    def until(self, end: bytes) -> bytes:
        while end not in self.ahead:
            piece = self.sock.recv(65536)
            if not piece:
                raise EOFError(repr(self.ahead))
            self.ahead += piece
        data, _, self.ahead = self.ahead.partition(end)
        return data + end

    def to_end(self) -> bytes:
        data = bytearray(self.ahead)
        self.ahead = b""
        while piece := self.sock.recv(65536):
            data += piece
        return bytes(data)

    def head(self) -> Message:
        """A head, which must be written as strictly as RFC 9112 has it."""
        text = self.until(b"\r\n\r\n").decode("latin-1")
        first, *lines = text.removesuffix("\r\n\r\n").split("\r\n")
        fields = []
        for line in lines:
            found = re.fullmatch(r"([!#$%&'*+.^_`|~0-9A-Za-z-]+):[ \t]*(.*?)[ \t]*", line)
            assert found, line
            fields.append((found[1], found[2]))
        return Message(first, fields)

    def chunks(self, message: Message) -> None:
        while True:
            size = self.until(b"\r\n")
            assert re.fullmatch(rb"[0-9a-f]+\r\n", size), size
            n = int(size, 16)
            if n == 0:
                break
            message.body += self.exactly(n)
            assert self.exactly(2) == b"\r\n"
        while (line := self.until(b"\r\n")) != b"\r\n":
            name, _, value = line.decode().partition(":")
            message.trailers.append((name, value.strip()))

    def request(self) -> Message:
        message = self.head()
        if "transfer-encoding" in message:
            assert message["transfer-encoding"] == "chunked"
            assert "content-length" not in message
            self.chunks(message)
        elif "content-length" in message:
            message.body = self.exactly(int(message["content-length"]))
        return message

    def response(self, method: str = "GET") -> Message:
        """The next response, interim ones too."""
        message = self.head()
        if method == "HEAD" or message.status < 200 or message.status in (204, 304):
            return message
        if "transfer-encoding" in message:
            assert message["transfer-encoding"] == "chunked"
            self.chunks(message)
        elif "content-length" in message:
            message.body = self.exactly(int(message["content-length"]))
        else:
            message.body = self.to_end()
        return message


def answer(body: bytes = b"", status: str = "200 OK", *fields: str) -> bytes:
    lines = "".join(f"{line}\r\n" for line in fields)
    return f"HTTP/1.1 {status}\r\n{lines}Content-Length: {len(body)}\r\n\r\n".encode() + body


Serve = Callable[[Wire, Message], bool | None]


class HttpOrigin:
    """Listens, and calls `serve` for each request, in a thread for each connection.

    `serve` writes what it likes; the connection goes on unless it returns False.
    """

    def __init__(self, serve: Serve | None = None, name: str = "origin") -> None:
        self.name = name
        self.serve = serve or self._echo
        self.requests: list[Message] = []
        self.connections = 0
        self.wires: list[Wire] = []
        self.listener = ports.server()
        threading.Thread(target=self._accept, daemon=True).start()

    @property
    def address(self) -> str:
        host, port = self.listener.getsockname()
        return f"{host}:{port}"

    def _accept(self) -> None:
        while True:
            try:
                sock, _ = self.listener.accept()
            except OSError:
                return
            self.connections += 1
            # What `serve` writes in several parts goes out at once, and not after 40 ms.
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            threading.Thread(target=self._begin, args=(sock,), daemon=True).start()

    def _begin(self, sock: socket.socket) -> None:
        try:
            wire = Wire(as_server(sock))
        except OSError:                 # it went during its handshake
            sock.close()
            return
        self.wires.append(wire)
        self._run(wire)

    def _run(self, wire: Wire) -> None:
        wire.sock.settimeout(None)
        try:
            while True:
                request = wire.request()
                self.requests.append(request)
                if self.serve(wire, request) is False:
                    break
        except (EOFError, OSError):
            pass
        finally:
            wire.close()

    def _echo(self, wire: Wire, request: Message) -> None:
        body = f"{self.name} {request.line}".encode() + b"\n" + request.body
        if request.method == "HEAD":
            wire.send(answer(body)[: -len(body)])
        else:
            wire.send(answer(body))

    def close_wires(self) -> None:
        """End all connections."""
        for wire in self.wires:
            try:
                wire.sock.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass

    def close(self) -> None:
        # A socket that a thread still accepts on would take in one more connection.
        with contextlib.suppress(OSError):
            self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()
        self.close_wires()


def get(path: str = "/", *fields: str, method: str = "GET", body: bytes = b"") -> bytes:
    lines = "".join(f"{line}\r\n" for line in fields)
    if body:
        lines += f"Content-Length: {len(body)}\r\n"
    return f"{method} {path} HTTP/1.1\r\nHost: site.test\r\n{lines}\r\n".encode() + body
