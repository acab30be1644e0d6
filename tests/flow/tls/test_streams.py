"""Records that come in other pieces than what is read and written."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from typing import Any

import pytest

import fastlb
from tests.flow.conftest import Origin, Site, read_exactly, wait_until
from tests.flow.tls.conftest import PATIENT
from tests.flow.tls.peers import Authority

Make = Callable[..., Site]


def test_what_comes_while_a_record_is_half_read_is_not_forgotten(
    authority: Authority, origin: Origin
) -> None:
    """The socket was drained before that, and no event tells of it again."""
    decided = threading.Event()

    async def later(connection: Any) -> None:
        while not decided.is_set():
            await asyncio.sleep(0.001)

    balancer = fastlb.Balancer(threads=1)
    listener = balancer.listen(
        "tls://127.0.0.1:0", pool=balancer.pool("pool", [origin.address]),
        tls={"certificates": [authority.files("site.test")], "handshake_timeout": PATIENT})
    listener.route(first_bytes="4B", deadline=PATIENT)(later)
    with balancer.background():
        made = Site(balancer, listener)
        made.context = authority.trusting()
        engine = balancer._instance.running().engines.all[0]
        client = made.connect()
        client.sendall(b"0123456789")
        wait_until(lambda: sum(
            one["pending"] for one in balancer._instance.running().policies.totals().values()) == 1)
        turns = engine.turns
        client.sendall(b" the end")
        wait_until(lambda: engine.turns > turns)
        decided.set()
        server = origin.accept()
        assert read_exactly(server, 18) == b"0123456789 the end"
        client.close()
        server.close()
        made.wait_idle()


@pytest.mark.parametrize("cut", [1, 5, 20])
def test_a_record_comes_with_a_piece_of_the_next_one(
    secure_site: Make, origin: Origin, cut: int
) -> None:
    made = secure_site([origin.address], "tls://127.0.0.1:0")
    client: Any = made.connect()
    client._tls.write(b"first")
    first = client._out.read()
    client._tls.write(b"second")
    second = client._out.read()
    client._sock.sendall(first + second[:cut])
    server = origin.accept()
    assert read_exactly(server, 5) == b"first"
    client._sock.sendall(second[cut:])
    assert read_exactly(server, 6) == b"second"
    server.close()
