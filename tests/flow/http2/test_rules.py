"""What RFC 9113 says of frames that break its rules, a row each: what is sent, how that ends."""

from __future__ import annotations

import threading
from collections.abc import Callable

import pytest

from tests.flow.conftest import DEADLINE_S, wait_until
from tests.flow.http.conftest import HttpSite
from tests.flow.http.peers import Message, Wire, answer
from tests.flow.http2.conftest import Origins
from tests.flow.http2.peers import (
    CONTINUATION,
    DATA,
    GOAWAY,
    HEADERS,
    PING,
    PRIORITY,
    RST_STREAM,
    SETTINGS,
    WINDOW_UPDATE,
)
from tests.flow.http2.raw import (
    ACK,
    END_HEADERS,
    END_STREAM,
    Raw,
    frame,
    number,
)

PUSH_PROMISE, UNKNOWN = 5, 99
PADDED = 8
PROTOCOL_ERROR, FLOW_CONTROL_ERROR, STREAM_CLOSED, FRAME_SIZE_ERROR = 1, 3, 5, 6
REFUSED_STREAM, COMPRESSION_ERROR = 7, 9

Web = Callable[..., HttpSite]
Send = Callable[[Raw], bytes]


def _setting(name: int, value: int) -> Send:
    return lambda raw: frame(SETTINGS, 0, 0, name.to_bytes(2, "big") + number(value))


def _post(raw: Raw, stream: int = 1, *fields: tuple[str, str]) -> bytes:
    return raw.head(stream, *fields, method="POST", flags=END_HEADERS)


