"""Names of servers have numbers, which are given back when nobody can need them any more."""

from __future__ import annotations

from fastlb._core.tables.live import Live

REST_MS = 600_000


def test_names_of_servers_that_went_are_given_back() -> None:
    live = Live(1)
    kept = live.pool("p")
    known = live.n_names
    now_ms = 1_000
    for turn in range(50):
        servers = {live.server("p", f"10.{turn}.0.{i}:80") for i in range(100)}
        live.keep(servers, {kept}, set(), now_ms)
        now_ms += REST_MS // 10
    live.keep(set(), {kept}, set(), now_ms)
    assert live.n_names < known + 100 * 15      # those of the last ten turns rest
    live.keep(set(), {kept}, set(), now_ms + REST_MS + 1)
    assert live.n_names == known


def test_a_server_that_comes_back_keeps_its_name() -> None:
    live = Live(1)
    server = live.server("p", "10.0.0.1:80")
    known = live.n_names
    live.keep(set(), set(), set(), 1_000)
    again = live.server("p", "10.0.0.1:80")
    assert again is not server
    live.keep({again}, set(), set(), 1_000 + 2 * REST_MS)
    assert live.n_names == known
    other = live.server("q", "10.0.0.1:80")     # one name for two
    live.keep({other}, set(), set(), 2_000 + 2 * REST_MS)
    live.keep({other}, set(), set(), 3_000 + 4 * REST_MS)
    assert live.n_names == known
