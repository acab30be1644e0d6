"""Headers that are broken, or that their sender has no right to, and connections that lack one:
each ends without a byte, to either side, and is counted."""

from __future__ import annotations

import socket
from collections.abc import Callable

import pytest

from tests.flow.conftest import (
    DEADLINE_S,
    Origin,
    Site,
    read_exactly,
    read_to_end,
    reset,
    wait_until,
)
from tests.flow.http.peers import HttpOrigin, Wire, get
from tests.flow.proxied.headers import (
    HERE,
    INET,
    TRUSTED,
    V1,
    V2,
    begin,
    is_closed,
    tlv,
    v2,
)
from tests.flow.tls.turns import time_passes

Make = Callable[..., Site]
Origins = Callable[..., HttpOrigin]
NOBODY = {"trusted": ["192.0.2.0/24"], "timeout": "10m"}
BROKEN = {
    "no-family": b"PROXY \r\n",
    "another-family": b"PROXY UDP4 192.0.2.7 198.51.100.1 4242 443\r\n",
    "two-spaces": b"PROXY TCP4  192.0.2.7 198.51.100.1 4242 443\r\n",
    "no-cr": b"PROXY TCP4 192.0.2.7 198.51.100.1 4242 443\n",
    "port": b"PROXY TCP4 192.0.2.7 198.51.100.1 65536 443\r\n",
    "ip": b"PROXY TCP4 192.0.2.256 198.51.100.1 4242 443\r\n",
    "ip-of-another-family": b"PROXY TCP4 ::1 ::1 4242 443\r\n",
    "zero": b"PROXY TCP4 192.0.2.7\0 198.51.100.1 4242 443\r\n",
    "more": b"PROXY TCP4 192.0.2.7 198.51.100.1 4242 443 1\r\n",
    "without-end": b"PROXY TCP4 " + b"1" * 96,
    "version": v2(0x11, INET, command=0x31),
    "command": v2(0x11, INET, command=0x22),
    "family": v2(0x41, INET),
    "transport": v2(0x13, INET),
    "datagram": v2(0x12, INET),
    "short-addresses": v2(0x21, INET),
    "short-tlv": v2(0x11, INET, b"\x04\0"),
    "long-tlv": v2(0x11, INET, b"\x04\0\x02\0"),
    "checksum": v2(0x11, INET, tlv(3, b"\1\2\3\4")),
    "two-names": v2(0x11, INET, tlv(2, b"a.test"), tlv(2, b"b.test")),
    "too-long": v2(0x11, INET, tlv(0xE0, bytes(4100))),
}


def refused(made: Site, n: int) -> None:
    wait_until(lambda: made.totals()["ended_proxy_header"] == n,
               lambda: f"{made.totals()['ended_proxy_header']} refused, not {n}")


def too_late(made: Site) -> None:
    """The time of the one client that there is goes by."""
    wait_until(lambda: made.counts()["exchanges"] == 1)
    time_passes(made, "11m")


def reached(origin: Origin) -> bool:
    origin.listener.setblocking(False)
    try:
        origin.listener.accept()[0].close()
        return True
    except BlockingIOError:
        return False


@pytest.mark.plain
@pytest.mark.parametrize("scheme", ["tcp", "http"])
@pytest.mark.parametrize("name", BROKEN)
def test_broken_ones(site: Make, origin: Origin, scheme: str, name: str) -> None:
    made = site([origin.address], bind=f"{scheme}://127.0.0.1:0", **HERE)
    client = begin(made, BROKEN[name] + get())
    assert is_closed(client)
    refused(made, 1)
    assert made.totals()["proxy_headers"] == 0
    assert not reached(origin)


@pytest.mark.plain
@pytest.mark.parametrize("scheme", ["tcp", "http"])
@pytest.mark.parametrize("header", [V1, V2])
def test_what_ends_too_early(site: Make, origin: Origin, scheme: str, header: bytes) -> None:
    made = site([origin.address], bind=f"{scheme}://127.0.0.1:0", **HERE)
    first = 12 if header == V2 else 6
    for i, n in enumerate((first, first + 1, len(header) - 1)):
        client = begin(made, header[:n])
        client.shutdown(socket.SHUT_WR)
        assert is_closed(client)
        refused(made, i + 1)
    assert not reached(origin)