# Section: what is sent first on a fresh connection, for stream 1 unless it says otherwise.
AT_ONCE: dict[str, tuple[Send, str]] = {
    "4.1 a frame of an unknown type": (
        lambda raw: frame(UNKNOWN, 0xFF, 0, b"x") + raw.head(1), "answered"),
    "4.2 DATA beyond the largest frame": (
        lambda raw: _post(raw) + frame(DATA, 0, 1, bytes(16_385)), f"goaway {FRAME_SIZE_ERROR}"),
    "4.3 a field that HPACK doesn't have": (
        lambda raw: frame(HEADERS, END_STREAM | END_HEADERS, 1, b"\xff\xff\x7f"),
        f"goaway {COMPRESSION_ERROR}"),
    "4.3 another frame between a head's parts": (
        lambda raw: raw.head(1, flags=END_STREAM) + frame(PING, 0, 0, bytes(8)),
        f"goaway {PROTOCOL_ERROR}"),
    "5.1 idle: DATA": (lambda raw: frame(DATA, 0, 1, b"x"), f"goaway {PROTOCOL_ERROR}"),
    "5.1 idle: RST_STREAM": (
        lambda raw: frame(RST_STREAM, 0, 1, number(8)), f"goaway {PROTOCOL_ERROR}"),
    "5.1 idle: WINDOW_UPDATE": (
        lambda raw: frame(WINDOW_UPDATE, 0, 1, number(1)), f"goaway {PROTOCOL_ERROR}"),
    "5.1 idle: CONTINUATION": (
        lambda raw: frame(CONTINUATION, END_HEADERS, 1), f"goaway {PROTOCOL_ERROR}"),
    "5.1 idle: PRIORITY": (
        lambda raw: frame(PRIORITY, 0, 5, number(0) + b"\1") + raw.head(1), "answered"),
    "5.1 half-closed: DATA": (
        lambda raw: raw.head(1) + frame(DATA, 0, 1, b"x"), f"goaway {STREAM_CLOSED}"),
    "5.1 half-closed: HEADERS": (
        lambda raw: raw.head(1) + raw.head(1), f"goaway {STREAM_CLOSED}"),
    "5.1 half-closed: CONTINUATION": (
        lambda raw: raw.head(1) + frame(CONTINUATION, END_HEADERS, 1), f"goaway {PROTOCOL_ERROR}"),
    "5.1 reset: DATA": (
        lambda raw: _post(raw) + frame(RST_STREAM, 0, 1, number(8)) + frame(DATA, 0, 1, b"x"),
        f"goaway {STREAM_CLOSED}"),
    "5.1 reset: HEADERS": (
        lambda raw: _post(raw) + frame(RST_STREAM, 0, 1, number(8)) + raw.head(1),
        f"goaway {STREAM_CLOSED}"),
    "5.1 reset: CONTINUATION": (
        lambda raw: _post(raw) + frame(RST_STREAM, 0, 1, number(8)) + frame(CONTINUATION, 4, 1),
        f"goaway {PROTOCOL_ERROR}"),
    "5.1.1 an even stream": (lambda raw: raw.head(2), f"goaway {PROTOCOL_ERROR}"),
    "5.1.1 a stream that was passed over": (
        lambda raw: raw.head(5) + raw.head(3), f"goaway {PROTOCOL_ERROR}"),
    "5.1.1 DATA for a stream that was passed over": (
        lambda raw: raw.head(5) + frame(DATA, 0, 3, b"x"), f"goaway {PROTOCOL_ERROR}"),
    "6.1 DATA for the connection": (
        lambda raw: frame(DATA, 0, 0, b"x"), f"goaway {PROTOCOL_ERROR}"),
    "6.1 more padding than there is": (
        lambda raw: _post(raw) + frame(DATA, PADDED, 1, b"\x09x"), f"goaway {PROTOCOL_ERROR}"),
    "6.4 RST_STREAM of 3 bytes": (
        lambda raw: _post(raw) + frame(RST_STREAM, 0, 1, bytes(3)), f"goaway {FRAME_SIZE_ERROR}"),
    "6.5 SETTINGS for a stream": (
        lambda raw: frame(SETTINGS, 0, 1), f"goaway {PROTOCOL_ERROR}"),
    "6.5 SETTINGS of 3 bytes": (
        lambda raw: frame(SETTINGS, 0, 0, bytes(3)), f"goaway {FRAME_SIZE_ERROR}"),
    "6.5 an ACK with settings": (
        lambda raw: frame(SETTINGS, ACK, 0, bytes(6)), f"goaway {FRAME_SIZE_ERROR}"),
    "6.5.2 ENABLE_PUSH 2": (_setting(2, 2), f"goaway {PROTOCOL_ERROR}"),
    "6.5.2 INITIAL_WINDOW_SIZE beyond 2^31": (_setting(4, 2**31), f"goaway {FLOW_CONTROL_ERROR}"),
    "6.5.2 MAX_FRAME_SIZE 16383": (_setting(5, 16_383), f"goaway {PROTOCOL_ERROR}"),
    "6.5.2 an unknown setting": (lambda raw: _setting(99, 1)(raw) + raw.head(1), "answered"),
    "6.6 PUSH_PROMISE by a client": (
        lambda raw: raw.head(1) + frame(PUSH_PROMISE, 4, 1, number(2)), f"goaway {PROTOCOL_ERROR}"),
    "6.7 PING for a stream": (lambda raw: frame(PING, 0, 1, bytes(8)), f"goaway {PROTOCOL_ERROR}"),
    "6.7 PING of 7 bytes": (lambda raw: frame(PING, 0, 0, bytes(7)), f"goaway {FRAME_SIZE_ERROR}"),
    "6.8 GOAWAY for a stream": (
        lambda raw: frame(GOAWAY, 0, 1, bytes(8)), f"goaway {PROTOCOL_ERROR}"),
    "6.9 WINDOW_UPDATE by 0": (
        lambda raw: frame(WINDOW_UPDATE, 0, 0, number(0)), f"goaway {PROTOCOL_ERROR}"),
    "6.9 WINDOW_UPDATE of 3 bytes": (
        lambda raw: frame(WINDOW_UPDATE, 0, 0, bytes(3)), f"goaway {FRAME_SIZE_ERROR}"),
    "6.9.1 a connection's window beyond 2^31": (
        lambda raw: frame(WINDOW_UPDATE, 0, 0, number(2**31 - 1)), f"goaway {FLOW_CONTROL_ERROR}"),
    "6.9.1 a stream's window beyond 2^31": (
        lambda raw: _post(raw) + frame(WINDOW_UPDATE, 0, 1, number(2**31 - 1)),
        f"reset {FLOW_CONTROL_ERROR}"),
    "8.1.1 a body longer than announced": (
        lambda raw: _post(raw, 1, ("content-length", "1")) + frame(DATA, END_STREAM, 1, b"xx"),
        f"reset {PROTOCOL_ERROR}"),
    "8.2.2 connection": (
        lambda raw: raw.head(1, ("connection", "close")), f"reset {PROTOCOL_ERROR}"),
    "8.3.1 no path": (
        lambda raw: frame(HEADERS, END_STREAM | END_HEADERS, 1, b"\x82\x86\x41\x01a"),
        f"reset {PROTOCOL_ERROR}"),
    "8.3.1 :path after a field": (
        lambda raw: raw.head(1, ("x", "1"), (":path", "/")), f"reset {PROTOCOL_ERROR}"),
}

