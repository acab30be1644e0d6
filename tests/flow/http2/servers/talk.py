"""Clients of either version in front of servers that speak HTTP/2: one question, one answer."""

from __future__ import annotations

from dataclasses import dataclass, field

from tests.flow.http.conftest import HttpSite
from tests.flow.http2.peers import Answer, Client, Headers


@dataclass
class Got:
    status: int = 0
    fields: dict[str, str] = field(default_factory=dict)
    body: bytes = b""
    trailers: Headers = field(default_factory=list)
    interim: list[int] = field(default_factory=list)
    whole: bool = True


class Talk:
    """Requests of HTTP/1.1, each on a connection of its own, or of HTTP/2 on one."""

    def __init__(self, site: HttpSite, version: str) -> None:
        self.site = site
        self.version = version
        self.client = Client(site.site.connect()) if version == "h2" else None

    def ask(
        self, path: str = "/", *fields: tuple[str, str], method: str = "GET",
        body: bytes | None = None, says: bool = True,
    ) -> Got:
        """The body with its length, or as it comes."""
        if self.client is not None:
            length = [("content-length", str(len(body)))] if says and body is not None else []
            # A small one goes out with its head, in one write: it can be asked again then.
            self.client.holds = len(body or b"") < 1000
            stream = self.client.ask(path, *length, *fields, method=method, body=body)
            self.client.holds = False
            self.client.flush()
            return _of_h2(self.client.answer(stream))
        return self._ask_h1(path, *fields, method=method, body=body, says=says)

    def _ask_h1(
        self, path: str, *fields: tuple[str, str], method: str, body: bytes | None, says: bool,
    ) -> Got:
        wire = self.site.client()
        lines = "".join(f"{name}: {value}\r\n" for name, value in fields)
        if body is not None:
            lines += f"Content-Length: {len(body)}" if says else "Transfer-Encoding: chunked"
            lines += "\r\n"
        head = f"{method} {path} HTTP/1.1\r\nHost: site.test\r\n{lines}\r\n".encode()
        wire.send(head + (body if says and body is not None else b""))
        if body is not None and not says:
            for at in range(0, len(body), 5000):
                piece = body[at : at + 5000]
                wire.send(b"%x\r\n%s\r\n" % (len(piece), piece))
            wire.send(b"0\r\n\r\n")
        got = Got()
        try:
            message = wire.response(method)
            while message.status < 200:
                got.interim.append(message.status)
                message = wire.response(method)
            got.status, got.body, got.trailers = message.status, message.body, message.trailers
            got.fields = {name.lower(): value for name, value in message.fields}
        except (EOFError, ConnectionResetError):
            got.whole = False
        wire.close()
        return got


def _of_h2(answer: Answer) -> Got:
    return Got(
        answer.status if answer.fields else 0, answer.fields, bytes(answer.body), answer.trailers,
        [int(dict(one)[":status"]) for one in answer.interims],
        answer.ended and answer.reset is None)
