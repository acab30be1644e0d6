"""Small databases in MaxMind's format (version 2.0), of networks and their records."""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from typing import Any

MARKER = b"\xab\xcd\xefMaxMind.com"
# Where the IPv4 networks of a database of IPv6 are found once more, as in MaxMind's own.
ALIASES = ("::ffff:0:0/96", "2002::/16", "2001::/32")


class _Node:
    def __init__(self) -> None:
        self.ways: list[Any] = [None, None]     # a node, a record's place in the data, or None


def database(
    networks: Mapping[str, Any], *, version: int = 6, record_bits: int = 24, name: str = "Test",
    aliased: bool = True,
) -> bytes:
    """A file with these records; of networks that lie in each other, the inner one counts."""
    data = bytearray()
    known: dict[bytes, int] = {}            # records, and where in the data they are
    root = _Node()
    for text, record in sorted(networks.items(), key=lambda one: _parsed(one[0]).prefixlen):
        written = encoded(record)
        if written not in known:
            known[written] = len(data)
            data += written
        _put(root, *_bits(text, version), known[written])
    if version == 6 and aliased:
        v4 = root
        for _ in range(96):
            if not isinstance(v4, _Node):
                break
            v4 = v4.ways[0]
        for alias in ALIASES:
            if isinstance(v4, _Node):
                _put(root, *_bits(alias, 6), v4)
    nodes: list[_Node] = []
    numbers: dict[int, int] = {}

    def number(node: _Node) -> None:
        if id(node) in numbers:
            return
        numbers[id(node)] = len(nodes)
        nodes.append(node)
        for way in node.ways:
            if isinstance(way, _Node):
                number(way)

    number(root)
    tree = bytearray()
    for node in nodes:
        tree += _pair(record_bits, *(
            len(nodes) if way is None else numbers[id(way)] if isinstance(way, _Node)
            else len(nodes) + 16 + way for way in node.ways))
    about = {
        "binary_format_major_version": 2, "binary_format_minor_version": 0,
        "build_epoch": 1_700_000_000, "database_type": name, "description": {"en": "a test's"},
        "ip_version": version, "languages": ["en"], "node_count": len(nodes),
        "record_size": record_bits,
    }
    return bytes(tree + bytes(16) + data + MARKER + encoded(about))


def _parsed(text: str) -> ipaddress.IPv4Network | ipaddress.IPv6Network:
    return ipaddress.ip_network(text)


def _bits(text: str, version: int) -> tuple[int, int]:
    """The first bits of a network as a number, and how many they are."""
    network = _parsed(text)
    number, depth = int(network.network_address), network.prefixlen
    if network.version == 4 and version == 6:
        depth += 96
    most = 128 if version == 6 else 32
    return number >> (most - depth), depth


def _put(root: _Node, number: int, depth: int, what: Any) -> None:
    node = root
    for i in range(depth - 1, 0, -1):
        bit = number >> i & 1
        way = node.ways[bit]
        if not isinstance(way, _Node):
            below = _Node()
            below.ways = [way, way]
            node.ways[bit] = way = below
        node = way
    node.ways[number & 1] = what


def _pair(bits: int, left: int, right: int) -> bytes:
    if bits == 28:
        return (left & 0xFFFFFF).to_bytes(3, "big") + bytes([left >> 24 << 4 | right >> 24]) \
            + (right & 0xFFFFFF).to_bytes(3, "big")
    return left.to_bytes(bits // 8, "big") + right.to_bytes(bits // 8, "big")


def _control(kind: int, size: int) -> bytes:
    first, rest = (size, b"") if size < 29 else (29, bytes([size - 29]))
    if kind > 7:
        return bytes([first, kind - 7]) + rest
    return bytes([kind << 5 | first]) + rest


def encoded(value: Any) -> bytes:
    """A value of the data section."""
    if isinstance(value, str):
        text = value.encode()
        return _control(2, len(text)) + text
    if isinstance(value, int):
        number = value.to_bytes((value.bit_length() + 7) // 8, "big")
        return _control(6 if len(number) <= 4 else 9, len(number)) + number
    if isinstance(value, Mapping):
        return _control(7, len(value)) + b"".join(
            encoded(key) + encoded(one) for key, one in value.items())
    return _control(11, len(value)) + b"".join(map(encoded, value))


def place(country: str, continent: str = "", part: str = "") -> dict[str, Any]:
    """A record as GeoLite2-Country and GeoLite2-City have it."""
    record: dict[str, Any] = {"country": {"iso_code": country}}
    if continent:
        record["continent"] = {"code": continent}
    if part:
        record["subdivisions"] = [{"iso_code": part}]
    return record


def system(number: int) -> dict[str, Any]:
    """A record as GeoLite2-ASN has it."""
    return {"autonomous_system_number": number, "autonomous_system_organization": "Example"}
