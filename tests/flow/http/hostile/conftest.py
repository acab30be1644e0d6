"""An innocent client beside the hostile one: it must always get exactly its own answers."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.flow.http.conftest import HttpSite
from tests.flow.http.peers import Wire, get


class Innocent:
    """A client on the same pool, on a connection that stays."""

    def __init__(self, site: HttpSite) -> None:
        self.wire: Wire = site.client()
        self.n = 0

    def check(self) -> None:
        for _ in range(2):
            self.n += 1
            body = b"own %d" % self.n
            self.wire.send(get(f"/innocent/{self.n}", method="POST", body=body))
            got = self.wire.response()
            assert got.status == 200
            assert got.body == b"origin POST /innocent/%d HTTP/1.1\n" % self.n + body
        assert not self.wire.ahead


@pytest.fixture
def innocent() -> Callable[[HttpSite], Innocent]:
    return Innocent
