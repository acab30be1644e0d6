"""Sets of networks: what is read as one, and who is in it, beside Python's own ipaddress."""

from __future__ import annotations

import ipaddress
import random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fastlb._core.tables.networks import NetworkSet

MANY = 1_000_000


def made(*lines: str, most: int = MANY) -> NetworkSet:
    return NetworkSet("\n".join(lines).encode(), most)


IN = {
    "192.0.2.1": ("192.0.2.1", "192.0.2.0 192.0.2.2"),
    "192.0.2.0/24": ("192.0.2.0 192.0.2.255", "192.0.1.255 192.0.3.0"),
    "192.0.2.77/24": ("192.0.2.0 192.0.2.255", "192.0.3.0"),
    "0.0.0.0/0": ("0.0.0.0 255.255.255.255 ::ffff:10.0.0.1", ":: 2001:db8::1"),
    "255.255.255.255": ("255.255.255.255", "255.255.255.254"),
    "192.0.2.7 - 192.0.2.99": ("192.0.2.7 192.0.2.99", "192.0.2.6 192.0.2.100"),
    "192.0.2.7-192.0.3.1": ("192.0.2.255 192.0.3.1", "192.0.3.2"),
    "2001:db8::/32": ("2001:db8:: 2001:db8:ffff:ffff:ffff:ffff:ffff:ffff", "2001:db9::"),
    "2001:db8::7/128": ("2001:db8::7", "2001:db8::6 2001:db8::8"),
    "2001:db8:0:1::/64": ("2001:db8:0:1:ffff:: 2001:db8:0:1::", "2001:db8:0:2::"),
    "2001:db8::1:0/112": ("2001:db8::1:0 2001:db8::1:ffff", "2001:db8:: 2001:db8::2:0"),
    "2001:db8::5 - 2001:db8:0:1::": ("2001:db8::ffff 2001:db8:0:1::", "2001:db8::4"),
    "::/0": (":: 2001:db8::1 ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "10.0.0.1"),
    "::ffff:192.0.2.0/120": ("192.0.2.9 ::ffff:192.0.2.9", "192.0.3.0"),
    "  192.0.2.1\t": ("192.0.2.1", "192.0.2.2"),
    "192.0.2.1 # why": ("192.0.2.1", "192.0.2.2"),
    "192.0.2.0/24 ; SBL1": ("192.0.2.1", "192.0.3.2"),
}


@pytest.mark.parametrize("line", IN)
def test_a_line_says_who_is_in(line: str) -> None:
    networks = made(line)
    inside, outside = IN[line]
    assert (networks.entries, networks.wrong) == (1, 0)
    assert [one for one in inside.split() if one not in networks] == []
    assert [one for one in outside.split() if one in networks] == []


WRONG = (
    "192.0.2", "192.0.2.256", "192.0.2.0/33", "192.0.2.0/", "192.0.2.0/-1", "192.0.2.0/2x",
    "/24", "-", "192.0.2.9 - 192.0.2.1", "192.0.2.1 - 2001:db8::", "192.0.2.1 -", "2001:db8::/129",
    "2001:db8", "example.com", "192.0.2.1 192.0.2.2", "192.0.2.1/24/24", "192.0.2.1:80",
    "::ffff:192.0.2.1 - ::1:0:0:0", "1" * 100, "192.0.2.0/0000000024", "fe80::1%eth0",
)


@pytest.mark.parametrize("line", WRONG)
def test_what_is_no_network_is_counted_and_named_by_its_line(line: str) -> None:
    networks = made("192.0.2.1", "", "# comment", line, "192.0.2.3")
    assert (networks.entries, networks.wrong, networks.wrong_lines) == (2, 1, [4])
    assert "192.0.2.1" in networks and "192.0.2.3" in networks


def test_a_file_may_begin_with_a_mark_and_end_lines_as_windows_does() -> None:
    networks = NetworkSet(b"\xef\xbb\xbf192.0.2.1\r\n192.0.2.2\r\n\r\n192.0.2.3", MANY)
    assert (networks.entries, networks.wrong) == (3, 0)
    assert all(f"192.0.2.{i}" in networks for i in (1, 2, 3))


@pytest.mark.parametrize("data", [b"", b"\n\n", b"# nothing\n", b"\xff\xfe\x00", b"\x00" * 50])
def test_a_file_of_nothing_has_nobody(data: bytes) -> None:
    networks = NetworkSet(data, MANY)
    assert (networks.entries, networks.ranges) == (0, 0)
    assert "0.0.0.0" not in networks and "::" not in networks


def test_more_than_allowed_is_an_error() -> None:
    assert made("10.0.0.1", "10.0.0.2", most=2).entries == 2
    with pytest.raises(ValueError, match="more than 2 networks"):
        made("10.0.0.1", "10.0.0.2", "10.0.0.3", most=2)


def test_networks_that_overlap_or_touch_are_one_range() -> None:
    assert made("10.0.0.0/9", "10.128.0.0/9", "10.1.2.3", "10.0.0.0/8").ranges == 1
    assert made(*(f"2001:db8::{i:x}" for i in range(1000))).ranges == 1
    assert made("10.0.0.0", "10.0.0.2").ranges == 2


def network(bits: int) -> st.SearchStrategy[Any]:
    """Networks near each other, so that they overlap and touch, and at both ends of all."""
    ends = st.sampled_from([0, 2**bits - 1, 2**(bits - 1), 2**bits // 3])
    kind = ipaddress.IPv4Network if bits == 32 else ipaddress.IPv6Network
    return st.builds(
        lambda end, off, prefix: kind(((end + off) % 2**bits, prefix), strict=False),
        ends, st.integers(-40, 40), st.integers(bits - 9, bits) | st.integers(0, bits))


@settings(max_examples=150, deadline=None)
@given(st.sampled_from([32, 128]).flatmap(
    lambda bits: st.tuples(st.just(bits), st.lists(network(bits), max_size=60))))
def test_who_is_in_is_what_ipaddress_says(drawn: tuple[int, list[Any]]) -> None:
    bits, networks = drawn
    found = made(*map(str, networks))
    kind = ipaddress.IPv4Address if bits == 32 else ipaddress.IPv6Address
    edges = {0, 2**bits - 1}
    for one in networks:
        for edge in (int(one.network_address), int(one.broadcast_address)):
            edges |= {edge, edge - 1, edge + 1}
    for edge in edges:
        if 0 <= edge < 2**bits:
            address = kind(edge)
            if getattr(address, "ipv4_mapped", None) is not None:
                continue                # (it is an IPv4 address, however it is written)
            assert (str(address) in found) == any(address in one for one in networks), address


@pytest.mark.parametrize("crowd", ["spread", "crowded", "v6", "v6 crowded"])
def test_hundred_thousand_networks_have_whom_they_should(crowd: str) -> None:
    """Spread over all addresses, or crowded where an index has one slot for them."""
    draw = random.Random(crowd)
    bits = 128 if crowd.startswith("v6") else 32
    low, high = {"spread": (0, 2**32), "crowded": (10 << 24, (10 << 24) + 400_000),
                 "v6": (1 << 125, 1 << 126), "v6 crowded": (1 << 125, (1 << 125) + 400_000)}[crowd]
    chosen = {draw.randrange(low, high) for _ in range(100_000)}
    kind = ipaddress.IPv4Address if bits == 32 else ipaddress.IPv6Address
    found = made(*(str(kind(one)) for one in chosen))
    assert found.entries == len(chosen)
    for one in draw.sample(sorted(chosen), 2000):
        assert str(kind(one)) in found
        for near in (one - 1, one + 1, draw.randrange(low, high)):
            if 0 <= near < 2**bits:
                assert (str(kind(near)) in found) == (near in chosen)
