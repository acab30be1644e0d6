"""Facts are the same everywhere: as keys of hashes and as variables."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.flow.http.conftest import HttpSite
from tests.flow.http.peers import HttpOrigin

pytestmark = [pytest.mark.h2, pytest.mark.modes("h2")]

Web = Callable[..., HttpSite]
Origins = Callable[..., HttpOrigin]
REQUEST = b"%b /%b?%b HTTP/1.1\r\nHost: %b\r\n\r\n"
VARIED = {
    "request.method": [(b"GET", b"a", b"b", b"c"), (b"PUT", b"a", b"b", b"c")],
    "request.hostname": [(b"GET", b"a", b"b", b"c"), (b"GET", b"a", b"b", b"d")],
    "request.path": [(b"GET", b"a", b"b", b"c"), (b"GET", b"z", b"b", b"c")],
    "request.query": [(b"GET", b"a", b"b", b"c"), (b"GET", b"a", b"z", b"c")],
}


@pytest.mark.parametrize("fact", VARIED)
def test_a_pool_hashes_any_fact_of_a_request(web: Web, origins: Origins, fact: str) -> None:
    servers = [origins(name=str(i)) for i in range(8)]
    site = web([one.address for one in servers],
               pool={"balance": "rendezvous", "hash_on": fact})
    first, second = ([site.ask(REQUEST % parts).body for _ in range(3)] for parts in VARIED[fact])
    assert len(set(first)) == len(set(second)) == 1
    assert site.totals()["keys_missing"] == 0


def test_an_address_is_a_variable(web: Web, origins: Origins) -> None:
    origin = origins()
    site = web([origin.address], request_headers={"set": {"x-client": "{client.address}"}})
    wire = site.client()
    host, port = wire.sock.getsockname()[:2]
    wire.send(REQUEST % VARIED["request.method"][0])
    assert wire.response().status == 200
    assert origin.requests[0]["x-client"] == f"{host}:{port}"
