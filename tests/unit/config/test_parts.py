"""Parts that are made alone, fastlb.Retry and fastlb.Health, are checked as those of a file are."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

import fastlb


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: fastlb.Retry(attemps=2),  # type: ignore[call-arg]
         "retry.attemps: 'attemps' is not a key here; did you mean 'attempts'? One of: attempts,"
         " on, connect_failure, non_idempotent, budget"),
        (lambda: fastlb.Retry(attempts=99, on=["x"]),
         "retry.attempts: 99 is out of range: at most 16\n"
         "retry.on[0]: 'x' is none of connect_failure, reset, timeout, invalid, and no status"),
        (lambda: fastlb.Health(http="x"),
         "health.http: 'x' is not a path; write it like \"/healthz\""),
        (lambda: fastlb.Balancer().pool("p", health=fastlb.Health()),
         "pools.p.health: health has exactly one of tcp, tls, http, grpc, expect, udp; this one has"
         " none"),
    ],
)
def test_mistakes_are_told(make: Callable[[], Any], says: str) -> None:
    with pytest.raises(fastlb.ConfigError) as caught:
        make()
    assert str(caught.value) == says


def test_a_part_means_what_a_table_means() -> None:
    lb = fastlb.Balancer()
    lb.pool("a", retry=fastlb.Retry(attempts=2, on=["503"]), health=fastlb.Health(tcp=True))
    lb.pool("b", retry={"attempts": 2, "on": ["503"]}, health={"tcp": True})
    assert lb.config.pools["a"] == lb.config.pools["b"]
