"""Frames at random (tests/fuzz has them): nobody else notices, and nothing is left over."""

from __future__ import annotations

import random
from collections.abc import Callable

from tests.flow.conftest import wait_until
from tests.flow.http.conftest import HttpSite
from tests.flow.http.peers import HttpOrigin, get
from tests.flow.http2.conftest import Origins
from tests.flow.tls.turns import time_passes
from tests.fuzz import frames

SECONDS = 3.0


def test_frames_at_random(web: Callable[..., HttpSite], origins: Origins) -> None:
    origin: HttpOrigin = origins()
    site = web([origin.address], h2c=True)
    seed = random.SystemRandom().getrandbits(32)
    print(f"seed {seed}")

    def check() -> None:
        got = site.ask(get("/innocent", method="PUT", body=b"own"))
        assert got.body == b"origin PUT /innocent HTTP/1.1\nown"

    sent = frames.attack(site.site.connect, check, SECONDS, random.Random(seed))
    assert sent > 0
    for client in site.site.clients:
        client.close()
    for _ in range(2):                  # (what waits for a time that is over ends, too)
        time_passes(site.site, "1h")
    wait_until(lambda: not any(site.site.counts().values()))
    for one in origin.requests:
        assert one.line.count(" ") == 2
        assert len(one.all("host")) == 1
