"""Clients that are gone without a word: no FIN, no RST, as when a cable is pulled."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable

import pytest

from tests.flow.conftest import Origin, Site, read_exactly, read_to_end

TCP_REPAIR = 19                 # of linux/tcp.h: such a socket is closed without a packet

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="TCP_REPAIR is for CAP_NET_ADMIN")


def vanish(sock: socket.socket) -> None:
    sock.setsockopt(socket.IPPROTO_TCP, TCP_REPAIR, 1)
    sock.close()


@pytest.mark.parametrize(
    "keys",
    [
        {"idle_timeout": "1h"},
        {"idle_timeout": "0s", "keepalive": {"idle": "1s", "interval": "1s", "count": 1}},
    ],
    ids=["idle_timeout", "keepalive"],
)
def test_a_client_that_vanished_is_found(
    site: Callable[..., Site], origin: Origin, keys: dict[str, object]
) -> None:
    balanced = site([origin.address], **keys)
    client, server = balanced.pair(origin)
    client.sendall(b"hello")
    assert read_exactly(server, 5) == b"hello"
    server.sendall(b"world")            # the second write of each side: options are set
    assert read_exactly(client, 5) == b"world"
    client.sendall(b"again")
    assert read_exactly(server, 5) == b"again"
    vanish(client)
    if "keepalive" not in keys:         # (which the kernel's clock is for)
        balanced.advance("61m")
    with pytest.raises(ConnectionResetError):
        read_to_end(server)
    balanced.wait_idle()


def test_an_answer_to_a_client_that_vanished_ends_the_relay(
    site: Callable[..., Site], origin: Origin
) -> None:
    balanced = site([origin.address])
    client, server = balanced.pair(origin)
    client.sendall(b"hello")
    assert read_exactly(server, 5) == b"hello"
    vanish(client)
    server.sendall(b"too late")         # its machine answers with an RST: it knows of nothing
    with pytest.raises(ConnectionResetError):
        read_to_end(server)
    balanced.wait_idle()
