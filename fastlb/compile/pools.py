"""How pools pick, computed beforehand, so that picking is a look into a table."""

from __future__ import annotations

import functools
import heapq
from array import array
from collections.abc import Sequence
from functools import reduce
from math import gcd

from fastlb._core.tables.hashring import ring_of

# A sequence longer than this is rounded: 65,536 places keep a weight's share within 0.002 %.
SEQUENCE_MAX = 65_536
SEQUENCES_KEPT = 32     # of 256 KiB at most: those of a large configuration
# As nginx and the ketama paper: the spread over 100 servers then has a deviation of about 8 %.
POINTS_PER_WEIGHT = 160


def sequence(weights: Sequence[int]) -> array[int]:
    """As `_sequence`. Weights seldom change when something else does."""
    return _sequence(tuple(weights))


@functools.lru_cache(maxsize=SEQUENCES_KEPT)
def _sequence(weights: tuple[int, ...]) -> array[int]:
    """The order in which servers take turns, as smooth as their weights allow.

    Each server of weight `w` of a total `t` comes up `w` times in `t` turns, evenly spaced: its
    turn number `k` (from 0) is due at `(k + phase) * t / w`, with a phase between 0 and 1 that
    grows with its place among the servers, so that equal ones take turns in the order in which
    they are written. Returns indices into `weights`; servers of weight 0 have no turn.
    """
    shares = _shares(weights)
    phases = [(index + 0.5) / len(shares) for index in range(len(shares))]
    due = [(phases[i] / share, i, 0) for i, share in enumerate(shares) if share]
    heapq.heapify(due)
    turns = array("I")
    for _ in range(sum(shares)):
        _, index, done = due[0]
        turns.append(index)
        heapq.heapreplace(due, ((done + 1 + phases[index]) / shares[index], index, done + 1))
    return turns


def _shares(weights: Sequence[int]) -> list[int]:
    divisor = reduce(gcd, weights, 0) or 1
    shares = [weight // divisor for weight in weights]
    total = sum(shares)
    if total > SEQUENCE_MAX:
        shares = [max(1, share * SEQUENCE_MAX // total) if share else 0 for share in shares]
    return shares


def ring(names: Sequence[str], weights: Sequence[int]) -> tuple[array[int], array[int]]:
    """The ketama ring of nginx's `hash ... consistent`: (hashes ascending, owner of each).

    A server `HOST:PORT` of weight 1 has 160 points; the first is CRC-32 of HOST, a zero byte, PORT
    and four zero bytes, and each following one hashes the one before in those four bytes, little
    endian. A unix socket has its path for HOST and no PORT. Where two points collide, the one that
    sorted first stays, as in nginx.
    """
    hashes, owners = ring_of(
        [_ring_name(name) for name in names], [POINTS_PER_WEIGHT * weight for weight in weights]
    )
    return array("I", hashes), array("I", owners)


def _ring_name(name: str) -> bytes:
    if name.startswith("unix:"):
        return name.removeprefix("unix:").encode() + b"\0"
    host, _, port = name.rpartition(":")
    return host.encode() + b"\0" + port.encode()
