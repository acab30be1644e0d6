"""Frames at random into a listener, beside a client that must get exactly its own answers."""

from __future__ import annotations

import contextlib
import random
import socket
import time
from collections.abc import Callable, Iterator

from tests.fuzz import mutate, streams
from tests.fuzz.streams import frame

PREFACE = streams.PREFACE
RST_STREAM, SETTINGS, PING, GOAWAY, WINDOW_UPDATE = 3, 4, 6, 7, 8
Frames = list[bytes]
OTHERS = (
    frame(RST_STREAM, 0, 1, b"\0\0\0\x08"), frame(SETTINGS, 0, 0, b"\0\4\0\0\0\0"),
    frame(SETTINGS, 0, 0, b"\0\4\x7f\xff\xff\xff"), frame(SETTINGS, 1, 0),
    frame(PING, 0, 0, b"x" * 8),
    frame(2, 0, 1, b"\0\0\0\0\7"), frame(WINDOW_UPDATE, 0, 0, b"\0\0\xff\xff"),
    frame(WINDOW_UPDATE, 0, 1, b"\x7f\xff\xff\xff"), frame(GOAWAY, 0, 0, bytes(8)),
    frame(0, 0, 1), frame(0, 9, 1, b"\2ab\0\0"), frame(9, 4, 1, b"\x82"), frame(5, 4, 1, bytes(4)),
    frame(99, 255, 1, b"unknown"),
)


def _of(data: bytes) -> Frames:
    found, at = [], 0
    while at < len(data):
        end = at + 9 + int.from_bytes(data[at : at + 3], "big")
        found.append(data[at:end])
        at = end
    return found


def sequences(choose: random.Random) -> Iterator[bytes]:
    """A preface that is fine, and then requests of several streams that were meddled with."""
    written = mutate.mutated(streams.REQUESTS, choose)
    while True:
        frames: Frames = []
        for i in range(choose.choice((1, 1, 3, 20))):
            one = choose.choice(streams.REQUESTS) if choose.random() < 0.7 else next(written)
            frames += (part[:5] + (2 * i + 1).to_bytes(4, "big") + part[9:]
                       for part in _of(streams.sent(one)[0]))
        for _ in range(choose.choice((0, 1, 1, 3, 10))):
            _meddle(frames, choose)
        yield PREFACE + b"".join(frames)


def _meddle(frames: Frames, choose: random.Random) -> None:
    at = choose.randrange(len(frames))
    data = bytearray(frames[at])
    how = choose.randrange(7)
    if how == 0:
        frames.insert(at, choose.choice(OTHERS) * choose.choice((1, 1, 30)))
    elif how == 1:
        frames.insert(at, frames[choose.randrange(len(frames))])
    elif how == 2 and len(frames) > 1:
        del frames[at]
    elif how == 3:
        data[choose.randrange(9)] ^= 1 << choose.randrange(8)       # size, kind, flags, stream
        frames[at] = bytes(data)
    elif how == 4:
        data[choose.randrange(len(data))] = choose.randrange(256)
        frames[at] = bytes(data)
    elif how == 5:
        other = choose.randrange(len(frames))
        frames[at], frames[other] = frames[other], frames[at]
    else:
        frames[at] = bytes(data[: choose.randrange(9, len(data) + 1)])     # its size is another now


def attack(
    connect: Callable[[], socket.socket], check: Callable[[], None], seconds: float,
    choose: random.Random,
) -> int:
    """How many sequences were sent. `connect` makes a connection that HTTP/2 is spoken on."""
    end, n = time.monotonic() + seconds, 0
    made = sequences(choose)
    while time.monotonic() < end:
        data = next(made)
        try:
            with contextlib.suppress(OSError), connect() as sock:
                cuts = sorted(choose.randrange(len(data) + 1) for _ in range(choose.randrange(3)))
                for a, b in zip([0, *cuts], [*cuts, len(data)], strict=True):
                    sock.sendall(data[a:b])
                if choose.random() < 0.7:
                    sock.settimeout(0.02)
                    while sock.recv(65536):
                        pass
            check()
        except BaseException:
            print(f"broken by the frames {data!r}")
            raise
        n += 1
    return n
