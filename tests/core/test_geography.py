"""What is known of an address equals what maxminddb says, and broken databases are refused."""

from __future__ import annotations

import ipaddress
import random
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import maxminddb
import pytest

from fastlb._core.tables.geography import GeoDatabase, Geography, Places
from fastlb._core.tables.live import Live
from fastlb.config.geography import EffectiveGeo, EffectiveOverride
from fastlb.control.geography import fill_geography, read_database
from fastlb.errors import ConfigError
from tests.geodata import databases
from tests.mmdb import database, place, system

Known = tuple[str, str, str, int]
NOTHING = ("", "", "", 0)
RANDOM = 100_000                # addresses, over all databases
KNOWING = [
    ("GeoIP2-City-Test", "city"), ("GeoIP2-City-Shield-Test", "city"),
    ("GeoIP2-Country-Test", "country"), ("GeoIP2-Country-Shield-Test", "country"),
    ("GeoIP2-Enterprise-Test", "city"), ("GeoIP2-Precision-Enterprise-Test", "city"),
    ("GeoLite2-City-Test", "city"), ("GeoLite2-Country-Test", "country"),
    ("GeoLite2-ASN-Test", "asn"), ("GeoIP2-ISP-Test", "asn"),
]


def known(kind: str, path: Path, places: Places) -> Geography:
    return Geography(places, **{kind: read_database(kind, str(path), places).database})


def said(record: Any, kind: str) -> Known:
    """What maxminddb's record of an address says."""
    record = record or {}
    if kind == "asn":
        return ("", "", "", record.get("autonomous_system_number", 0))
    country = record.get("country", {}).get("iso_code", "")
    parts = record.get("subdivisions", [])
    part = parts[0].get("iso_code", "") if parts else ""
    return (country, record.get("continent", {}).get("code", ""),
            f"{country}-{part}" if country and part else "", 0)


