"""An http balancer in front of scripted origins."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import pytest

from tests.flow.conftest import DEADLINE_S, Site, wait_until
from tests.flow.http.peers import HttpOrigin, Serve, Wire

if TYPE_CHECKING:
    from tests.flow.http.policies import Decided


class HttpSite:
    """A running http listener, and clients of it."""

    def __init__(self, site: Site) -> None:
        self.site = site

    def client(self) -> Wire:
        return Wire(self.site.connect())

    def ask(self, request: bytes, method: str = "GET"):  # type: ignore[no-untyped-def]
        """One exchange on a connection of its own."""
        wire = self.client()
        wire.send(request)
        message = wire.response(method)
        wire.close()
        return message

    def wait_idle(self) -> None:
        self.site.wait_idle()

    def idle(self) -> int:
        runtime = self.site.balancer._instance.runtime
        assert runtime is not None
        return sum(engine.idle for engine in runtime.engines.all)

    def wait_for_idle(self, n: int) -> None:
        wait_until(lambda: self.idle() == n, f"{self.idle()} connections are kept, not {n}")

    def totals(self) -> dict[str, int]:
        return self.site.totals()

    def advance(self, duration: str) -> None:
        """Move the clock, once the engines have read what was sent to them before."""
        self.site.advance("1ms")
        self.site.advance(duration)


@pytest.fixture
def web(site: Callable[..., Site]) -> Callable[..., HttpSite]:
    """Makes an HttpSite: `web(servers, **listener keys)`."""

    def make(servers: list[str], **keys: object) -> HttpSite:
        # A busy machine must not look like a server that doesn't accept, or a slow client.
        pool: Any = keys.get("pool") or {}
        keys["pool"] = {"connect_timeout": f"{DEADLINE_S:.0f}s", **pool}
        if str(keys.setdefault("bind", "http://127.0.0.1:0")).startswith("http"):
            keys.setdefault("request_header_timeout", f"{DEADLINE_S:.0f}s")
        return HttpSite(site(servers, **keys))

    return make


@pytest.fixture
def origins() -> Iterator[Callable[..., HttpOrigin]]:
    made: list[HttpOrigin] = []

    def make(serve: Serve | None = None, name: str = "origin") -> HttpOrigin:
        made.append(HttpOrigin(serve, name))
        return made[-1]

    yield make
    for one in made:
        one.close()


@pytest.fixture
def decided(mode: int, origins: Callable[..., HttpOrigin]) -> Iterator[Decided]:
    from tests.flow.http.policies import Decided

    with ExitStack() as stack:
        made = Decided(mode, origins, stack)
        yield made
        assert made.site is not None
        for client in made.site.clients:
            client.close()
        made.site.wait_idle()
        policies = made.lb._instance.running().policies
        wait_until(lambda: all(t["pending"] == 0 for t in policies.totals().values()),
                   "still pending")


@pytest.fixture(params=["sync", "async", "blocking"])
def kind(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name
