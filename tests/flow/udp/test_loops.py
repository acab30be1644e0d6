"""Datagrams whose source is one of our own listeners: each answer would come back as a question."""

from __future__ import annotations

import socket
import struct
from typing import Any

import pytest

from tests.flow.conftest import DEADLINE_S, wait_until
from tests.flow.networks import Machine, machines  # noqa: F401
from tests.flow.udp.conftest import Make, Serve
from tests.flow.udp.test_reload import reload
from tests.ports import free_port

Address = tuple[str, int]
IPV6_TRANSPARENT = 75           # of linux/in6.h: an address of another machine's may be bound


def forge(source: Address, target: Address, data: bytes = b"round", n: int = 1) -> None:
    """Datagrams that say they come from somewhere, as only a raw socket can send them."""
    size = 8 + len(data)
    udp = struct.pack("!HHHH", source[1], target[1], size, 0) + data
    ip = struct.pack("!BBHHHBBH4s4s", 0x45, 0, 20 + size, 0, 0, 64, 17, 0,
                     socket.inet_aton(source[0]), socket.inet_aton(target[0]))
    with socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW) as raw:
        for _ in range(n):
            raw.sendto(ip + udp, (target[0], 0))


@pytest.mark.parametrize("keys", [{}, {"answers": 1}, {"answers": 0}, {"pick": "datagram"}])
def test_datagram_from_the_listeners_own_address_is_dropped(
    site: Make, serve: Serve, keys: dict[str, Any]
) -> None:
    server = serve()
    made = site([server.address], **keys)
    forge(made.where, made.where, n=5)
    made.wait_dropped("loop", 5)
    assert not server.heard and made.sessions == 0


@pytest.mark.parametrize("host", ["127.0.0.1", "127.4.5.6"])
def test_datagram_from_a_wildcard_listeners_port_on_this_machine_is_dropped(
    site: Make, serve: Serve, host: str
) -> None:
    server = serve()
    made = site([server.address], bind=f"udp://0.0.0.0:{free_port(socket.SOCK_DGRAM)}")
    forge((host, made.where[1]), made.where, n=5)
    made.wait_dropped("loop", 5)
    assert not server.heard and made.sessions == 0


def test_client_at_an_address_that_is_not_listened_at_may_use_the_same_port(
    site: Make, serve: Serve
) -> None:
    made = site([serve().address])
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        client.bind(("127.9.9.9", made.where[1]))
        client.settimeout(30)
        client.sendto(b"a client", made.where)
        assert client.recv(100) == b"a client"
    assert not made.dropped()


def test_datagram_from_another_listener_is_dropped_after_reloads_too(
    site: Make, serve: Serve
) -> None:
    server = serve()
    made = site([server.address])
    other = ("127.0.0.1", free_port(socket.SOCK_DGRAM))
    with_other = {"l": {"bind": f"udp://127.0.0.1:{made.where[1]}", "pool": "p"},
                  "other": {"bind": f"udp://127.0.0.1:{other[1]}", "pool": "p"}}
    reload(made, listeners=with_other)
    forge(other, made.where, n=3)
    made.wait_dropped("loop", 3)
    forge(made.where, other, n=3)
    made.wait_dropped("loop", 6)
    assert not server.heard
    reload(made, listeners={"l": with_other["l"]})
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        wait_until(lambda: is_bound(client, other))     # (the listener's socket is gone)
        client.settimeout(30)
        client.sendto(b"a client", made.where)
        assert client.recv(100) == b"a client"


def is_bound(client: socket.socket, where: Address) -> bool:
    try:
        client.bind(where)
    except OSError:
        return False
    return True


def from_there(host: str, port: int, link: str) -> socket.socket:
    """A socket of the machine that we are inside, whose source may be another machine's."""
    made: socket.socket
    if ":" in host:
        made = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
        made.setsockopt(socket.IPPROTO_IPV6, IPV6_TRANSPARENT, 1)
        is_local = host.startswith("fe80:")
        made.bind((host, port, 0, socket.if_nametoindex(link) if is_local else 0))
    else:
        made = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        made.setsockopt(socket.IPPROTO_IP, socket.IP_TRANSPARENT, 1)
        made.bind((host, port))
    made.settimeout(DEADLINE_S)
    return made


@pytest.mark.parametrize(("bind", "kind"), [
    ("10.77.0.1", "v4"), ("0.0.0.0", "v4"), ("[fd77::1]", "v6"), ("[::]", "v6"),
    ("[fe80::1%near]", "local"), ("[::]", "local"),
])
def test_another_machine_is_served_unless_it_says_that_it_is_a_listener_of_ours(
    site: Make, serve: Serve, machines: tuple[Machine, Machine],        # noqa: F811
    bind: str, kind: str,
) -> None:
    near, far = machines
    near.believe_sources()
    port = 5300
    with near.inside():
        server = serve()
        made = site([server.address], bind=f"udp://{bind}:{port}")
    ours, theirs = getattr(near, kind), getattr(far, kind)
    with far.inside():
        target = (f"{ours}%{far.link}" if kind == "local" else ours, port)
        with from_there(ours, port, far.link) as forged:
            for _ in range(5):
                forged.sendto(b"round", target)
        made.wait_dropped("loop", 5)
        assert not server.heard and made.sessions == 0
        with from_there(theirs, port, far.link) as client:      # (of the same port, even)
            client.sendto(b"a client", target)
            assert client.recv(100) == b"a client"
    assert made.dropped() == {"loop": 5} and made.sessions == 1
