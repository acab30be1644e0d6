"""Writes docs/policies.md: each policy in a simulation, next to the figure of its paper."""

from __future__ import annotations

import collections
import math
import random
import statistics
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from bench.policies import farm, plots
from fastlb.compile.pools import ring
from tests.core.test_balance import picker

TARGET = Path(__file__).resolve().parents[2] / "docs" / "policies.md"
PICKS = 20_000
KEYS = [b"key %d" % i for i in range(200_000)]

MARK = "<!-- results: `make policies` writes what follows -->\n"


def row(*cells: object) -> str:
    return "| " + " | ".join(str(cell) for cell in cells) + " |"


def even() -> Iterator[str]:
    yield "\n## How even hashes are\n"
    yield row("policy", "servers", "deviation", "most over mean", "least over mean", "as published")
    yield row("--", "--:", "--:", "--:", "--:", "--")
    names = [f"10.0.{i // 256}.{i % 256}:80" for i in range(100)]
    hashes, owners = ring(names, [1] * 100)
    arcs = [0.0] * 100
    for i, owner in enumerate(owners):
        arcs[owner] += (hashes[i] - hashes[i - 1]) % 2**32
    yield row("ring_hash, 160 points: arcs", 100, *_spread(arcs), "0.079; about 1.20")
    chooser: Any = picker([1] * 1000, "maglev")
    yield row("maglev, 65,537 places", 1000, *_spread(chooser.places()), "1.0071 and 0.9918")
    for balance, n in (("rendezvous", 30), ("rendezvous", 1000)):
        counts = collections.Counter(picker([1] * n, balance).pick_keys(KEYS))
        yield row(f"{balance}, 200,000 keys", n, *_spread([counts[i] for i in range(n)]),
                  f"chance alone: {math.sqrt(n / len(KEYS)):.3f}")


def _spread(counts: list[float]) -> tuple[str, str, str]:
    mean = statistics.fmean(counts)
    deviation = statistics.pstdev(counts) / mean
    return f"{deviation:.3f}", f"{max(counts) / mean:.4f}", f"{min(counts) / mean:.4f}"


def moved() -> Iterator[str]:
    yield "\n## Keys that move when one of 100 servers is taken out\n"
    yield row("policy", "its own", "others")
    yield row("--", "--:", "--:")
    for balance in ("ring_hash", "maglev", "rendezvous"):
        before = picker([1] * 100, balance).pick_keys(KEYS)
        after = picker([int(i != 42) for i in range(100)], balance).pick_keys(KEYS)
        own = sum(a == 42 for a in before)
        others = sum(a not in (42, b) for a, b in zip(before, after, strict=True))
        yield row(balance, f"{own / len(KEYS):.2%}", f"{others / len(KEYS):.2%}")


def bounded() -> Iterator[str]:
    yield "\n## Bounded loads: 10,000 placements of Zipf keys on 20 servers\n"
    yield "The most that a server ever had beyond ceil((1 + e) x mean), which has to be 0."
    yield ""
    yield row("e", "ring_hash", "maglev", "rendezvous", "without a bound: most over mean")
    yield row("--:", "--:", "--:", "--:", "--:")
    for e in (0.1, 0.25, 0.5, 1.0):
        cells = [f"{_excess(balance, 1 + e)}" for balance in ("ring_hash", "maglev", "rendezvous")]
        yield row(e, *cells, f"{_unbounded():.2f}")


def _excess(balance: str, bound: float) -> int:
    chooser: Any = picker([1] * 20, balance, bounded_load=bound)
    key = farm.zipf(2000, 1.0, random.Random(1))
    choose = random.Random(2)
    held: collections.deque[int] = collections.deque()
    most = 0
    for _ in range(10_000):
        chooser.key(key())
        server = chooser.pick()
        held.append(server)
        limit = math.ceil(bound * len(held) / 20 - 1e-9)
        most = max(most, chooser.in_flight(server) - limit)
        if len(held) > 1000:
            held.rotate(-choose.randrange(len(held)))
            chooser.give(held.popleft())
    return most


def _unbounded() -> float:
    chooser: Any = picker([1] * 20, "ring_hash")
    key = farm.zipf(2000, 1.0, random.Random(1))
    for _ in range(1000):
        chooser.key(key())
        chooser.pick()
    return max(chooser.in_flight(i) for i in range(20)) / 50


