"""Simulated servers in front of which the core's own pickers choose."""

from __future__ import annotations

import collections
import heapq
import math
import random
from collections.abc import Callable
from typing import Any

from tests.core.test_balance import picker


def sojourn(balance: str, load: float, servers: int, arrivals: int, seed: int) -> float:
    """The mean time in an M/M/1 farm: Poisson arrivals, exponential service of mean 1."""
    chooser: Any = picker([1] * servers, balance, seed=seed)
    choose = random.Random(seed)
    queues: list[collections.deque[float]] = [collections.deque() for _ in range(servers)]
    leaving: list[tuple[float, int]] = []
    now = total = 0.0
    counted, warm = 0, arrivals // 3
    if balance == "random":         # takes long to fill its queues, whose lengths are known
        for server, queue in enumerate(queues):
            queue.extend([0.0] * int(math.log(1 - choose.random()) / math.log(load)))
            if queue:
                leaving.append((choose.expovariate(1), server))
        heapq.heapify(leaving)
    rate = load * servers
    for i in range(arrivals):
        now += choose.expovariate(rate)
        while leaving and leaving[0][0] <= now:
            at, server = heapq.heappop(leaving)
            queue = queues[server]
            begun = queue.popleft()
            if begun:
                chooser.give(server)
            if i > warm and begun:
                total += at - begun
                counted += 1
            if queue:
                heapq.heappush(leaving, (at + choose.expovariate(1), server))
        server = chooser.pick()
        queues[server].append(now)
        if len(queues[server]) == 1:
            heapq.heappush(leaving, (now + choose.expovariate(1), server))
    return total / counted


def within(
    balance: str, latency_s: Callable[[random.Random, int, float], float], servers: int,
    rate: float, seconds: float, limit_s: float, patience_s: float, seed: int,
) -> tuple[float, float, float]:
    """The share of requests within the limit, and the latency's p50 and p99 in s. Requests don't
    wait for each other: `latency_s(random, server, now)` is all there is. A client leaves after
    its patience, and that is the latency that was seen of it."""
    chooser: Any = picker([1] * servers, balance, seed=seed)
    choose = random.Random(seed)
    leaving: list[tuple[float, int, float]] = []
    taken: list[float] = []
    now, clock_ms = 0.0, 0
    while now < seconds:
        now += choose.expovariate(rate)
        while leaving and leaving[0][0] <= now:
            at, server, latency = heapq.heappop(leaving)
            clock_ms = _tick(chooser, clock_ms, at)
            chooser.observe(server, latency * 1e6)
            chooser.give(server)
        clock_ms = _tick(chooser, clock_ms, now)
        server = chooser.pick()
        latency = latency_s(choose, server, now)
        seen = min(latency, patience_s)
        heapq.heappush(leaving, (now + seen, server, seen))
        taken.append(latency)
    taken.sort()
    good = sum(latency <= limit_s for latency in taken)
    return good / len(taken), taken[len(taken) // 2], taken[int(len(taken) * 0.99)]


def _tick(chooser: Any, clock_ms: int, now: float) -> int:
    ahead = int(now * 1000) - clock_ms
    if ahead > 0:
        chooser.advance_ms(ahead)
        return clock_ms + ahead
    return clock_ms


def slow_server(choose: random.Random, server: int, now: float) -> float:
    """A median of 167 ms; server 0 takes 2 s from the 15th second to the 45th."""
    if server == 0 and 15 <= now < 45:
        return 2.0
    return 0.167 * math.exp(choose.gauss(0, 0.45))


def zipf(n: int, exponent: float, choose: random.Random) -> Callable[[], bytes]:
    """Keys of which the k-th is asked for in proportion to k^-exponent."""
    weights = [1 / k**exponent for k in range(1, n + 1)]
    keys = [b"key %d" % k for k in range(n)]
    return lambda: choose.choices(keys, weights)[0]