@pytest.mark.plain
@pytest.mark.parametrize("header", [V1, V2])
def test_what_takes_too_long(site: Make, origin: Origin, header: bytes) -> None:
    made = site([origin.address], proxy_protocol=TRUSTED)
    client = begin(made, header[:-1])
    too_late(made)
    assert is_closed(client)
    refused(made, 1)
    assert not reached(origin)


@pytest.mark.plain
@pytest.mark.parametrize("scheme", ["tcp", "http"])
@pytest.mark.parametrize("header", [V1, V2, V1[:6], V2[:12]])
def test_anybody_elses(site: Make, origin: Origin, scheme: str, header: bytes) -> None:
    made = site([origin.address], bind=f"{scheme}://127.0.0.1:0", proxy_protocol=NOBODY)
    assert is_closed(begin(made, header))
    refused(made, 1)
    assert not reached(origin)


def test_anybody_without_one_is_a_client(site: Make, origins: Origins) -> None:
    made = site([origins().address], bind="http://127.0.0.1:0", proxy_protocol=NOBODY)
    wire = Wire(begin(made))
    wire.send(get("/a"))
    assert wire.response().body == b"origin GET /a HTTP/1.1\n"
    assert made.totals()["ended_proxy_header"] == 0


@pytest.mark.plain
def test_where_one_is_required(site: Make, origin: Origin) -> None:
    made = site([origin.address], proxy_protocol={**TRUSTED, "required": True})
    for i, first in enumerate((b"GET / HTTP/1.1\r\n\r\n", b"PROXX", b"PRO", b"")):
        client = begin(made, *([first] if first else []))
        if b"PROXY".startswith(first):
            too_late(made)
        assert is_closed(client)
        refused(made, i + 1)
        made.wait_idle()
    client = begin(made, b"PRO")
    client.shutdown(socket.SHUT_WR)
    assert is_closed(client)
    refused(made, 5)
    assert not reached(origin)
    origin.listener.settimeout(DEADLINE_S)
    begin(made, V1 + b"hello")
    assert read_exactly(origin.accept(), 5) == b"hello"


@pytest.mark.plain
def test_where_one_is_required_of_others(site: Make, origin: Origin) -> None:
    """Who may not send one can't be served: it is closed at once, whatever it says."""
    made = site([origin.address], proxy_protocol={**NOBODY, "required": True, "timeout": "10m"})
    assert is_closed(begin(made))
    refused(made, 1)
    assert not reached(origin)


@pytest.mark.plain
@pytest.mark.parametrize("trusted", [True, False])
@pytest.mark.parametrize("first", [
    b"P", b"POST / HTTP", b"PROXX", b"PROXYING", b"\r", b"\r\n\r\nGET", b"\x16\x03\x01",
    V2[:11] + b"x", b"PRI * HTTP/2.0",
])
def test_what_only_looks_like_one(
    site: Make, origin: Origin, first: bytes, trusted: bool
) -> None:
    made = site([origin.address], proxy_protocol=TRUSTED if trusted else NOBODY)
    for pieces in ([first], [first[i : i + 1] for i in range(len(first))]):
        client = begin(made, *pieces)
        client.shutdown(socket.SHUT_WR)
        server = origin.accept()
        assert read_to_end(server) == first
        server.close()
        assert read_to_end(client) == b""
    assert made.totals()["ended_proxy_header"] == 0


@pytest.mark.plain
def test_the_begin_of_one_that_stays_a_begin(site: Make, origin: Origin) -> None:
    made = site([origin.address], proxy_protocol=TRUSTED)
    begin(made, b"PROX")
    too_late(made)
    assert read_exactly(origin.accept(), 4) == b"PROX"


@pytest.mark.plain
@pytest.mark.parametrize("n", [0, 3, 20])
def test_who_is_reset_before_it_is_whole(site: Make, origin: Origin, n: int) -> None:
    made = site([origin.address], proxy_protocol={**TRUSTED, "timeout": "10m"})
    reset(begin(made, *([V2[:n]] if n else [])))
    wait_until(lambda: made.totals()["ended_client_reset"] == 1)
    assert not reached(origin)


@pytest.mark.plain
def test_who_says_nothing_and_goes(site: Make, origin: Origin) -> None:
    made = site([origin.address], proxy_protocol={**TRUSTED, "required": True})
    begin(made).close()
    refused(made, 1)
    assert not reached(origin)
