"""Headers of the PROXY protocol, byte by byte (its promises for any input are in tests/fuzz)."""

from __future__ import annotations

from typing import Any

import pytest

from tests.core import proxies
from tests.fuzz.proxies import crc32c

SIGNATURE = b"\x0d\x0a\x0d\x0a\x00\x0d\x0a\x51\x55\x49\x54\x0a"
CLIENT, SITE = ("192.0.2.7", 4242), ("198.51.100.1", 443)
CLIENT6, SITE6 = ("2001:db8::7", 4242), ("2001:db8::1", 443)
INET = b"\xc0\x00\x02\x07\xc6\x33\x64\x01\x10\x92\x01\xbb"
INET6 = (b"\x20\x01\x0d\xb8" + bytes(11) + b"\x07" + b"\x20\x01\x0d\xb8" + bytes(11) + b"\x01"
         + b"\x10\x92\x01\xbb")
V4 = b"PROXY TCP4 192.0.2.7 198.51.100.1 4242 443\r\n"
V6 = b"PROXY TCP6 2001:db8::7 2001:db8::1 4242 443\r\n"


def told(header: bytes, datagram: bool = False) -> Any:
    return proxies.parse(header, datagram)


def ends(header: bytes, datagram: bool = False) -> Any:
    found = told(header, datagram)
    assert found["used"] == len(header)
    return found["source"], found["destination"]


def test_lines_are_read() -> None:
    assert ends(V4) == (CLIENT, SITE)
    assert ends(V6) == (CLIENT6, SITE6)
    assert ends(b"PROXY TCP4 255.255.255.255 0.0.0.0 65535 0\r\n") == (
        ("255.255.255.255", 65535), ("0.0.0.0", 0))
    assert ends(b"PROXY UNKNOWN\r\n") == (None, None)
    longest = (b"PROXY UNKNOWN ffff:f...f:ffff ffff:f...f:ffff 65535 65535"
               .ljust(105, b"x") + b"\r\n")
    assert ends(longest) == (None, None) and len(longest) == 107


def test_binary_headers_are_read() -> None:
    assert ends(SIGNATURE + b"\x21\x11\x00\x0c" + INET) == (CLIENT, SITE)
    assert ends(SIGNATURE + b"\x21\x21\x00\x24" + INET6) == (CLIENT6, SITE6)
    assert ends(SIGNATURE + b"\x21\x12\x00\x0c" + INET, datagram=True) == (CLIENT, SITE)
    assert ends(SIGNATURE + b"\x21\x31\x00\xd8" + bytes(216)) == ("unix", "unix")
    assert ends(SIGNATURE + b"\x21\x00\x00\x00") == (None, None)
    assert told(SIGNATURE + b"\x20\x00\x00\x00")["local"]
    assert told(SIGNATURE + b"\x20\xff\x00\x02\xff\xff")["local"]


def test_tlvs_are_read() -> None:
    tlvs = (b"\x02\x00\x09Site.test" + b"\x01\x00\x02h2" + b"\x05\x00\x03a\x00b"
            + b"\xea\x00\x05\x01vpce" + b"\xea\x00\x01\x02" + b"\x04\x00\x01\x00")
    header = SIGNATURE + b"\x21\x11\x00\x33" + INET + tlvs
    assert len(INET + tlvs) == 0x33
    found = told(header)
    assert found["facts"] == {
        "authority": b"Site.test", "alpn": b"h2", "unique_id": b"a\0b", "vpce": b"vpce"}
    assert found["tlvs"] == tlvs


def test_a_checksum_has_to_be_right() -> None:
    """CRC-32C, of which the check value is that of "123456789"."""
    assert crc32c(b"123456789") == 0xE3069283
    header = SIGNATURE + b"\x21\x11\x00\x13" + INET + b"\x03\x00\x04"
    good = header + crc32c(header + bytes(4)).to_bytes(4, "big")
    assert ends(good) == (CLIENT, SITE)
    for i in (*range(16, 28), *range(31, 35)):      # the addresses, and itself
        changed = bytearray(good)
        changed[i] ^= 1
        assert told(bytes(changed)) == "bad", i


