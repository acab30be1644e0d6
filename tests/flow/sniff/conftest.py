"""A balancer with several protocols on one port, and an origin for each pool."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest
import trustme

import fastlb
from tests.flow.conftest import Origin, Site, read_exactly, wait_until
from tests.flow.observe.test_metrics import Scraped
from tests.flow.tls.peers import Authority

PATIENT = "10m"         # only a broken program waits so long


class Edge(Site):
    """The listener `edge`, whose pools are named after their origins."""

    def __init__(
        self, balancer: fastlb.Balancer, listener: fastlb.Listener, origins: dict[str, Origin]
    ) -> None:
        super().__init__(balancer, listener)
        self.origins = origins

    def says(self, data: bytes) -> socket.socket:
        client = self.connect()
        client.sendall(data)
        return client

    def serves(
        self, client: Any, pool: str, sent: bytes, explained: bool = True,
        proxy: dict[str, str] | None = None,
    ) -> socket.socket:
        """What the client has sent reaches this pool's origin as it was, and the rest follows, both
        ways; and `explain` knows it. `proxy` is what one has told of the client before."""
        server = self.origins[pool].accept()
        if explained:
            self.is_explained(client, pool, sent, proxy)
        client.sendall(b"more")
        assert read_exactly(server, len(sent) + 4) == sent + b"more"
        server.sendall(b"answer")
        assert read_exactly(client, 6) == b"answer"
        return server

    def is_explained(
        self, client: Any, pool: str, sent: bytes, proxy: dict[str, str] | None
    ) -> None:
        """`explain` says the same of a client of plain tcp that says all of it at once."""
        if not self.listener.url.startswith("tcp://"):
            return
        peer = "unix:"
        if client.family == socket.AF_INET:
            peer = "{}:{}".format(*client.getsockname())
        said = self.balancer.explain(
            "", "tcp://", body=sent, client=peer, listener="edge", proxy=proxy)
        assert said.policy is not None or pool in {one.name for one in said.pools}, str(said)

    def ended(self) -> dict[str, int]:
        return {name.removeprefix("ended_"): n for name, n in self.totals().items()
                if name.startswith("ended_") and n}

    def scraped(self) -> Scraped:
        return Scraped(self.balancer)


Make = Callable[..., Edge]


@pytest.fixture
def edge(mode: int) -> Iterator[Make]:
    """Makes an Edge: `edge(routes, pools="a b", **keys of the listener)`; `others` are listeners,
    `of` keys of pools by their names. Ends with all live counts at zero."""
    made: list[Edge] = []
    with ExitStack() as stack:

        def make(
            routes: list[dict[str, Any]], pools: str = "a b", bind: str = "tcp://127.0.0.1:0",
            others: dict[str, dict[str, Any]] | None = None,
            of: dict[str, dict[str, Any]] | None = None, top: dict[str, Any] | None = None,
            **keys: Any,
        ) -> Edge:
            # (a client that is slow to speak is no silent one, where no test is about that)
            keys = {"sniff_timeout": PATIENT, "sniff_whole_timeout": PATIENT, **keys}
            origins = {name: Origin() for name in pools.split()}
            for origin in origins.values():
                stack.callback(origin.close)
            config = fastlb.Config.build({
                "listeners": {"edge": {"bind": bind, "routes": routes, **keys}, **(others or {})},
                "pools": {name: {"servers": [origin.address], **(of or {}).get(name, {})}
                          for name, origin in origins.items()},
                **(top or {}),
            })
            balancer = fastlb.Balancer(config, threads=mode)
            stack.enter_context(balancer.background())
            made.append(Edge(balancer, balancer.listeners["edge"], origins))
            return made[-1]

        yield make
        for one in made:
            for client in one.clients:
                client.close()
            for origin in one.origins.values():
                for connection in origin.accepted:
                    connection.close()
        for one in made:
            one.wait_idle()
            runtime = one.balancer._instance.runtime
            if runtime is not None:
                wait_until(lambda r=runtime: all(  # type: ignore[misc]
                    listener.in_flight == 0 for listener in r.live.listeners()))


@pytest.fixture(scope="session")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(trustme.CA(), tmp_path_factory.mktemp("authority"))


@pytest.fixture
def tls(authority: Authority) -> dict[str, Any]:
    """Of a listener, for names below site.test."""
    return {"certificates": [authority.files("site.test", "*.site.test")],
            "handshake_timeout": PATIENT}


