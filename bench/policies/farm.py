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


class Machine:
    """A server of a few cores that its requests share evenly, and at times somebody else's work."""

    CORES = 4

    def __init__(self) -> None:
        self.speed = 1.0
        self.served = 0.0       # how much each request has got so far
        self.at = 0.0           # when that was
        self.ends: list[tuple[float, int, float]] = []     # at which `served`, number, begun
        self.version = 0        # counts changes of when the next one ends

    def rate(self) -> float:
        return self.speed * min(1.0, self.CORES / len(self.ends)) if self.ends else 0.0

    def advance(self, now: float) -> None:
        self.served += (now - self.at) * self.rate()
        self.at = now

    def next_end(self) -> float:
        return self.at + (self.ends[0][0] - self.served) / self.rate()


def antagonised(balance: str, load: float, requests: int, seed: int) -> list[float]:
    """Latencies, sorted, of requests of 80 ms of work (exponential) to 50 machines, of which a
    fifth at a time has 60 % of its speed taken by others, for 10 s at a time in the mean. `load` is
    of what is left."""
    n = 50
    work_s, slow_share, slow_s, slow_speed = 0.08, 0.2, 10.0, 0.4
    chooser: Any = picker([1] * n, balance, seed=seed)
    choose = random.Random(seed)
    machines = [Machine() for _ in range(n)]
    events: list[tuple[float, int, int, int]] = []      # time, kind, machine, version
    for i in range(n):
        slow = choose.random() < slow_share
        machines[i].speed = slow_speed if slow else 1.0
        mean = slow_s if slow else slow_s * (1 - slow_share) / slow_share
        heapq.heappush(events, (choose.expovariate(1 / mean), 1, i, 0))
    left = 1 - slow_share * (1 - slow_speed)
    rate = load * left * n * Machine.CORES / work_s
    latencies: list[float] = []
    now, clock_ms, started = 0.0, 0, 0
    arrival = choose.expovariate(rate)
    while len(latencies) < requests:
        if events and events[0][0] <= arrival:
            now, kind, i, version = heapq.heappop(events)
            machine = machines[i]
            if kind == 0 and version != machine.version:
                continue                # something changed since
            machine.advance(now)
            if kind == 0:
                _, _, begun = heapq.heappop(machine.ends)
                clock_ms = _tick(chooser, clock_ms, now)
                chooser.observe(i, (now - begun) * 1e6)
                chooser.give(i)
                latencies.append(now - begun)
            else:
                slow = machine.speed == 1.0
                machine.speed = slow_speed if slow else 1.0
                mean = slow_s if slow else slow_s * (1 - slow_share) / slow_share
                heapq.heappush(events, (now + choose.expovariate(1 / mean), 1, i, 0))
        else:
            now = arrival
            arrival = now + choose.expovariate(rate)
            clock_ms = _tick(chooser, clock_ms, now)
            i = chooser.pick()
            machine = machines[i]
            machine.advance(now)
            started += 1
            end = machine.served + choose.expovariate(1 / work_s)
            heapq.heappush(machine.ends, (end, started, now))
        machine.version += 1
        if machine.ends:
            heapq.heappush(events, (machine.next_end(), 0, i, machine.version))
    return sorted(latencies[len(latencies) // 5 :])


def hedged(hedge: dict[str, str] | None, requests: int, seed: int) -> tuple[list[float], float]:
    """Latencies in ms, sorted, and requests to servers for each of ours. An answer takes 5 ms
    (log-normal), and one in a hundred up to 2 s more, whoever is asked."""
    chooser: Any = picker([1] * 10, "round_robin", seed=seed, hedge=hedge)
    choose = random.Random(seed)
    latencies, sent = [], 0
    now_s, clock_ms = 0.0, 0

    def one() -> float:
        late = choose.uniform(0, 2000) if choose.random() < 0.01 else 0.0
        return 5 * math.exp(choose.gauss(0, 0.4)) + late

    for _ in range(requests):
        now_s += choose.expovariate(1000)
        clock_ms = _tick(chooser, clock_ms, now_s)
        first = chooser.pick()
        latency = one()
        sent += 1
        after = chooser.hedge_after_ms() if hedge else 0
        if after and latency > after:
            second = chooser.hedge(first)
            if second >= 0:
                sent += 1
                other = one()
                chooser.give(second)
                if after + other < latency:
                    latency = after + other
                    chooser.observe_delay(other * 1000)     # (and of the first, so far)
        if hedge and "percentile" in hedge:
            chooser.observe_delay(latency * 1000)
        chooser.give(first)
        latencies.append(latency)
    return sorted(latencies), sent / requests


def dead_pool(budget: str | None, seconds: int, rate: int) -> float:
    """Tries for each request at a pool whose every server fails."""
    retry: dict[str, Any] = {"attempts": 3, "budget": budget or "1000%"}
    chooser: Any = picker([1] * 10, retry=retry)
    tries = 0
    for _ in range(seconds):
        for _ in range(rate):
            chooser.request()
            tries += 1
            server = 0
            while chooser.may_retry(server):
                tries += 1
                server += 1
        chooser.advance_ms(1000)
    return tries / (seconds * rate)