@pytest.mark.parametrize("line", [
    b"PROXY  TCP4 1.1.1.1 2.2.2.2 1 2\r\n", b"PROXY TCP4 1.1.1.1 2.2.2.2 1 2 \r\n",
    b"PROXY TCP4 1.1.1.1 2.2.2.2 1  2\r\n", b"PROXY TCP4 1.1.1.1 2.2.2.2 1 2 3\r\n",
    b"PROXY TCP4 1.1.1.1 2.2.2.2 1\r\n", b"PROXY TCP4 1.1.1.1\r\n", b"PROXY \r\n", b"PROXY \n",
    b"PROXY TCP4\t1.1.1.1 2.2.2.2 1 2\r\n", b"PROXY tcp4 1.1.1.1 2.2.2.2 1 2\r\n",
    b"PROXY TCP4 1.1.1.1 2.2.2.2 01 2\r\n", b"PROXY TCP4 1.1.1.1 2.2.2.2 +1 2\r\n",
    b"PROXY TCP4 1.1.1.1 2.2.2.2 65536 2\r\n", b"PROXY TCP4 1.1.1.1 2.2.2.2 1 99999\r\n",
    b"PROXY TCP4 1.1.1.1 2.2.2.2 1 100000\r\n", b"PROXY TCP4 1.1.1 2.2.2.2 1 2\r\n",
    b"PROXY TCP4 01.1.1.1 2.2.2.2 1 2\r\n", b"PROXY TCP4 1.1.1.1\0 2.2.2.2 1 2\r\n",
    b"PROXY TCP4 ::1 ::1 1 2\r\n", b"PROXY TCP6 1.1.1.1 2.2.2.2 1 2\r\n",
    b"PROXY TCP6 fe80::1%lo ::1 1 2\r\n", b"PROXY TCP5 1.1.1.1 2.2.2.2 1 2\r\n",
    b"PROXY UDP4 1.1.1.1 2.2.2.2 1 2\r\n", b"PROXY UNKNOWNS\r\n",
    b"PROXY TCP4 1.1.1.1 2.2.2.2 1 2\n", b"PROXY TCP4 1.1.1.1 2.2.2.2 1 2\r \n",
    b"PROXY UNKNOWN ".ljust(107, b"x"), b"PROXY UNKNOWN ".ljust(106, b"x") + b"\r\n",
    b"PROXY TCP6 " + b"0" * 60 + b" ::1 1 2\r\n",
])
def test_lines_that_are_none(line: bytes) -> None:
    assert told(line) == "bad"


@pytest.mark.parametrize("rest", [
    b"\x11", b"\x31\x11\x00\x0c" + INET, b"\x22\x11\x00\x0c" + INET, b"\x2f\x11\x00\x0c" + INET,
    b"\x21\x10\x00\x0c" + INET, b"\x21\x13\x00\x0c" + INET, b"\x21\x01\x00\x0c" + INET,
    b"\x21\x12\x00\x0c" + INET,                                 # datagrams are for UDP
    b"\x21\x41\x00\x0c" + INET, b"\x21\x21\x00\x0c" + INET, b"\x21\x31\x00\x0c" + INET,
    b"\x21\x11\x00\x0b" + INET, b"\x21\x11\x00\x0d" + INET + b"\x04",
    b"\x21\x11\x00\x0f" + INET + b"\x04\x00\x01", b"\x21\x11\x00\x10" + INET + b"\x04\x00\x02\x00",
    b"\x21\x11\x0f\xf1",                                        # 4,097 bytes in all
    b"\x21\x11\xff\xff",
    b"\x21\x11\x00\x16" + INET + b"\x02\x00\x02a." + b"\x02\x00\x02b.",     # two names
    b"\x21\x11\x00\x16" + INET + b"\x01\x00\x02h2" + b"\x01\x00\x02h3",
    b"\x21\x11\x00\x16" + INET + b"\x05\x00\x02aa" + b"\x05\x00\x02aa",
    b"\x21\x11\x00\x13" + INET + b"\x20\x00\x04\x00\x00\x00\x00",           # a short SSL
    b"\x21\x11\x00\x15" + INET + b"\x20\x00\x06\x01\x00\x00\x00\x00\x21",   # and what is cut in it
    b"\x21\x11\x00\x12" + INET + b"\x03\x00\x03\x00\x00\x00",               # a short checksum
    b"\x21\x11\x01\x0f" + INET + b"\x02\x01\x00" + b"x" * 256,              # a long name
    b"\x21\x11\x00\x90" + INET + b"\x05\x00\x81" + b"x" * 129,              # a long id
])
def test_binary_headers_that_are_none(rest: bytes) -> None:
    assert told(SIGNATURE + rest) == "bad"


