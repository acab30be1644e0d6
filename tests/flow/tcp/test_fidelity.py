"""Random chunks over many connections at once: nothing altered, lost, or delivered elsewhere.

Every byte that a side sends is a function of its connection's key, its direction and its position,
so that a byte of another connection, a missing one and a doubled one all show.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import random
import socket
import struct
import threading
import time
from collections.abc import Callable

import pytest

from tests.flow.conftest import DEADLINE_S, Dress, Origin, Site, read_exactly


def keystream(key: bytes, direction: bytes, n: int) -> bytes:
    return hashlib.shake_128(key + direction).digest(n)


class Side(threading.Thread):
    """One end: sends its stream in random chunks and checks the other's."""

    def __init__(self, sock: socket.socket, key: bytes, up: bool, plan: dict[str, int]) -> None:
        super().__init__()
        self.sock = sock
        self.random = random.Random(key + bytes([up]))
        mine, theirs = (b"up", b"down") if up else (b"down", b"up")
        self.sends = keystream(key, mine, plan["up" if up else "down"])
        self.expects = keystream(key, theirs, plan["down" if up else "up"])
        self.slow = plan["slow_up" if up else "slow_down"]
        self.failure: str | None = None

    def run(self) -> None:
        sender = threading.Thread(target=self._send)
        sender.start()
        try:
            at = 0
            while piece := self.sock.recv(self.random.choice((1, 100, 4096, 1 << 16, 1 << 18))):
                if self.expects[at : at + len(piece)] != piece:
                    self.failure = f"altered within {len(piece)} bytes at {at}"
                    break
                at += len(piece)
                if self.slow and self.random.random() < 0.2:
                    time.sleep(0.002)
            else:
                if at != len(self.expects):
                    self.failure = f"{at} of {len(self.expects)} bytes arrived"
        except OSError as error:
            self.failure = f"{type(error).__name__} after {at} bytes"
        sender.join()

    def _send(self) -> None:
        at = 0
        try:
            while at < len(self.sends):
                n = int(2 ** self.random.uniform(0, 18))
                self.sock.sendall(self.sends[at : at + n])
                at += n
                if self.random.random() < 0.05:
                    time.sleep(0.001)
            self.sock.shutdown(socket.SHUT_WR)
        except OSError as error:
            self.failure = self.failure or f"send: {type(error).__name__}"


@pytest.mark.parametrize("buffer_size", ["4KiB", "16KiB", "256KiB"])
def test_streams_stay_whole_and_apart(
    site: Callable[..., Site], origin: Origin, buffer_size: str, dress: Dress
) -> None:
    seed = int.from_bytes(os.urandom(4), "big")
    print(f"seed {seed}")
    choose = random.Random(seed)
    made = site([origin.address], buffer_size=buffer_size)
    sides: list[Side] = []
    disturber = threading.Event()
    noise = threading.Thread(target=_disturb, args=(made, disturber, seed))
    plans: dict[bytes, dict[str, int]] = {}
    # (Python's TLS takes long)
    n = 6 if dress.clients or dress.pool else 24
    for _ in range(n):
        key = choose.randbytes(16)
        plans[key] = {
            "up": int(2 ** choose.uniform(0, 21.5)) if choose.random() < 0.9 else 0,
            "down": int(2 ** choose.uniform(0, 21.5)) if choose.random() < 0.9 else 0,
            "slow_up": choose.random() < 0.2,
            "slow_down": choose.random() < 0.2,
        }
        client = made.connect()
        client.settimeout(DEADLINE_S)
        client.sendall(b"KEY:" + key)
        sides.append(Side(client, key, True, plans[key]))
    noise.start()
    while len(sides) < 2 * n:
        try:
            server = origin.accept()
            server.settimeout(DEADLINE_S)
            hello = read_exactly(server, 20)
        except OSError:                 # noise that has gone
            continue
        if hello.startswith(b"KEY:"):
            sides.append(Side(server, hello[4:], False, plans[hello[4:]]))
    for side in sides:
        side.start()
    for side in sides:
        side.join()
    disturber.set()
    noise.join()
    assert [side.failure for side in sides if side.failure] == []
    origin.close()


def _disturb(made: Site, ended: threading.Event, seed: int) -> None:
    """Others that come, babble and reset beside the streams under test."""
    choose = random.Random(seed + 1)
    host, _, port = made.listener.url.partition("://")[2].rpartition(":")
    while not ended.wait(0.01):
        with contextlib.suppress(OSError), \
                socket.create_connection((host, int(port)), timeout=DEADLINE_S) as sock:
            sock.sendall(b"NOISE" * choose.randrange(4, 20_000))
            if choose.random() < 0.7:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
