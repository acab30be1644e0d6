"""Peers for hard times."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.adversity.test_servers import Echo
from tests.flow import conftest as flow
from tests.flow import secure
from tests.flow.conftest import Dress, Origin

pair = flow.pair


@pytest.fixture(params=["plain", "tls"])
def dress(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, pair: tuple[str, str]
) -> Dress:
    """What clients and servers speak."""
    made = Dress(pair, request.param == "tls", request.param == "tls")
    monkeypatch.setattr(secure, "of_servers", made.of_servers)
    return made


@pytest.fixture
def origin() -> Iterator[Origin]:
    peer = Origin()
    yield peer
    peer.close()


@pytest.fixture
def origin_echo() -> Iterator[Echo]:
    server = Echo()
    yield server
    server.down()
