"""An authority, and sites whose clients and servers the test drives by itself."""

from __future__ import annotations

import ssl
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
import trustme

import fastlb
from tests.flow.conftest import Site
from tests.flow.tls.peers import Authority

PATIENT = "10m"         # only a broken program takes so long


@pytest.fixture(scope="session")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(trustme.CA(), tmp_path_factory.mktemp("authority"))


@pytest.fixture
def secure_site(authority: Authority, tmp_path: Path) -> Iterator[Callable[..., Site]]:
    """Makes a Site: `secure_site(servers, tls={...}, pool={...}, **listener keys)`, https if
    nothing else is said. Ends with all live counts at zero."""
    sites: list[Site] = []
    with ExitStack() as stack:

        def make(
            servers: list[Any], bind: str = "https://127.0.0.1:0",
            tls: dict[str, Any] | None = None, pool: dict[str, Any] | None = None,
            threads: int = 1, **keys: Any,
        ) -> Site:
            # (both ends of a handshake are Python's here, and may take long)
            if pool and "tls" in pool:
                pool = {"connect_timeout": PATIENT, **pool}
            balancer = fastlb.Balancer(threads=threads)
            target = balancer.pool("pool", servers, **(pool or {}))
            if bind.startswith(("https://", "tls://")):
                keys["tls"] = {"certificates": [authority.files("site.test")],
                               "handshake_timeout": PATIENT, **(tls or {})}
            listener = balancer.listen(bind, name="listener", pool=target, **keys)
            stack.enter_context(balancer.background())
            made = Site(balancer, listener)
            if "tls" in keys:
                made.context = authority.trusting()
            sites.append(made)
            return made

        yield make
        for made in sites:
            for client in made.clients:
                client.close()
        for made in sites:
            made.wait_idle()


@pytest.fixture
def context(authority: Authority) -> ssl.SSLContext:
    """Of a client that trusts the authority."""
    return authority.trusting()
