"""The clock of a TestBalancer: what waits for time has happened when it is moved."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator

import httpx
import pytest

import fastlb
from fastlb.testing import TestBalancer
from tests.flow.conftest import DEADLINE_S, wait_until


@pytest.fixture(params=[0, 2], ids=["inline", "threads"])
def made(request: pytest.FixtureRequest) -> Iterator[TestBalancer]:
    with TestBalancer(threads=request.param) as balancer:
        yield balancer


def get(url: str) -> httpx.Response:
    return httpx.get(url, trust_env=False, timeout=DEADLINE_S)


def is_answered(client: socket.socket) -> bool:
    client.sendall(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
    said = b""
    while not said.endswith(b"origin1\n"):      # (its body)
        said += (piece := client.recv(1000))
        assert piece, said
    return said.startswith(b"HTTP/1.1 200")


def ended(client: socket.socket) -> bool:
    client.settimeout(DEADLINE_S)
    return client.recv(100) == b""


def test_an_idle_client_is_closed(made: TestBalancer) -> None:
    site = made.listen(pool=made.pool(servers=[made.origin()]), keepalive_timeout="10m")
    client = made.connect(site, timeout=DEADLINE_S)
    assert is_answered(client)
    made.clock.advance("9m")
    assert is_answered(client)
    made.clock.advance("11m")
    assert ended(client)


def test_a_head_that_does_not_come_is_a_408(made: TestBalancer) -> None:
    site = made.listen(pool=made.pool(servers=[made.origin()]))
    client = made.connect(site, timeout=DEADLINE_S)
    client.sendall(b"GET / HTTP/1.1\r\nHost: a\r\n")
    wait_until(lambda: site.stats()["accepted"] == 1)
    made.clock.advance("11s")
    assert client.recv(1000).startswith(b"HTTP/1.1 408")


def test_an_hour_takes_no_time(made: TestBalancer) -> None:
    site = made.listen(pool=made.pool(servers=[made.origin()]))
    assert get(site.url).status_code == 200
    begin_s = time.monotonic()
    made.clock.advance("1h")
    made.clock.advance(0.5)
    assert time.monotonic() - begin_s < 3000       # (an hour is 3600 s)
    assert get(site.url).status_code == 200


def test_an_ejection_ends(made: TestBalancer) -> None:
    bad, good = made.origin(name="bad"), made.origin(name="good")
    pool = made.pool(servers=[bad, good], retry={"attempts": 1},
                     outliers={"consecutive_failures": 2, "ejection_time": "10m"})
    site = made.listen(pool=pool)
    bad.fault(reset=1.0)
    for _ in range(6):
        get(site.url)
    wait_until(lambda: pool.servers[bad.address].state == "ejected")
    bad.heal()
    seen = len(bad.requests)
    made.clock.advance("9m")
    for _ in range(4):
        assert get(site.url).text == "good\n"
    made.clock.advance("2m")
    assert {get(site.url).text for _ in range(4)} == {"good\n", "bad\n"}
    assert len(bad.requests) > seen


def test_health_checks_come(made: TestBalancer) -> None:
    origin = made.origin()
    pool = made.pool(servers=[origin], health=fastlb.Health(
        http="/healthz", interval="1h", timeout="30s"))
    site = made.listen(pool=pool)
    assert site.url
    wait_until(lambda: len(origin.checks) == 1)
    for n in range(2, 6):
        made.clock.advance("70m")
        # (mypy can't infer a lambda's default)
        wait_until(lambda n=n: len(origin.checks) == n)  # type: ignore[misc]


def test_two_balancers_have_two_clocks(made: TestBalancer) -> None:
    with TestBalancer() as other:
        site = other.listen(pool=other.pool(servers=[other.origin()]), keepalive_timeout="30m")
        client = other.connect(site, timeout=DEADLINE_S)
        assert is_answered(client)
        made.listen(pool=made.pool(servers=[made.origin()]))
        made.clock.advance("1h")
        assert is_answered(client)


def test_a_timeout_that_was_nearly_over_ends_by_itself(made: TestBalancer) -> None:
    """What is left of it goes by the system's clock."""
    site = made.listen(pool=made.pool(servers=[made.origin()]), keepalive_timeout="60s")
    client = made.connect(site, timeout=DEADLINE_S)
    assert is_answered(client)
    made.clock.advance("59s")
    assert ended(client)            # (which waits for less than 59 s)


def test_clock_is_not_moved_from_the_balancers_own_loop(made: TestBalancer) -> None:
    site = made.listen(pool=made.pool(servers=[made.origin()]))

    @site.route("/move", name="move", deadline="30s")
    async def move(request: fastlb.Request) -> fastlb.Response:
        try:
            made.clock.advance("1s")
        except RuntimeError as error:
            return fastlb.Response(200, str(error))
        return fastlb.Response(500)

    assert "is moved from the test" in get(f"{site.url}/move").text


@pytest.mark.parametrize("wrong", ["", "1 fortnight", -1, None, True, "999999999999999d"])
def test_what_is_no_duration_is_an_error(made: TestBalancer, wrong: object) -> None:
    made.listen(pool=made.pool(servers=[made.origin()]))
    with pytest.raises(ValueError, match="duration"):
        made.clock.advance(wrong)  # type: ignore[arg-type]   # (that is the mistake)
