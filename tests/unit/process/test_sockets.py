"""Sockets that others have opened: who reads from them."""

from __future__ import annotations

import itertools
import socket

import pytest

import fastlb
from fastlb.config.effective import effective
from fastlb.process.handed import Handed
from fastlb.process.sockets import open_all


@pytest.mark.parametrize(("scheme", "kind"), [
    ("tcp", socket.SOCK_STREAM), ("udp", socket.SOCK_DGRAM),
])
def test_one_socket_of_datagrams_is_read_by_one_thread(scheme: str, kind: int) -> None:
    with socket.socket(socket.AF_INET, kind) as sock:
        sock.bind(("127.0.0.1", 0))
        if kind == socket.SOCK_STREAM:
            sock.listen()
        port = sock.getsockname()[1]
        config = fastlb.Config.build({
            "listeners": {"l": {"bind": f"{scheme}://127.0.0.1:{port}", "pool": "p"}},
            "pools": {"p": {"servers": ["127.0.0.1:9"]}},
        })
        handed = Handed()
        handed.add(sock)
        (opened,) = open_all(effective(config).listeners[0], itertools.count(1), 3, handed)
        wanted = [sock.fileno()] * 3 if scheme == "tcp" else [sock.fileno(), -1, -1]
        assert opened.fds == wanted
        assert opened.shared == (scheme == "tcp")


def test_a_socket_of_another_kind_is_not_taken() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as sock:
        sock.bind(("127.0.0.1", 0))
        sock.listen()
        handed = Handed()
        handed.add(sock)
        assert handed.take(sock.getsockname()[:2], "", socket.SOCK_DGRAM) == []
        assert handed.take(sock.getsockname()[:2], "") == [sock]
