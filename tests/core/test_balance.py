"""The pickers of the core, driven directly."""

from __future__ import annotations

import bisect
import collections
import zlib
from array import array
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastlb._core.tables.live import Live
from fastlb._core.tables.snapshot import Snapshot
from fastlb.compile.facts import fact_spec
from fastlb.compile.pools import SEQUENCE_MAX, ring, sequence
from fastlb.compile.snapshot import GroupSpec, ServerSpec, groups, rank
from fastlb.config.failing import (
    OUTLIERS,
    RETRY,
    Hedge,
    Outliers,
    Retry,
    effective_hedge,
    effective_outliers,
    effective_retry,
)
from fastlb.config.model import Pool
from fastlb.config.plain import plain_numbers
from tests.core import probe

KEYS = plain_numbers(Pool, lambda key, missing: missing)


def picker(weights: list[int], balance: str = "round_robin", **keys: Any) -> Any:
    names = keys.pop("names", None) or [
        f"10.0.{i // 256}.{i % 256}:80" for i in range(len(weights))
    ]
    limits = keys.pop("limits", [0] * len(weights))
    ranks = keys.pop("ranks", [(0, True)] * len(weights))   # priority, and whether it is near
    servers = [
        ServerSpec(name, ("10.0.0.1", 80), w, limit, priority, local)
        for name, w, limit, (priority, local) in zip(names, weights, limits, ranks, strict=True)
    ]
    assert servers == sorted(servers, key=rank)
    pool = SimpleNamespace(
        name="pool",
        balance=balance,
        bounded_load=keys.pop("bounded_load", 0.0),
        table_size=keys.pop("table_size", 65_537),
        hash_key=fact_spec(keys.pop("hash_on", "client.ip")),
        keys=KEYS,
        tcp_nodelay=True,
        keepalive=None,
        servers=servers,
        groups=groups(balance, servers),
        slow_start_ms=keys.pop("slow_start_ms", 0),
        nearest=None, sticky=None,
        hedge=effective_hedge(Hedge(**hedge)) if (hedge := keys.pop("hedge", None)) else None,
        retry=effective_retry(Retry(**keys.pop("retry", {}))),
        outliers=effective_outliers(Outliers(**keys.pop("outliers", {"consecutive_failures": 0}))),
        fallback=-1, in_flight_max=0, pending_max=0, pending_timeout_ms=0, retry_after_s=0,
        retries_max=0, unavailable=None, tls=None, speaks_h2=False, proxy_protocol=0,
        request_edits=(), response_edits=(),
    )
    bind = SimpleNamespace(
        id=1, listener="l", pool=0, http=None, shared=False, max_connections=0, idle_timeout_ms=0,
        buffer_size=16384, bulk_buffer_size=16384, fds=[], policy=None, sniff=None, udp=None,
        tls=None, proxy=None, access=None, speeds=None,
    )
    return probe.Picker(Snapshot(Live(1), [pool], [bind]), keys.pop("seed", 1))


def test_round_robin_is_smooth() -> None:
    chooser = picker([5, 1, 1])
    turns = [chooser.pick() for _ in range(14)]
    assert collections.Counter(turns) == {0: 10, 1: 2, 2: 2}
    assert "0000" not in "".join(map(str, turns))
    equal = picker([2, 2, 2])
    assert [equal.pick() for _ in range(6)] == [0, 1, 2, 0, 1, 2]


def test_round_robin_passes_over_servers_that_were_tried() -> None:
    chooser = picker([1, 1, 1])
    chooser.tried([0, 1])
    assert [chooser.pick() for _ in range(5)] == [2] * 5
    chooser.tried([0, 1, 2])
    assert chooser.pick() == -1


def test_a_full_server_is_passed_over_and_all_full_is_told_apart() -> None:
    chooser = picker([1, 1], limits=[1, 2])
    assert sorted(chooser.pick() for _ in range(3)) == [0, 1, 1]
    assert chooser.pick() == -2
    chooser.give(0)
    assert chooser.pick() == 0


def test_a_failing_server_is_tried_by_one_connection_a_second() -> None:
    chooser = picker([1, 1])
    chooser.fail(0)
    assert [chooser.pick() for _ in range(4)] == [1] * 4
    chooser.advance_ms(999)
    assert [chooser.pick() for _ in range(4)] == [1] * 4
    chooser.advance_ms(1)
    assert sorted(chooser.pick() for _ in range(4)) == [0, 1, 1, 1]


