"""A balancer in front of origins that speak HTTP/2, and clients of either version."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from fastlb._core.tables.certificates import H2_AVAILABLE
from tests.flow.conftest import Dress
from tests.flow.conftest import dress as any_dress
from tests.flow.http.conftest import HttpSite
from tests.flow.http2.servers.origin import H2Origin
from tests.flow.http2.servers.talk import Talk
from tests.flow.modes import fixture_of

__all__ = ["any_dress"]

Farm = Callable[..., H2Origin]
Front = Callable[..., HttpSite]


# (clients have TLS in other tests)
mode = fixture_of("thread", "threads", "inline", "poll", "tls-servers")


@pytest.fixture
def dress(any_dress: Dress) -> Dress:
    if any_dress.of_servers is not None:
        any_dress.of_servers.set_alpn_protocols(["h2"])
    return any_dress


@pytest.fixture
def farm() -> Iterator[Farm]:
    """Makes origins: `farm(serve, name, early, settings, begin)`."""
    if not H2_AVAILABLE:
        pytest.skip("built without HTTP/2")
    made: list[H2Origin] = []

    def make(*args: Any, **keys: Any) -> H2Origin:
        made.append(H2Origin(*args, **keys))
        return made[-1]

    yield make
    for one in made:
        one.close()


@pytest.fixture
def front(web: Callable[..., HttpSite]) -> Front:
    """Makes a site: `front([origins], pool={...}, **listener keys)`."""

    def make(origins: list[H2Origin], pool: dict[str, Any] | None = None, **keys: Any) -> HttpSite:
        # (its servers share a process with the tests, and take long to say their settings)
        return web([one.address for one in origins], h2c=True,
                   pool={"protocol": "h2", "connect_timeout": "10m", **(pool or {})}, **keys)

    return make


@pytest.fixture(params=["h1", "h2"])
def talk(request: pytest.FixtureRequest) -> Callable[[HttpSite], Talk]:
    """What clients speak."""
    return lambda site: Talk(site, request.param)
