"""Sockets that others have opened: who reads from them."""

from __future__ import annotations

import errno
import itertools
import socket

import pytest

import fastlb
from fastlb.config.address import parse_bind
from fastlb.config.effective import effective
from fastlb.process.handed import Handed
from fastlb.process.sockets import explained, open_all


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


def taken(sock: socket.socket, key: str) -> str:
    address = parse_bind(f"tcp://127.0.0.1:{sock.getsockname()[1]}")
    return str(explained(key, address, OSError(errno.EADDRINUSE, "Address already in use")))


def test_a_port_that_this_process_has_is_told_apart() -> None:
    with socket.create_server(("127.0.0.1", 0)) as sock:
        assert "this process listens there already" in taken(sock, "listeners.a.bind")


def test_only_listeners_are_told_how_to_share_a_port() -> None:
    with socket.socket() as sock:           # (bound, and nobody listens)
        sock.bind(("127.0.0.1", 0))
        hint = "another process listens there (to share it with one that agrees, set reuse_port"
        assert hint in taken(sock, "listeners.a.bind")
        assert taken(sock, "admin.bind").endswith("another process listens there")


def test_a_second_run_of_a_notebook_is_told_what_to_stop() -> None:
    first = fastlb.Balancer()
    pool = first.pool("p", ["127.0.0.1:9"])
    web = first.listen("tcp://127.0.0.1:0", pool=pool)
    with first.background():
        again = fastlb.Balancer()
        again.listen(web.url, pool=again.pool("p", ["127.0.0.1:9"]))
        with pytest.raises(fastlb.BindError, match="if a Balancer does, stop it first"):
            again.background()