def two_choices() -> Iterator[str]:
    yield "\n## Mean time in a farm of 1,000 M/M/1 queues\n"
    yield row("load", "least_request", "as published", "random", "1 / (1 - load)",
              "least_connections")
    yield row("--:", "--:", "--:", "--:", "--:", "--:")
    for load, published in ((0.9, 2.614), (0.95, 3.383), (0.99, 5.432)):
        n = {0.9: 1_000_000, 0.95: 2_000_000, 0.99: 8_000_000}[load]
        two = farm.sojourn("least_request", load, 1000, n, 3)
        chance = farm.sojourn("random", load, 1000, n, 3)
        least = farm.sojourn("least_connections", load, 1000, n // 4, 3)
        yield row(load, f"{two:.3f}", published, f"{chance:.1f}", f"{1 / (1 - load):.0f}",
                  f"{least:.3f}")


def slow() -> Iterator[str]:
    yield "\n## One of 11 servers takes 2 s for 30 s of 60: requests within 1 s\n"
    yield "1,000 requests/s, a median of 167 ms (log-normal). A policy sees the whole latency, or,"
    yield "where clients leave after 1 s, no more than that: a stalled server then looks better."
    yield ""
    yield row("policy", "within 1 s", "p50", "p99", "clients leave after 1 s", "as published")
    yield row("--", "--:", "--:", "--:", "--:", "--")
    published = {"round_robin": "about 95 %", "least_connections": "99 % (least loaded)",
                 "peak_ewma": "99.9 %"}
    for balance in ("round_robin", "random", "least_connections", "least_request", "peak_ewma"):
        share, p50, p99 = farm.within(balance, farm.slow_server, 11, 1000, 60, 1.0, 60.0, 5)
        leaving, _, _ = farm.within(balance, farm.slow_server, 11, 1000, 60, 1.0, 1.0, 5)
        yield row(balance, f"{share:.2%}", f"{p50 * 1000:.0f} ms", f"{p99 * 1000:.0f} ms",
                  f"{leaving:.2%}", published.get(balance, ""))


def antagonists() -> Iterator[str]:
    yield "\n## Machines that others slow down: prequal next to its rivals\n"
    yield "50 machines of 4 cores, 80 ms of work for each request (exponential). A fifth of them"
    yield "at a time runs at 40 % of its speed, for 10 s in the mean; the load is of what is left."
    yield "Round robin has equal weights; in the paper (NSDI 2024) they follow use."
    yield ""
    yield row("load", "policy", "p50", "p99", "p99.9")
    yield row("--:", "--", "--:", "--:", "--:")
    for load in (0.7, 0.9):
        curves = {}
        for balance in ("round_robin", "random", "least_connections", "least_request", "peak_ewma",
                        "prequal"):
            taken = farm.antagonised(balance, load, 200_000, 11)
            curves[balance] = [1000 * one for one in taken]
            yield row(f"{load:.0%}", balance, *(f"{_quantile(taken, q) * 1000:.0f} ms"
                                                for q in (0.5, 0.99, 0.999)))
        plots.tails(f"antagonists-{load * 100:.0f}", f"Load {load:.0%}", curves)
    yield ""
    yield "![70 % load](img/antagonists-70.svg) ![90 % load](img/antagonists-90.svg)"


def _quantile(sorted_values: list[float], q: float) -> float:
    return sorted_values[min(int(len(sorted_values) * q), len(sorted_values) - 1)]


def hedging() -> Iterator[str]:
    yield "\n## Second tries: a hundredth of the answers takes up to 2 s longer\n"
    yield row("hedge", "p50", "p99", "p99.9", "requests to servers")
    yield row("--", "--:", "--:", "--:", "--:")
    curves = {}
    for name, hedge in (
        ("none", None),
        ('{ delay = "20ms" }', {"delay": "20ms"}),
        ('{ percentile = "95%" }', {"percentile": "95%"}),
        ('{ percentile = "95%", budget = "1%" }', {"percentile": "95%", "budget": "1%"}),
    ):
        taken, load = farm.hedged(hedge, 400_000, 13)
        curves[name] = taken
        yield row(f"`{name}`", *(f"{_quantile(taken, q):.1f} ms" for q in (0.5, 0.99, 0.999)),
                  f"{load:.3f}")
    plots.tails("hedging", "Second tries", curves)
    yield ""
    yield "![hedging](img/hedging.svg)"


def budgets() -> Iterator[str]:
    yield "\n## Retries at a pool that is dead: tries for each request, of 3 at most\n"
    yield row("budget", "tries", "as published")
    yield row("--", "--:", "--:")
    yield row("10%", f"{farm.dead_pool('10%', 60, 1000):.2f}", "1.1")
    yield row("20%", f"{farm.dead_pool('20%', 60, 1000):.2f}", "")
    yield row("none", f"{farm.dead_pool(None, 60, 1000):.2f}", "3")


def costs() -> Iterator[str]:
    """In nanoseconds, with the place at the server taken and given back."""
    yield "\n## What a pick costs\n"
    yield "The best of 20 rounds of 20,000 picks; rendezvous once the keys' places are known. Also:"
    yield "`pytest tests/core/test_speed.py -k pick --benchmark-enable`."
    yield ""
    yield row("policy", "10 servers", "1,000 servers")
    yield row("--", "--:", "--:")
    for balance in ("round_robin", "random", "least_connections", "least_request", "peak_ewma",
                    "prequal", "ring_hash", "maglev", "rendezvous"):
        yield row(balance, *(f"{_cost(balance, n):.0f} ns" for n in (10, 1000)))


def _cost(balance: str, servers: int) -> float:
    chooser: Any = picker([1] * servers, balance)
    chooser.spin(1_000_000 if balance == "rendezvous" else PICKS)
    best = math.inf
    for _ in range(20):
        begin = time.perf_counter_ns()
        chooser.spin(PICKS)
        best = min(best, time.perf_counter_ns() - begin)
    return best / PICKS


def main() -> None:
    lines = []
    for part in (costs, even, moved, bounded, two_choices, slow, antagonists, hedging, budgets):
        for line in part():
            print(line, flush=True)
            lines.append(line)
    said = TARGET.read_text().partition(MARK)[0]
    TARGET.write_text(said + MARK + "\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
