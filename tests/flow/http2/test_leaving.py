"""How fastlb ends connections of clients: a notice first, then the end (RFC 9113, 6.8)."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Callable
from functools import partial

import pytest

import fastlb
from fastlb.compile import routes
from tests.flow.conftest import DEADLINE_S, wait_until
from tests.flow.http.conftest import HttpSite
from tests.flow.http.peers import Message, Wire, answer
from tests.flow.http2.conftest import Origins
from tests.flow.http2.peers import DATA, GOAWAY, PING, RST_STREAM
from tests.flow.http2.raw import ACK, END_HEADERS, END_STREAM, LAST_OF_ALL, Frame, Raw, frame
from tests.flow.tls.turns import time_passes

Web = Callable[..., HttpSite]


@pytest.fixture
def patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """Clients have 10 minutes to answer the notice, and not 2 seconds."""
    monkeypatch.setattr(routes, "HttpSpec", partial(routes.HttpSpec, linger_timeout_ms=600_000))


def _noticed(raw: Raw) -> Frame:
    """The PING that follows the notice."""
    notice = raw.until(GOAWAY)
    assert (notice.last, notice.error) == (LAST_OF_ALL, 0)
    while True:
        ping = raw.until(PING)
        if not ping.flags & ACK:
            return ping


@pytest.mark.parametrize("why", ["stop", "max_requests", "keepalive_timeout"])
def test_a_request_that_crosses_the_notice_is_served(
    web: Web, origins: Origins, patience: None, why: str
) -> None:
    go_on = threading.Event()

    def serve(wire: Wire, request: Message) -> None:
        if request.target == "/slow":
            go_on.wait(DEADLINE_S)
        wire.send(answer(request.body))

    keys = {"max_requests": 1} if why == "max_requests" else {
        "keepalive_timeout": "10m"} if why == "keepalive_timeout" else {}
    site = web([origins(serve).address], h2c=True, **keys)
    raw = Raw(site.site.connect())
    raw.send(raw.head(1, path="/fast" if why == "keepalive_timeout" else "/slow"))
    if why == "stop":
        wait_until(lambda: site.totals()["requests"] == 1)
        site.site.balancer.stop(2 * DEADLINE_S)
    elif why == "keepalive_timeout":
        raw.until_end_of(1)
        time_passes(site.site, "11m")
    ping = _noticed(raw)
    raw.send(raw.head(3, method="POST", flags=END_HEADERS) + frame(DATA, END_STREAM, 3, b"crossing")
             + frame(PING, ACK, 0, ping.payload))
    final = raw.until(GOAWAY)
    assert (final.last, final.error) == (3, 0)
    go_on.set()
    while raw.next() is not None:
        pass
    assert [one.payload for one in raw.frames if one.stream == 3 and one.kind == DATA] == [
        b"crossing"]
    assert {one.stream for one in raw.frames if one.ends} == {1, 3}
    raw.sock.close()


def test_max_requests_bounds_what_may_cross_its_notice(web: Web, origins: Origins) -> None:
    """A client that never answers the PING after the notice gets 100 requests more at most."""
    origin = origins(lambda wire, request: wire.send(answer(b"ok")))
    site = web([origin.address], h2c=True, max_requests=3)
    raw = Raw(site.site.connect())
    for first in range(1, 501, 100):
        streams = range(first, first + 100, 2)
        with contextlib.suppress(OSError):      # (it has ended, and its time to linger as well)
            raw.send(b"".join(raw.head(stream) for stream in streams))
        for stream in streams:
            while not any(one.stream == stream and (one.ends or one.kind == RST_STREAM)
                          for one in raw.frames):
                if raw.next() is None:
                    break
    served = [one.stream for one in raw.frames if one.kind == DATA and one.ends]
    assert 3 <= len(served) == len(origin.requests) <= 103
    ends = [one for one in raw.frames if one.kind == GOAWAY and one.last != LAST_OF_ALL]
    assert [one.error for one in ends] == [0]
    raw.sock.close()


def test_a_listener_that_a_reload_removes_serves_what_crosses_its_notice(
    web: Web, origins: Origins, patience: None
) -> None:
    go_on = threading.Event()

    def serve(wire: Wire, request: Message) -> None:
        if request.target == "/slow":
            go_on.wait(DEADLINE_S)
        wire.send(answer(request.body))

    origin = origins(serve)
    site = web([origin.address], h2c=True)
    raw = Raw(site.site.connect())
    raw.send(raw.head(1, path="/slow"))
    wait_until(lambda: site.totals()["requests"] == 1)
    asyncio.run(site.site.balancer.reload(fastlb.Config.build({
        "listeners": {"another": {"bind": "http://127.0.0.1:0", "pool": "p"}},
        "pools": {"p": {"servers": [origin.address]}},
    })))
    ping = _noticed(raw)
    raw.send(raw.head(3, method="POST", flags=END_HEADERS) + frame(DATA, END_STREAM, 3, b"crossing")
             + frame(PING, ACK, 0, ping.payload))
    final = raw.until(GOAWAY)
    assert (final.last, final.error) == (3, 0)
    go_on.set()
    while raw.next() is not None:
        pass
    assert [one.payload for one in raw.frames if one.stream == 3 and one.kind == DATA] == [
        b"crossing"]
    assert {one.stream for one in raw.frames if one.ends} == {1, 3}
    raw.sock.close()


def test_a_client_that_answers_no_ping_is_told_to_go_all_the_same(
    web: Web, origins: Origins
) -> None:
    site = web([origins().address], h2c=True)
    raw = Raw(site.site.connect())
    raw.send(raw.head(1))
    raw.until_end_of(1)
    site.site.balancer.stop(30)
    _noticed(raw)
    assert raw.until(GOAWAY).last == 1
    while raw.next() is not None:
        pass
    raw.sock.close()


def test_requests_after_the_end_of_a_connection_reach_no_server(
    web: Web, origins: Origins
) -> None:
    go_on = threading.Event()

    def serve(wire: Wire, request: Message) -> None:
        go_on.wait(DEADLINE_S)
        wire.send(answer(b"ok"))

    origin = origins(serve)
    site = web([origin.address], h2c=True, max_requests=1)
    raw = Raw(site.site.connect())
    raw.send(raw.head(1))
    raw.send(frame(PING, ACK, 0, _noticed(raw).payload))
    assert raw.until(GOAWAY).last == 1
    raw.send(raw.head(3, path="/late"))
    go_on.set()
    while raw.next() is not None:
        pass
    assert [one.target for one in origin.requests] == ["/"]
    raw.sock.close()
