"""Windows of HTTP/2 grow as a body needs it, within bounds, for uploads and for answers."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.flow.http.conftest import HttpSite
from tests.flow.http.peers import HttpOrigin, Wire, answer, get
from tests.flow.http2.conftest import Origins
from tests.flow.http2.peers import DATA, SETTINGS, WINDOW_UPDATE
from tests.flow.http2.raw import ACK, END_HEADERS, END_STREAM, Raw, frame
from tests.flow.http2.servers.origin import Call, H2Origin

Web = Callable[..., HttpSite]
MIB = 1 << 20
STREAM, CONNECTION = 65_535, 163_840        # what windows begin with


class Uploads(Raw):
    """Counts what it may send."""

    def __init__(self, site: HttpSite) -> None:
        super().__init__(site.site.connect())
        self.windows = {0: 65_535}
        self.granted = 0                    # of the connection, in all

    def begin(self, stream: int, size: int) -> None:
        self.windows[stream] = STREAM
        self.send(self.head(
            stream, ("content-length", str(size)), method="POST", flags=END_HEADERS))

    def look(self) -> None:
        found = self.next()
        assert found is not None
        if found.kind == WINDOW_UPDATE:
            self.windows[found.stream] += int.from_bytes(found.payload, "big")
        elif found.kind == SETTINGS and not found.flags & ACK:
            self.send(frame(SETTINGS, ACK, 0))
        self.answer_pings(found)

    def give(self, stream: int, size: int) -> int:
        """Send as many bytes as fit, at most `size`."""
        sent = 0
        while sent < size:
            n = min(size - sent, self.windows[stream], self.windows[0], 16_384)
            if n == 0:
                break
            self.send(frame(DATA, 0, stream, bytes(n)))
            self.windows[stream] -= n
            self.windows[0] -= n
            sent += n
        return sent


@pytest.fixture
def taking(origins: Origins) -> HttpOrigin:
    """Reads a body as fast as it comes."""
    def run(wire: Wire) -> None:
        left = int(wire.head()["content-length"]) - len(wire.ahead)
        while left > 0 and (data := wire.sock.recv(1 << 18)):
            left -= len(data)
        wire.send(answer(b"ok"))
        wire.close()

    origin = origins()
    origin._run = run  # type: ignore[method-assign]
    return origin


def test_the_windows_of_an_upload_grow_and_end_at_their_bound(
    web: Web, taking: HttpOrigin
) -> None:
    site = web([taking.address], h2c=True, max_h2_window="1MiB")
    raw = Uploads(site)
    left, most = 6 * MIB, 0
    raw.begin(1, left)
    while left:
        most = max(most, raw.windows[1])
        assert raw.windows[0] <= CONNECTION + MIB
        sent = raw.give(1, left)
        left -= sent
        if not sent:
            raw.look()
    raw.send(frame(DATA, END_STREAM, 1))
    raw.until_end_of(1)
    assert STREAM < most <= STREAM + MIB
    raw.sock.close()


def test_a_hundred_uploads_stay_within_the_bound(web: Web, taking: HttpOrigin) -> None:
    """They share what the connection's windows may grow by."""
    site = web([taking.address], h2c=True, max_h2_window="4MiB")
    raw = Uploads(site)
    streams = range(1, 200, 2)
    left = dict.fromkeys(streams, MIB // 8)
    for stream in streams:
        raw.begin(stream, MIB // 8)
    while any(left.values()):
        sent = 0
        for stream in streams:
            sent += (n := raw.give(stream, left[stream]))
            left[stream] -= n
        assert raw.windows[0] <= CONNECTION + 4 * MIB
        if not sent:
            raw.look()
    for stream in streams:
        raw.send(frame(DATA, END_STREAM, stream))
    ended = {one.stream for one in raw.frames if one.ends}
    while len(ended) < 100:
        found = raw.next()
        assert found is not None
        if found.ends:
            ended.add(found.stream)
    raw.sock.close()


@pytest.mark.parametrize("bound", [1, 4])
def test_the_windows_of_an_answer_grow_and_end_at_their_bound(web: Web, bound: int) -> None:
    most = [0]

    def serve(call: Call) -> None:
        body = bytes(MIB)
        call.head(200, ("content-length", str(6 * MIB)))
        for _ in range(6):
            with call.link.lock:
                most[0] = max(most[0], call.link.h2.local_flow_control_window(call.stream))
            call.data(body)
        call.end()

    origin = H2Origin(serve)
    site = web([origin.address], pool={
        "protocol": "h2", "connect_timeout": "10m", "max_h2_window": f"{bound}MiB"})
    assert len(site.ask(get()).body) == 6 * MIB
    assert STREAM < most[0] <= STREAM + bound * MIB
    origin.close()