# What is sent for stream 1 when its answer has come.
AFTERWARDS: dict[str, tuple[Send, str]] = {
    "DATA": (lambda raw: frame(DATA, 0, 1, b"x"), f"goaway {STREAM_CLOSED}"),
    "HEADERS": (lambda raw: raw.head(1), f"goaway {STREAM_CLOSED}"),
    "CONTINUATION": (lambda raw: frame(CONTINUATION, END_HEADERS, 1), f"goaway {PROTOCOL_ERROR}"),
    "PRIORITY": (lambda raw: frame(PRIORITY, 0, 1, number(0) + b"\1") + raw.head(3), "answered"),
    "RST_STREAM": (lambda raw: frame(RST_STREAM, 0, 1, number(8)) + raw.head(3), "answered"),
    "WINDOW_UPDATE": (
        lambda raw: frame(WINDOW_UPDATE, 0, 1, number(1)) + raw.head(3), "answered"),
}


@pytest.mark.parametrize(("send", "ends"), AT_ONCE.values(), ids=AT_ONCE.keys())
def test_frames_at_once(web: Web, origins: Origins, send: Send, ends: str) -> None:
    site = web([origins().address], h2c=True)
    raw = Raw(site.site.connect())
    raw.send(send(raw))
    assert raw.outcome(1) == ends
    raw.sock.close()
    wait_until(lambda: not any(site.site.counts().values()))


@pytest.mark.parametrize(("send", "ends"), AFTERWARDS.values(), ids=AFTERWARDS.keys())
def test_frames_for_a_stream_that_is_closed(
    web: Web, origins: Origins, send: Send, ends: str
) -> None:
    site = web([origins().address], h2c=True)
    raw = Raw(site.site.connect())
    raw.send(raw.head(1))
    raw.until_end_of(1)
    raw.send(send(raw))
    assert raw.outcome(3) == ends
    raw.sock.close()
    wait_until(lambda: not any(site.site.counts().values()))


def test_frames_for_streams_that_fastlb_has_reset_are_ignored(web: Web, origins: Origins) -> None:
    """They may have been under way."""
    site = web([origins().address], h2c=True)
    raw = Raw(site.site.connect())
    raw.send(_post(raw, 1, ("content-length", "1")) + frame(DATA, 0, 1, b"xx"))
    raw.until(RST_STREAM, 1)
    raw.send(frame(DATA, 0, 1, b"more") + frame(DATA, END_STREAM, 1) + raw.head(3))
    raw.until_end_of(3)
    raw.sock.close()


@pytest.mark.parametrize("before", [(), (1,), (2**31 - 3,), (2**31 - 513, 2**31 - 511)])
def test_the_last_of_all_ids_is_one_like_any_other(
    web: Web, origins: Origins, before: tuple[int, ...]
) -> None:
    site = web([origins().address], h2c=True, threads=1)
    raw = Raw(site.site.connect())
    for id in (*before, 2**31 - 1):
        raw.send(raw.head(id))
        raw.until_end_of(id)
    other = Raw(site.site.connect())
    other.send(other.head(1))
    other.until_end_of(1)
    raw.send(raw.head(2**31 - 1))
    assert raw.until(GOAWAY).error == STREAM_CLOSED
    for one in (raw, other):
        one.sock.close()
    wait_until(lambda: not any(site.site.counts().values()))


def test_one_request_too_many_is_refused_and_the_others_go_on(web: Web, origins: Origins) -> None:
    go_on = threading.Event()

    def serve(wire: Wire, request: Message) -> None:
        go_on.wait(DEADLINE_S)
        wire.send(answer(b"ok"))

    site = web([origins(serve).address], h2c=True)
    raw = Raw(site.site.connect())
    settings = raw.until(SETTINGS)
    assert b"\0\3" + number(100) in settings.payload
    raw.send(frame(SETTINGS, ACK, 0))
    raw.send(b"".join(raw.head(2 * i + 1) for i in range(101)))
    assert raw.until(RST_STREAM, 201).error == REFUSED_STREAM
    go_on.set()
    ended = {201}
    while len(ended) < 101:
        found = raw.next()
        assert found is not None
        assert found.kind not in (GOAWAY, RST_STREAM)
        if found.ends:
            ended.add(found.stream)
    raw.send(raw.head(203))
    raw.until_end_of(203)
    raw.sock.close()
