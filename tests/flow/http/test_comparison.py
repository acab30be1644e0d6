"""Servers that are ejected because they compare badly with others, or with what is wanted."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable

import pytest

from fastlb.config.failing import Outliers, effective_outliers
from fastlb.control.outliers import Sample, judge
from tests.flow.conftest import DEADLINE_S, wait_until
from tests.flow.http.conftest import HttpSite
from tests.flow.http.peers import HttpOrigin, Message, Wire, answer, get

Web = Callable[..., HttpSite]
Origins = Callable[..., HttpOrigin]


def judged(samples: list[tuple[int, int, int]], **keys: object) -> dict[str, str]:
    outliers = effective_outliers(Outliers(**keys))  # type: ignore[arg-type]
    made = [Sample(f"s{i}", n, bad, us) for i, (n, bad, us) in enumerate(samples)]
    return dict(judge(made, outliers))


def test_a_share_of_failures() -> None:
    found = judged([(100, 50, 0), (100, 49, 0), (19, 19, 0), (20, 20, 0), (0, 0, 0)],
                   error_rate="50%")
    assert found == {"s0": "failed 50 of 100 requests", "s3": "failed 20 of 20 requests"}
    assert judged([(100, 100, 0)]) == {}


def test_many_times_as_slow_as_the_others() -> None:
    even = (100, 0, 100_000)                        # 1 ms each
    assert judged([even, even, even, (100, 0, 499_000)], latency=5) == {}
    assert judged([even, even, even, (100, 0, 500_000)], latency=5) == {
        "s3": "is 5.0 times as slow as others"
    }
    assert judged([even, (100, 0, 9_000_000)], latency=5) == {}, "of two, who is the slow one?"
    assert judged([even, even, (10, 0, 9_000_000)], latency=5) == {}, "too few to say"


def states(site: HttpSite) -> list[str]:
    pool = site.site.balancer.pools["pool"]
    return [server.state for server in pool.servers.values()]


@pytest.mark.parametrize("what", ["error_rate", "latency"])
def test_a_bad_server_is_left_out(
    web: Web, origins: Origins, what: str, caplog: pytest.LogCaptureFixture
) -> None:
    turns = iter(range(10**9))
    arrived: list[str] = []
    good_go, bad_go = threading.Event(), threading.Event()

    def bad(wire: Wire, request: Message) -> None:
        arrived.append("bad")
        assert bad_go.wait(DEADLINE_S)
        fails = what == "error_rate" and next(turns) % 4 < 3      # never five in a row
        wire.send(answer(b"bad", "500 Oh" if fails else "200 OK"))

    def good(name: str) -> Callable[[Wire, Message], None]:
        def serve(wire: Wire, request: Message) -> None:
            arrived.append(name)
            assert good_go.wait(DEADLINE_S)
            wire.send(answer(name.encode()))

        return serve

    servers = [origins(bad), *(origins(good(f"o{i}")) for i in range(3))]
    keys = {"error_rate": "50%"} if what == "error_rate" else {"latency": 5.0}
    site = web([one.address for one in servers], response_header_timeout="1h", pool={
        "balance": "round_robin",
        "outliers": {**keys, "interval": "1h", "min_requests": 5, "ejection_time": "1h"},
    })
    site.advance("1h")                          # an interval begins
    # The good servers take a minute by the clock, beside which no pause of the machine counts, and
    # the bad one takes half an hour where that is what it's about.
    clients = [site.client() for _ in range(24)]
    for client in clients:
        client.send(get("/"))
    wait_until(lambda: len(arrived) == 24)
    assert min(Counter(arrived).values()) >= 5
    site.advance("1m")
    good_go.set()
    at_work = list(site.site.balancer.pools["pool"].servers.values())[1:]
    wait_until(lambda: sum(server.in_flight for server in at_work) == 0)
    if what == "latency":
        site.advance("29m")
    bad_go.set()
    for client in clients:
        client.response()
        client.close()
    assert "ejected" not in states(site)
    site.advance("1h")
    assert states(site) == ["ejected", "up", "up", "up"]
    assert {site.ask(get("/")).body[:2] for _ in range(8)} == {b"o0", b"o1", b"o2"}
    told = "times as slow" if what == "latency" else "failed"
    wait_until(lambda: any(
        told in one and "left out for 3600 s" in one for one in caplog.messages
    ))
    site.wait_idle()


def test_of_tcp_connects_that_fail(web: Web) -> None:
    # nobody listens at port 1; five failures in a row are not what is looked for here
    site = web(["127.0.0.1:1", "127.0.0.1:2"], bind="tcp://127.0.0.1:0", pool={"outliers": {
        "consecutive_failures": 0, "error_rate": "90%", "interval": "1h", "min_requests": 5,
    }})
    site.advance("1h")                              # an interval begins
    clients = [site.client() for _ in range(20)]    # (one that went at once might be forgotten)
    wait_until(lambda: site.totals()["connect_failures"] >= 20)
    for client in clients:
        client.close()
    site.advance("1h")
    assert states(site).count("ejected") == 1       # never the last
