"""Clients that say nothing more on their connection, and wait for what they have asked for."""

from __future__ import annotations

import contextlib
import socket
import threading
from typing import Any

import pytest

from tests.flow.conftest import DEADLINE_S, wait_until
from tests.flow.http.peers import HttpOrigin, Message, Wire, answer
from tests.flow.http2.conftest import Origins
from tests.flow.http2.peers import DATA, GOAWAY, HEADERS, RST_STREAM, SETTINGS
from tests.flow.http2.raw import END_HEADERS, END_STREAM, Raw, frame

KEYS: dict[str, Any] = {"h2c": True}


def silent(origins: Origins) -> tuple[HttpOrigin, threading.Semaphore]:
    """Return an origin that answers nothing, and what it releases for each request that ends."""
    ended = threading.Semaphore(0)

    def serve(wire: Wire, request: Message) -> bool:
        with contextlib.suppress(ConnectionResetError):
            assert wire.some() == b""
        ended.release()
        return False

    return origins(serve), ended


@pytest.mark.parametrize("late", [True, False])
@pytest.mark.parametrize("what", ["cancel", "drain"])
def test_all_that_a_client_has_asked_for_is_answered(
    web: Any, origins: Origins, what: str, late: bool
) -> None:
    closed = threading.Event()

    def serve(wire: Wire, request: Message) -> None:
        assert closed.wait(DEADLINE_S)
        wire.send(answer(b"x" * 60_000))        # (about as much as windows let through)

    origin = origins(serve)
    site = web([origin.address], on_client_close=what, **KEYS)
    raw = Raw(site.site.connect())
    raw.send(raw.head(1))
    if late:                            # its end comes after the request has gone on
        wait_until(lambda: len(origin.requests) == 1)
    raw.sock.shutdown(socket.SHUT_WR)
    closed.set()
    while raw.next() is not None:
        pass
    body = b"".join(one.payload for one in raw.frames if one.kind == DATA)
    assert body == b"x" * 60_000 and raw.frames[-1].ends
    assert not [one for one in raw.frames if one.kind == GOAWAY]    # (it asks for nothing more)
    raw.sock.close()


def test_a_request_whose_body_is_missing_is_not(web: Any, origins: Origins) -> None:
    """But those beside it are."""
    begun, go_on = threading.Event(), threading.Event()

    def serve(wire: Wire, request: Message) -> None:
        begun.set()
        assert go_on.wait(DEADLINE_S)
        wire.send(answer(b"got"))

    site = web([origins(serve).address], **KEYS)
    raw = Raw(site.site.connect())
    raw.send(raw.head(1) + raw.head(3, ("content-length", "9"), method="POST", flags=END_HEADERS)
             + frame(DATA, 0, 3, b"part"))
    assert begun.wait(DEADLINE_S)
    raw.sock.shutdown(socket.SHUT_WR)
    raw.until(RST_STREAM, 3)
    go_on.set()
    while raw.next() is not None:
        pass
    assert [one.payload for one in raw.frames if one.kind == DATA] == [b"got"]
    assert {one.stream for one in raw.frames if one.kind == HEADERS} == {1}
    raw.sock.close()


def test_a_half_close_cancels_where_it_is_told_to(web: Any, origins: Origins) -> None:
    origin, ended = silent(origins)
    site = web([origin.address], on_client_close="cancel_on_fin", **KEYS)
    raw = Raw(site.site.connect())
    raw.send(raw.head(1))
    wait_until(lambda: len(origin.requests) == 1)
    raw.sock.shutdown(socket.SHUT_WR)
    assert ended.acquire(timeout=DEADLINE_S)
    while raw.next() is not None:
        pass
    raw.sock.close()


def test_a_client_that_resets_its_connection_cancels_all(web: Any, origins: Origins) -> None:
    origin, ended = silent(origins)
    site = web([origin.address], **KEYS)
    raw = Raw(site.site.connect())
    raw.send(raw.head(1) + raw.head(3))
    wait_until(lambda: len(origin.requests) == 2)
    raw.sock.shutdown(socket.SHUT_WR)           # (which alone changes nothing)
    raw.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    raw.sock.close()
    for _ in range(2):
        assert ended.acquire(timeout=DEADLINE_S)


def test_a_client_that_closes_its_connection_cancels_all(web: Any, origins: Origins) -> None:
    """It closes as a half-close does; a PING tells the two apart."""
    origin, ended = silent(origins)
    site = web([origin.address], **KEYS)
    raw = Raw(site.site.connect())
    raw.send(raw.head(1))
    wait_until(lambda: len(origin.requests) == 1)
    while raw.until(SETTINGS).flags == 0:       # all has been read: nothing is left to be reset for
        pass
    raw.sock.close()
    assert ended.acquire(timeout=DEADLINE_S)


def test_nothing_of_a_client_that_has_gone_is_left(web: Any, origins: Origins) -> None:
    """It had nothing under way, or half a head."""
    site = web([origins().address], **KEYS)
    for begun in (b"", frame(HEADERS, END_STREAM, 1, b"\x82")):
        raw = Raw(site.site.connect())
        raw.send(begun)
        raw.sock.shutdown(socket.SHUT_WR)
        while raw.next() is not None:
            pass
        raw.sock.close()
    wait_until(lambda: not any(site.site.counts().values()))
