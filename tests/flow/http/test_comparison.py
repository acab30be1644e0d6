"""Servers that are ejected because they compare badly with others, or with what is wanted."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

import pytest

from fastlb.config.failing import Outliers, effective_outliers
from fastlb.control.outliers import Sample, judge
from tests.flow.conftest import wait_until
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

    def bad(wire: Wire, request: Message) -> None:
        if what == "latency":
            time.sleep(0.02)
        fails = what == "error_rate" and next(turns) % 4 < 3      # never five in a row
        wire.send(answer(b"bad", "500 Oh" if fails else "200 OK"))

    servers = [origins(bad), *(origins(name=f"o{i}") for i in range(3))]
    keys = {"error_rate": "50%"} if what == "error_rate" else {"latency": 5.0}
    site = web([one.address for one in servers], pool={
        "outliers": {**keys, "interval": "200ms", "min_requests": 5, "ejection_time": "1h"},
    })
    done = threading.Event()

    def client() -> None:
        wire = site.client()
        while not done.is_set():
            wire.send(get("/"))
            wire.response()
        wire.close()

    threads = [threading.Thread(target=client) for _ in range(3)]
    for thread in threads:
        thread.start()
    try:
        wait_until(lambda: "ejected" in states(site))
    finally:
        done.set()
        for thread in threads:
            thread.join()
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
        "consecutive_failures": 0, "error_rate": "90%", "interval": "1s", "min_requests": 5,
    }})

    def is_ejected() -> bool:
        site.client().close()
        return "ejected" in states(site)

    wait_until(is_ejected)
    assert states(site).count("ejected") == 1       # never the last