def test_what_it_may_become() -> None:
    assert [told(V4[:n]) for n in (0, 1, 5, 6, len(V4) - 1)] == [
        "maybe", "maybe", "maybe", "more", "more"]
    binary = SIGNATURE + b"\x21\x11\x00\x0c" + INET
    assert [told(binary[:n]) for n in (1, 11, 12, 15, 16, 27)] == [
        "maybe", "maybe", "more", "more", "more", "more"]
    for other in (b"GET / HTTP/1.1", b"POST /", b"PRI * HTTP/2.0", b"\x16\x03\x01", b"\r\n\r\nGET",
                  b"PROXYX", b"PROXX", b"\r\n\r\n\0\r\nQUIT\r"):
        assert told(other) == "none", other
    assert told(V4, datagram=True) == "none"


def test_headers_are_written() -> None:
    assert proxies.write(1, CLIENT, SITE) == V4
    assert proxies.write(1, CLIENT6, SITE6) == V6
    assert proxies.write(2, CLIENT, SITE) == SIGNATURE + b"\x21\x11\x00\x0c" + INET
    assert proxies.write(2, CLIENT6, SITE6) == SIGNATURE + b"\x21\x21\x00\x24" + INET6
    assert proxies.write(2, CLIENT, SITE, datagram=True) == SIGNATURE + b"\x21\x12\x00\x0c" + INET
    assert proxies.write(2, CLIENT6, SITE6, datagram=True) == (
        SIGNATURE + b"\x21\x22\x00\x24" + INET6)
    tlvs = b"\x02\x00\x09site.test"
    assert proxies.write(2, CLIENT, SITE, tlvs=tlvs) == (
        SIGNATURE + b"\x21\x11\x00\x18" + INET + tlvs)
    local = b"/a".ljust(108, b"\0") + b"/b".ljust(108, b"\0")
    assert proxies.write(2, None, None, local=local) == SIGNATURE + b"\x21\x31\x00\xd8" + local
    assert proxies.write(2, None, SITE, tlvs=tlvs) == SIGNATURE + b"\x21\x00\x00\x0c" + tlvs
    assert proxies.write(1, None, SITE) == b"PROXY UNKNOWN\r\n"
    assert proxies.write(1, CLIENT, None) == b"PROXY UNKNOWN\r\n"


def test_addresses_of_two_families_become_one() -> None:
    assert proxies.write(1, ("::ffff:192.0.2.7", 4242), SITE) == V4
    assert proxies.write(1, CLIENT, ("::ffff:198.51.100.1", 443)) == V4
    assert proxies.write(2, ("::ffff:192.0.2.7", 4242), ("::ffff:198.51.100.1", 443)) == (
        SIGNATURE + b"\x21\x11\x00\x0c" + INET)
    assert proxies.write(1, CLIENT, SITE6) == (
        b"PROXY TCP6 ::ffff:192.0.2.7 2001:db8::1 4242 443\r\n")
    longest = ("ffff:" * 7 + "ffff", 65535)
    assert len(proxies.write(1, longest, longest)) == 104
