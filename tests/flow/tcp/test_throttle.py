"""How fast the bytes of a connection may go: what is too fast is read later, none is lost."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Callable
from typing import Any

import pytest

import fastlb
from tests.flow.conftest import DEADLINE_S, Origin, Site, read_exactly, read_to_end

Make = Callable[..., Site]

AT_ONCE = 4096          # bytes that a slow connection may get at once
SLOW = "64KiB/h"        # a byte in 55 ms: less than AT_ONCE comes while a test runs


def is_quiet(sock: socket.socket) -> bool:
    """Nothing comes now. (If it did, it would within this time, or else a test passes in vain.)"""
    sock.settimeout(0.2)
    try:
        return sock.recv(1) is None
    except TimeoutError:
        return True
    finally:
        sock.settimeout(DEADLINE_S)


def test_upload_waits_for_its_time(site: Make, origin: Origin) -> None:
    made = site([origin.address], max_upload_rate=SLOW, idle_timeout="0s")
    client, server = made.pair(origin)
    sent = os.urandom(2 * AT_ONCE + 1000)
    client.sendall(sent)
    assert read_exactly(server, AT_ONCE) == sent[:AT_ONCE]
    assert is_quiet(server)
    server.sendall(b"y" * 100_000)          # (the other way has no limit)
    assert read_exactly(client, 100_000) == b"y" * 100_000
    made.advance("1h")
    assert read_exactly(server, AT_ONCE) == sent[AT_ONCE:2 * AT_ONCE]
    assert is_quiet(server)
    made.advance("1h")
    assert read_exactly(server, 1000) == sent[2 * AT_ONCE:]


def test_download_waits_for_its_time(site: Make, origin: Origin) -> None:
    made = site([origin.address], max_download_rate=SLOW, idle_timeout="0s")
    client, server = made.pair(origin)
    sent = os.urandom(AT_ONCE + 1000)
    server.sendall(sent)
    assert read_exactly(client, AT_ONCE) == sent[:AT_ONCE]
    assert is_quiet(client)
    client.sendall(b"y" * 100_000)
    assert read_exactly(server, 100_000) == b"y" * 100_000
    made.advance("1h")
    assert read_exactly(client, 1000) == sent[AT_ONCE:]


@pytest.mark.plain
def test_each_connection_has_the_rate_for_itself(site: Make, origin: Origin) -> None:
    made = site([origin.address], max_upload_rate=SLOW, idle_timeout="0s")
    pairs = [made.pair(origin) for _ in range(3)]
    for client, _ in pairs:
        client.sendall(b"x" * 5000)
    for _, server in pairs:
        assert read_exactly(server, AT_ONCE) == b"x" * AT_ONCE
    made.advance("1h")
    for _, server in pairs:
        assert read_exactly(server, 5000 - AT_ONCE) == b"x" * (5000 - AT_ONCE)


def test_end_comes_after_the_last_byte(site: Make, origin: Origin) -> None:
    made = site([origin.address], max_upload_rate=SLOW, max_download_rate=SLOW, idle_timeout="0s")
    client, server = made.pair(origin)
    client.sendall(b"x" * 5000)
    client.shutdown(socket.SHUT_WR)
    assert read_exactly(server, AT_ONCE) == b"x" * AT_ONCE
    assert is_quiet(server)
    made.advance("1h")
    assert read_to_end(server) == b"x" * (5000 - AT_ONCE)
    server.sendall(b"bye")
    server.close()
    assert read_to_end(client) == b"bye"


def test_bytes_are_whole_and_no_faster_than_the_rate(site: Make, origin: Origin) -> None:
    made = site([origin.address], max_upload_rate="8MiB/s", max_download_rate="8MiB/s")
    client, server = made.pair(origin)
    sent = os.urandom(1 << 20)
    for source, to in ((client, server), (server, client)):
        begun_s = time.monotonic()
        got = _through(source, to, sent * 3)
        # Two looks' worth come at once (40 ms). A slow machine takes longer, and never less.
        assert time.monotonic() - begun_s >= 3 / 8 - 0.045
        assert got == sent * 3


def _through(source: socket.socket, to: socket.socket, data: bytes) -> bytes:
    """Send from one thread what this one reads."""
    import threading

    sender = threading.Thread(target=source.sendall, args=(data,))
    sender.start()
    try:
        return read_exactly(to, len(data))
    finally:
        sender.join()


def test_client_that_leaves_while_it_waits_is_ended(site: Make, origin: Origin) -> None:
    made = site([origin.address], max_upload_rate=SLOW, idle_timeout="0s")
    client, server = made.pair(origin)
    client.sendall(b"x" * 5000)
    read_exactly(server, AT_ONCE)
    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    client.close()
    with pytest.raises(ConnectionResetError):
        read_to_end(server)
    made.wait_idle()


@pytest.mark.plain
def test_waiting_is_not_idle(site: Make, origin: Origin) -> None:
    made = site([origin.address], max_upload_rate=SLOW, idle_timeout="2s")
    client, server = made.pair(origin)
    client.sendall(b"x" * 5000)
    read_exactly(server, AT_ONCE)
    for _ in range(5):
        made.advance("1s")                  # (5 s give 91 bytes, which aren't worth a read)
    made.advance("40s")                     # 728 more
    made.advance("2m")
    assert read_exactly(server, 5000 - AT_ONCE) == b"x" * (5000 - AT_ONCE)


@pytest.mark.parametrize(("bind", "keys", "why"), [
    ("tcp://127.0.0.1:0", {"max_upload_rate": "5/s"}, "is no rate of bytes"),
    ("tcp://127.0.0.1:0", {"max_upload_rate": "fast"}, "is not a rate"),
    ("tcp://127.0.0.1:0", {"max_download_rate": 1000}, "is not a rate"),
    ("tcp://127.0.0.1:0", {"max_download_rate": "0B/s"}, "is nothing at all"),
    ("tcp://127.0.0.1:0", {"max_download_rate": "1B/100d"}, "is less than a byte a second"),
    ("http://127.0.0.1:0", {"max_upload_rate": "1MiB/s"}, "belongs to a tcp listener"),
    ("udp://127.0.0.1:0", {"max_download_rate": "1MiB/s"}, "belongs to a tcp listener"),
])
def test_wrong_speeds_are_refused(bind: str, keys: dict[str, Any], why: str) -> None:
    lb = fastlb.Balancer()
    with pytest.raises(fastlb.ConfigError, match=why):
        lb.listen(bind, pool=lb.pool("p", ["127.0.0.1:1"]), **keys)
