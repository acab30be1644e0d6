"""Measure sets of networks: building them, and looking up addresses that are in none of them.

    python -m bench.micro.networks
"""

from __future__ import annotations

import ipaddress
import random
import time
from array import array

from tests.core.probe import network_lookups

from fastlb._core.tables.networks import NetworkSet

ADDRESSES, ROUNDS, TRIES = 1_000_000, 3, 5


def lines(n: int, spread: random.Random) -> bytes:
    """Networks of 24 to 32 bits below 224.0.0.0, as lists of abuse have them."""
    found = []
    for _ in range(n):
        bits = spread.choice((24, 28, 32, 32, 32))
        number = spread.randrange(0xE0000000) & (0xFFFFFFFF << (32 - bits))
        address = ipaddress.IPv4Address(number)
        found.append(f"{address}/{bits}")
    return "\n".join(found).encode()


def main() -> None:
    spread = random.Random(7)
    outside = array("I", (spread.randrange(0xE0000000, 0x100000000) for _ in range(ADDRESSES)))
    print("| networks | ranges | built in CPU ms | above all (ns) | between them (ns) |")
    print("|---:|---:|---:|---:|---:|")
    for n in (10, 1_000, 100_000, 1_000_000):
        data = lines(n, spread)
        begin = time.process_time()
        made = NetworkSet(data, n)
        took = (time.process_time() - begin) * 1000
        near = array("I", (spread.randrange(0xE0000000) for _ in range(ADDRESSES)))
        missed = min(network_lookups(made, outside, ROUNDS)[1] for _ in range(TRIES))
        any_of = min(network_lookups(made, near, ROUNDS)[1] for _ in range(TRIES))
        print(f"| {n:,} | {made.ranges:,} | {took:.1f} | {missed:.1f} | {any_of:.1f} |")


if __name__ == "__main__":
    main()