def addresses(opened: maxminddb.Reader, spread: random.Random) -> Iterator[Any]:
    """Both ends of each network, IPv4 addresses in all forms, and random ones."""
    v4, v6 = ipaddress.IPv4Address, ipaddress.IPv6Address
    for network, _ in opened:
        for end in (network[0], network[-1]):
            yield end
            if end.version == 4:
                yield v6(0x2002 << 112 | int(end) << 80 | spread.getrandbits(80))
                yield v6(0x20010000 << 96 | int(end) << 64 | spread.getrandbits(64))
                yield v6(0xFFFF << 32 | int(end))
    for _ in range(RANDOM // len(KNOWING) // 4):
        yield v4(spread.getrandbits(32))
        yield v6(spread.getrandbits(128))
        yield v6(0x2002 << 112 | spread.getrandbits(112))
        yield v6(0x20010000 << 96 | spread.getrandbits(96))


@pytest.mark.parametrize(("name", "kind"), KNOWING)
def test_every_address_is_where_maxminddb_says(name: str, kind: str) -> None:
    path = databases() / "test-data" / f"{name}.mmdb"
    seed = random.randrange(1 << 32)
    print("seed", seed)
    geography = known(kind, path, Places())
    found, differ = 0, []
    with maxminddb.open_database(str(path), maxminddb.MODE_MEMORY) as opened:
        for address in addresses(opened, random.Random(seed)):
            expected = said(opened.get(address), kind)
            found += expected != NOTHING
            if geography.find(str(address)) != expected:
                differ.append((address, geography.find(str(address)), expected))
    assert differ == []
    assert found > 100


@pytest.mark.parametrize("record_bits", [24, 28, 32])
@pytest.mark.parametrize("version", [4, 6])
def test_trees_of_all_kinds_are_walked(tmp_path: Path, record_bits: int, version: int) -> None:
    spread = random.Random(record_bits + version)
    networks = {"0.0.0.0/1": system(1), "128.0.0.0/1": system(2), "255.255.255.255/32": system(3)}
    for i in range(3000):
        bits = spread.randint(2, 32)
        number = spread.getrandbits(bits) << (32 - bits)
        networks[f"{ipaddress.IPv4Address(number)}/{bits}"] = system(4 + i % 700)
    if version == 6:
        networks["2001:db8::/32"] = system(4294967295)
        networks["2001:db8:0:0:8000::/65"] = system(4294967294)
    path = tmp_path / "asn.mmdb"
    path.write_bytes(database(networks, version=version, record_bits=record_bits))
    geography = known("asn", path, Places())
    with maxminddb.open_database(str(path), maxminddb.MODE_MEMORY) as opened:
        for address in [ipaddress.IPv4Address(spread.getrandbits(32)) for _ in range(5000)]:
            assert geography.find(str(address)) == said(opened.get(address), "asn"), address
    for text, number in (("2001:db8::1", 4294967295), ("2001:db8::8000:0:0:1", 4294967294),
                         ("2001:db9::1", 0)):
        assert geography.find(text)[3] == (number if version == 6 else 0)


def test_mapped_addresses_are_ipv4_whatever_a_tree_has(tmp_path: Path) -> None:
    path = tmp_path / "asn.mmdb"
    path.write_bytes(database({"192.0.2.0/24": system(7)}, version=4))
    geography = known("asn", path, Places())
    assert geography.find("::ffff:192.0.2.9")[3] == 7
    assert geography.find("2002:c000:209::")[3] == 0


BROKEN = [
    "cyclic-data-structure", "invalid-bytes-length", "invalid-data-record-offset",
    "invalid-map-key-length", "invalid-string-length", "metadata-is-an-uint128",
    "unexpected-bytes", "bad-unicode-in-map-key", "libmaxminddb-corrupt-search-tree",
    "libmaxminddb-deep-array-nesting", "libmaxminddb-deep-nesting",
    "libmaxminddb-empty-array-last-in-metadata", "libmaxminddb-empty-map-last-in-metadata",
    "libmaxminddb-metadata-marker-only", "libmaxminddb-offset-integer-overflow",
    "libmaxminddb-oversized-array", "libmaxminddb-oversized-map",
    "libmaxminddb-separator-record-max-left", "libmaxminddb-separator-record-min-left",
    "libmaxminddb-separator-record-min-right", "libmaxminddb-uint64-max-epoch",
    "GeoIP2-City-Test-Broken-Double-Format", "GeoIP2-City-Test-Invalid-Node-Count",
    "MaxMind-DB-test-broken-pointers-24", "MaxMind-DB-test-broken-search-tree-24",
]


def test_all_databases_that_are_meant_to_be_bad_are_tried() -> None:
    assert {path.stem for path in (databases() / "bad-data").rglob("*.mmdb")} <= set(BROKEN)


@pytest.mark.parametrize("kind", ["country", "city", "asn"])
@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_database_is_refused(name: str, kind: str) -> None:
    path = next(databases().rglob(f"{name}.mmdb"))
    with pytest.raises(ValueError, match=r"is no database that can be used|knows no"):
        read_database(kind, str(path), Places())


def test_any_byte_may_be_wrong(tmp_path: Path) -> None:
    """Nothing but a message comes of it, or another database."""
    seed = random.randrange(1 << 32)
    print("seed", seed)
    spread = random.Random(seed)
    good = (databases() / "test-data" / "GeoLite2-Country-Test.mmdb").read_bytes()
    path = tmp_path / "x.mmdb"
    refused = 0
    for i in range(60):
        data = bytearray(good)
        # The tree is a third of the file, and metadata the last few hundred bytes.
        where = range(len(data)) if i % 3 else range(len(data) - 300, len(data))
        for _ in range(1 + i % 7):
            data[spread.choice(where)] = spread.randrange(256)
        path.write_bytes(data[: spread.randrange(len(data))] if i % 5 == 0 else data)
        try:
            read_database("country", str(path), Places())
        except ValueError as error:
            refused += str(error).startswith(str(path))
    assert refused > 10


@pytest.mark.parametrize(("data", "why"), [
    (b"", "Error opening database file (x.mmdb). Is this a valid MaxMind DB file?"),
    (database({"10.0.0.0/8": {"country": {"iso_code": "de\r\nx: y"}}}), "knows no country"),
    (database({"10.0.0.0/8": {"country": {"iso_code": 7}, "continent": []}}), "knows no country"),
    (database({"10.0.0.0/8": ["DE"]}), "knows no country of any network; it calls itself Test"),
])
def test_what_is_wrong_is_said(tmp_path: Path, data: bytes, why: str) -> None:
    path = tmp_path / "x.mmdb"
    path.write_bytes(data)
    with pytest.raises(ValueError) as told:
        read_database("country", str(path), Places())
    assert why in str(told.value)


def test_a_tree_with_loops_ends() -> None:
    """Each of its nodes leads to itself, so that there are 2^32 ways."""
    tree = b"\0\0\0\0\0\0" * 3
    with pytest.raises(ValueError, match="its search tree is broken"):
        GeoDatabase().walk(tree + bytes(16), 3, 24, 4)
    twice = b"\0\0\1\0\0\1" + b"\0\0\2\0\0\2" + b"\0\0\3\0\0\3"
    found = GeoDatabase()
    assert found.walk(twice + bytes(16), 3, 24, 4) == []
    found.use(memoryview(b"").cast("I"))
    assert found.ranges == 0


@pytest.mark.parametrize(("nodes", "bits", "version"), [
    (100, 24, 4), (-1, 24, 4), (1 << 40, 24, 4), (1, 25, 4), (1, 24, 5)])
def test_a_tree_that_does_not_fit_is_refused(nodes: int, bits: int, version: int) -> None:
    with pytest.raises(ValueError, match="its search tree is longer than the file"):
        GeoDatabase().walk(bytes(64), nodes, bits, version)


def test_overrides_are_all_that_is_known_of_their_networks(tmp_path: Path) -> None:
    path = tmp_path / "c.mmdb"
    path.write_bytes(database({"10.0.0.0/8": place("US", "NA"), "2001:db8::/32": place("FR")}))
    live = Live(1)
    fill_geography(live, EffectiveGeo({"country": str(path)}, 1000, (
        EffectiveOverride("10.1.0.0/16", "DE", "", "", 0),
        EffectiveOverride("10.1.2.0/24", "", "", "", 64496),
        EffectiveOverride("10.1.2.3/32", "AT", "EU", "AT-9", 1),
        EffectiveOverride("255.0.0.0/8", "CH", "EU", "", 0),
        EffectiveOverride("2001:db8:1::/48", "IT", "EU", "", 0),
        EffectiveOverride("ffff::/16", "ES", "EU", "", 0),
    )))
    assert live.geography is not None
    for address, expected in {
        "10.0.255.255": ("US", "NA", "", 0), "10.1.0.0": ("DE", "", "", 0),
        "10.1.1.255": ("DE", "", "", 0), "10.1.2.0": ("", "", "", 64496),
        "10.1.2.2": ("", "", "", 64496), "10.1.2.3": ("AT", "EU", "AT-9", 1),
        "10.1.2.4": ("", "", "", 64496), "10.1.2.255": ("", "", "", 64496),
        "10.1.3.0": ("DE", "", "", 0), "10.1.255.255": ("DE", "", "", 0),
        "10.2.0.0": ("US", "NA", "", 0), "11.0.0.0": NOTHING, "254.255.255.255": NOTHING,
        "255.255.255.255": ("CH", "EU", "", 0), "::ffff:10.1.2.3": ("AT", "EU", "AT-9", 1),
        "2001:db8::1": ("FR", "", "", 0), "2001:db8:1::1": ("IT", "EU", "", 0),
        "2001:db8:2::": ("FR", "", "", 0), "ffff:ffff::": ("ES", "EU", "", 0), "fffe::": NOTHING,
    }.items():
        assert live.geography.find(address) == expected, address


def test_city_comes_before_country_where_it_knows_something(tmp_path: Path) -> None:
    for kind, networks in {
        "country": {"10.0.0.0/8": place("DE", "EU"), "11.0.0.0/8": place("FR", "EU")},
        "city": {"10.0.0.0/9": place("US", "NA", "CA"), "12.0.0.0/8": place("US", "NA")},
    }.items():
        (tmp_path / kind).write_bytes(database(networks))
    live = Live(1)
    fill_geography(live, EffectiveGeo(
        {kind: str(tmp_path / kind) for kind in ("country", "city")}, 1000, ()))
    assert live.geography is not None
    assert [live.geography.find(f"{first}.0.1") for first in (
        "10.0", "10.128", "11.0", "12.0", "13.0")] == [
        ("US", "NA", "US-CA", 0), ("DE", "EU", "", 0), ("FR", "EU", "", 0), ("US", "NA", "", 0),
        NOTHING]


def test_without_maxminddb_an_error_says_how_to_install_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setitem(sys.modules, "maxminddb", None)
    with pytest.raises(ConfigError, match=r"geo: maxminddb isn't installed; run: pip install"):
        fill_geography(Live(1), EffectiveGeo({"asn": str(tmp_path / "x")}, 1000, ()))


def test_places_are_few(tmp_path: Path) -> None:
    places = Places()
    numbers = [places.number(b"DE", b"EU", f"DE-{i}".encode()) for i in range(65_534)]
    assert numbers == list(range(2, 65_536))
    with pytest.raises(ValueError, match="more than 65,534 countries and regions"):
        places.number(b"AT", b"EU", b"")
    assert places.number(b"DE", b"EU", b"DE-7") == 9
    assert places.number(b"", b"", b"") == 0
