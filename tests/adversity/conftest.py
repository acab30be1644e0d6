"""Peers for hard times."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.adversity.test_servers import Echo
from tests.flow.conftest import Origin


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
