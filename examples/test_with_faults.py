"""Tests with a real balancer and origins that fail on demand: the fixture `balancer`.

    pytest examples/test_with_faults.py
"""

from __future__ import annotations

import httpx
import pytest

import fastlb
from fastlb import Retry

lb = fastlb.Balancer()
api = lb.pool("api", ["127.0.0.1:9001"])
docs = lb.pool("docs", ["127.0.0.1:9002"])
web = lb.listen("http://127.0.0.1:0", name="web", pool=api)


@web.route("/sync/{doc_id}")
def by_tier(request: fastlb.Request) -> fastlb.Decision:
    return docs if request.headers.get("x-user-tier") == "premium" else api


def test_policy_alone() -> None:                # the decorator returns the function itself
    request = fastlb.testing.request("GET", "/sync/1", headers={"X-User-Tier": "premium"})
    assert by_tier(request) is docs


def test_retry(balancer: fastlb.testing.TestBalancer) -> None:
    a, b = balancer.origin(), balancer.origin()
    site = balancer.listen(
        pool=balancer.pool("api", [a, b], retry=Retry(attempts=2, on=["reset"]))
    )
    a.fault(reset=1.0)
    assert {httpx.get(site.url).status_code for _ in range(10)} == {200}
    assert {record.server for record in balancer.records} == {b.address}


def test_a_slow_server_is_given_up(balancer: fastlb.testing.TestBalancer) -> None:
    a, b = balancer.origin(), balancer.origin()
    pool = balancer.pool("api", [a, b], retry=Retry(attempts=2, on=["timeout"]))
    site = balancer.listen(pool=pool, response_header_timeout="100ms")
    a.fault(delay="lognormal(10s, 0.1)")
    assert httpx.get(site.url).text == httpx.get(site.url).text == f"{b.name}\n"


def test_two_bad_servers_and_nobody_notices(balancer: fastlb.testing.TestBalancer) -> None:
    a, b, good = (balancer.origin() for _ in range(3))
    pool = balancer.pool(
        "api", [a, b, good], retry=Retry(attempts=3, on=["503", "invalid"], budget="100%")
    )
    site = balancer.listen(pool=pool)
    a.fault(status={503: 0.5})                  # drawn with a seed: the same in every run
    b.fault(garbage=0.5)
    assert {httpx.get(site.url).status_code for _ in range(30)} == {200}


def test_clients_see_what_a_server_cuts_off(balancer: fastlb.testing.TestBalancer) -> None:
    origin = balancer.origin(fastlb.testing.Answer(200, json={"items": list(range(1000))}))
    site = balancer.listen(pool=balancer.pool("api", [origin]))
    origin.fault(truncate=1.0)
    with pytest.raises(httpx.RemoteProtocolError):
        httpx.get(site.url)
    assert [request.outcome for request in origin.requests] == ["truncate"]
