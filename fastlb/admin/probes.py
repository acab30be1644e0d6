"""Places that are kept for probes: /healthz and /readyz are answered however many connections the
admin API has. Who asks may kill a process that doesn't answer.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import cast

PLACES = 16                 # more push the oldest out, so that silence keeps nobody out
HEAD_BYTES_MAX = 8192
HEAD_S = 2.0

Reply = tuple[int, bytes]   # status, JSON
FULL: Reply = (503, b'{"error":"too many connections are open","problems":[]}\n')
PHRASES = {200: b"OK", 400: b"Bad Request", 503: b"Service Unavailable"}


class Probes:
    """Connections beyond the limit: one request each. `answers` has what is said, by path."""

    def __init__(self, answers: Callable[[str], Reply | None]) -> None:
        self._answers = answers
        self._open: dict[_Probe, None] = {}         # the oldest first

    def accept(self) -> asyncio.Protocol:
        while len(self._open) >= PLACES:
            next(iter(self._open)).end()
        made = _Probe(self._answers, self._open.pop)
        self._open[made] = None
        return made

    def end(self) -> None:
        for probe in tuple(self._open):
            probe.end()

    def transports(self) -> list[asyncio.BaseTransport]:
        return [one.transport for one in self._open if one.transport is not None]


class _Probe(asyncio.Protocol):
    def __init__(
        self, answers: Callable[[str], Reply | None], forget: Callable[[_Probe, None], object]
    ) -> None:
        self.transport: asyncio.Transport | None = None
        self._answers = answers
        self._forget = forget
        self._head = b""
        self._timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)     # (uvloop's is one in all but name)
        self._timer = asyncio.get_running_loop().call_later(HEAD_S, self.end)

    def connection_lost(self, error: Exception | None) -> None:
        self.end()

    def data_received(self, data: bytes) -> None:
        self._head += data
        if b"\r\n\r\n" in self._head or b"\n\n" in self._head:
            self._answer()
        elif len(self._head) > HEAD_BYTES_MAX:
            self.end()

    def _answer(self) -> None:
        method, _, rest = self._head.partition(b"\r\n")[0].partition(b" ")
        path = rest.partition(b" ")[0].partition(b"?")[0]
        reply = None
        if method in (b"GET", b"HEAD"):
            reply = self._answers(path.decode("latin-1"))
        status, body = reply or FULL
        if self.transport is not None:
            self.transport.write(
                b"HTTP/1.1 %d %s\r\ncontent-type: application/json; charset=utf-8\r\n"
                b"cache-control: no-store\r\nconnection: close\r\ncontent-length: %d\r\n\r\n%s"
                % (status, PHRASES[status], len(body), b"" if method == b"HEAD" else body)
            )
            self.transport.close()
            self.transport = None
        self.end()

    def end(self) -> None:
        """Let go of the place, and of a connection that was not answered."""
        self._forget(self, None)
        if self._timer is not None:
            self._timer.cancel()
        if self.transport is not None:
            self.transport.abort()
            self.transport = None
