"""Measure how a database of where clients are is read: one of the size of a large City database.

    python -m bench.micro.geography [NETWORKS [RECORDS]]

It is made here, at random: NETWORKS of IPv4 that cover all addresses, each with one of RECORDS that
look like those of a City database, and a tenth of them with none.
"""

from __future__ import annotations

import ipaddress
import random
import struct
import sys
import tempfile
import threading
import time
from pathlib import Path

import maxminddb

from fastlb._core.tables.geography import Geography
from fastlb._core.tables.live import Live
from fastlb.control.geography import read_database
from tests.mmdb import MARKER, encoded

LANGUAGES = ("de", "en", "es", "fr", "ja", "pt-BR", "ru", "zh-CN")
ADDRESSES = 10_000
TICK_S = 0.001


def records(n: int, spread: random.Random) -> list[bytes]:
    """Records of cities: of each, some 400 bytes, of which fastlb wants three codes."""
    def names(kind: str, i: int) -> dict[str, str]:
        return {language: f"{kind} {i} in {language}" for language in LANGUAGES}

    return [encoded({
        "city": {"geoname_id": i, "names": names("City", i)},
        "continent": {"code": spread.choice(("EU", "NA", "AS")), "geoname_id": i % 7},
        "country": {"iso_code": f"{chr(65 + i % 25)}{chr(65 + i % 10)}", "geoname_id": i % 250},
        "postal": {"code": f"{i:05}"},
        "subdivisions": [{"iso_code": f"{i % 89}", "geoname_id": i % 4450}],
    }) for i in range(n)]


def tree(networks: int, records_at: list[int], spread: random.Random) -> tuple[bytes, int]:
    """A search tree of 32-bit records: 96 nodes down to IPv4, and below them a random binary tree
    with so many leaves. Returns it and its number of nodes."""
    ways: list[list[int]] = [[0, 0] for _ in range(96)]         # 0: nothing; above: a node
    for depth in range(95):
        ways[depth][0] = depth + 1
    leaves: list[tuple[int, int, int]] = []                     # node, way, depth of what is below
    ways.append([0, 0])
    ways[95][0] = 96
    leaves += [(96, 0, 1), (96, 1, 1)]
    while len(leaves) < networks:
        at = spread.randrange(len(leaves))
        node, way, depth = leaves[at]
        if depth >= 28:
            continue
        ways[node][way] = len(ways)
        leaves[at] = (len(ways), 0, depth + 1)
        leaves.append((len(ways), 1, depth + 1))
        ways.append([0, 0])
    n = len(ways)
    for node, way, _ in leaves:
        ways[node][way] = n + 16 + spread.choice(records_at) if spread.random() > 0.1 else n
    for both in ways[:96]:
        both[:] = [one or n for one in both]
    return b"".join(struct.pack(">II", *both) for both in ways), n


def database(networks: int, n_records: int, spread: random.Random) -> bytes:
    data, places = bytearray(), []
    for record in records(n_records, spread):
        places.append(len(data))
        data += record
    made, n = tree(networks, places, spread)
    about = {
        "binary_format_major_version": 2, "binary_format_minor_version": 0,
        "build_epoch": 1_700_000_000, "database_type": "Made-City", "description": {"en": "made"},
        "ip_version": 6, "languages": list(LANGUAGES), "node_count": n, "record_size": 32,
    }
    return made + bytes(16) + bytes(data) + MARKER + encoded(about)


class Ticks:
    """A thread that wants to go on every millisecond: how long the GIL was held at most."""

    def __init__(self) -> None:
        self.longest_s, self._ended = 0.0, threading.Event()
        self._thread = threading.Thread(target=self._tick)
        self._thread.start()

    def _tick(self) -> None:
        before = time.monotonic()
        while not self._ended.wait(TICK_S):
            now = time.monotonic()
            self.longest_s = max(self.longest_s, now - before - TICK_S)
            before = now

    def end(self) -> None:
        self._ended.set()
        self._thread.join()


def main(networks: int, n_records: int) -> None:
    spread = random.Random(11)
    live = Live(1)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "city.mmdb"
        path.write_bytes(database(networks, n_records, spread))
        size = path.stat().st_size
        ticks, begin = Ticks(), time.process_time()
        read = read_database("city", str(path), live.known_places())
        took_s = time.process_time() - begin
        ticks.end()
        geography = Geography(live.known_places(), city=read.database)
        with maxminddb.open_database(str(path), maxminddb.MODE_MEMORY) as other:
            for _ in range(ADDRESSES):
                address = str(ipaddress.IPv4Address(spread.randrange(1 << 32)))
                expected = other.get(address)
                country, continent, region, _ = geography.find(address)
                if expected is None:
                    assert (country, continent, region) == ("", "", ""), address
                    continue
                code = expected["country"]["iso_code"]
                assert country == code and continent == expected["continent"]["code"], address
                assert region == f"{code}-{expected['subdivisions'][0]['iso_code']}", address
    print(f"{networks:,} networks, {n_records:,} records, {size >> 20} MiB:"
          f" read in {took_s:.2f} s of CPU, {read.networks:,} ranges,"
          f" other threads waited {1000 * ticks.longest_s:.1f} ms at most,"
          f" {ADDRESSES:,} addresses as maxminddb has them")


if __name__ == "__main__":
    main(*(int(one.replace(",", "")) for one in (*sys.argv[1:], "4000000", "200000")[:2]))
