"""An https balancer in front of scripted origins, and clients of it that speak HTTP/2."""

from __future__ import annotations

import ssl
from collections.abc import Callable, Iterator

import pytest

from fastlb._core.tables.certificates import H2_AVAILABLE
from tests.flow.http.conftest import HttpSite, origins, web
from tests.flow.http.peers import HttpOrigin
from tests.flow.http2.peers import Client
from tests.flow.modes import fixture_of

__all__ = ["origins", "web"]

Open = Callable[..., tuple[HttpSite, Client]]
Origins = Callable[..., HttpOrigin]


# (they have TLS anyway)
mode = fixture_of("thread", "threads", "inline", "poll", "filter")


@pytest.fixture
def h2(web: Callable[..., HttpSite], pair: tuple[str, str]) -> Iterator[Open]:
    """Makes a site and a client of it: `h2(servers, **listener keys)`."""
    if not H2_AVAILABLE:
        pytest.skip("built without HTTP/2")
    clients: list[Client] = []

    def make(servers: list[str], **keys: object) -> tuple[HttpSite, Client]:
        # (the client is Python's, and may be slow to shake hands and to begin)
        tls = {"certificates": [{"cert": pair[0], "key": pair[1]}], "handshake_timeout": "10m"}
        keys = {"request_header_timeout": "10m", **keys}
        made = web(servers, bind="https://127.0.0.1:0", tls=tls, **keys)
        clients.append(connect(made, pair))
        return made, clients[-1]

    yield make
    for client in clients:
        client.close()


def connect(site: HttpSite, pair: tuple[str, str]) -> Client:
    context = ssl.create_default_context(cafile=pair[0])
    context.set_alpn_protocols(["h2"])
    sock = context.wrap_socket(site.site.connect(), server_hostname="site.test")
    assert sock.selected_alpn_protocol() == "h2"
    site.site.clients.append(sock)
    return Client(sock)