def test_when_all_are_failing_they_are_tried_rather_than_nobody() -> None:
    chooser = picker([1, 1])
    chooser.fail(0)
    chooser.fail(1)
    assert {chooser.pick() for _ in range(4)} == {0, 1}


def test_an_empty_pool_has_no_server() -> None:
    assert picker([]).pick() == -1
    assert picker([], "ring_hash").pick() == -1
    assert picker([0, 0]).pick() == -1


@given(st.lists(st.integers(0, 256), max_size=40))
def test_a_sequence_gives_every_server_its_share(weights: list[int]) -> None:
    turns = collections.Counter(sequence(weights))
    total = sum(weights)
    for index, weight in enumerate(weights):
        assert turns[index] * total == weight * sum(turns.values())


def test_a_long_sequence_is_rounded() -> None:
    weights = [256, 255, 1] * 2000
    turns = sequence(weights)
    assert SEQUENCE_MAX * 0.9 < len(turns) <= SEQUENCE_MAX + len(weights)
    assert set(turns) == set(range(len(weights)))


def test_crc32_is_that_of_zlib() -> None:
    for data in (b"", b"a", b"123456789", bytes(range(256)) * 5):
        assert probe.crc(data) == zlib.crc32(data)
    assert probe.crc(b"123456789") == 0xCBF43926    # the check value of ISO 3309


@pytest.mark.parametrize(
    ("where", "with_port", "text"),
    [
        (("127.0.0.1", 4711), False, b"127.0.0.1"),
        (("127.0.0.1", 4711), True, b"127.0.0.1:4711"),
        (("255.255.255.255", 65535), True, b"255.255.255.255:65535"),
        (("0.0.0.0", 1), False, b"0.0.0.0"),
        (("2001:db8::ff00:42:8329", 80), False, b"2001:db8::ff00:42:8329"),
        (("::1", 80), True, b"[::1]:80"),
        (
            ("1111:2222:3333:4444:5555:6666:123.123.123.123", 65535), True,
            b"[1111:2222:3333:4444:5555:6666:7b7b:7b7b]:65535",
        ),
        (None, False, b"unix:"),
    ],
)
def test_the_text_that_is_hashed(where: Any, with_port: bool, text: bytes) -> None:
    assert probe.hash_of(where, with_port) == zlib.crc32(text)


def test_ring_hash_takes_the_first_point_at_or_after_the_key() -> None:
    weights = [1, 2, 1, 0, 3]
    chooser = picker(weights, "ring_hash")
    names = [f"10.0.0.{i}:80" for i in range(5)]
    hashes, owners = ring(names, weights)
    assert len(hashes) == len(owners) <= 160 * sum(weights)
    assert list(hashes) == sorted(set(hashes))
    for last in range(1, 250):
        chooser.client((f"192.0.2.{last}", 1))
        at = bisect.bisect_left(hashes, zlib.crc32(b"192.0.2.%d" % last)) % len(hashes)
        assert chooser.pick() == owners[at]


def test_the_first_points_of_a_ring() -> None:
    # As nginx computes them: CRC-32 of host, NUL, port and the point before (0 at first).
    hashes, owners = ring(["10.0.0.1:80"], [1])
    first = zlib.crc32(b"10.0.0.1\x0080\0\0\0\0")
    second = zlib.crc32(b"10.0.0.1\x0080" + first.to_bytes(4, "little"))
    assert {first, second} <= set(hashes)
    assert set(owners) == {0}


def test_a_snapshot_refuses_tables_that_point_nowhere() -> None:
    spec = SimpleNamespace(
        name="p", balance="round_robin", bounded_load=0.0, table_size=0,
        hash_key=fact_spec("client.ip"), tcp_nodelay=True,
        keepalive=None,
        keys=KEYS,
        servers=[], slow_start_ms=0, sticky=None, hedge=None,
        groups=[GroupSpec(0, 0, array("I", [0]), None)],
        retry=RETRY, outliers=OUTLIERS, fallback=-1,
        in_flight_max=0, pending_max=0, pending_timeout_ms=0, retry_after_s=0,
        retries_max=0, unavailable=None, tls=None, speaks_h2=False, proxy_protocol=0,
        request_edits=(), response_edits=(),
    )
    with pytest.raises(ValueError, match="a sequence names a server that isn't there"):
        Snapshot(Live(1), [spec], [])
