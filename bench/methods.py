"""How scenarios measure. Each takes the bench, the scenario and a peer (None: straight to the
origin) and gives one reading; a scenario file picks one."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from bench import load as loads
from bench import machine, measure
from bench.bench import WARM_SECONDS, Bench, Running
from bench.model import Column, Reading, Scenario, Traffic
from bench.peers import Peer

MIB = 1024 * 1024
IDLE_SETTLE_SECONDS = 2.0
IDLE_OPEN_SECONDS_MAX = 60.0
IDLE_WARM_CONNECTIONS = 64
WAKEUP_SECONDS = 10.0

REQUESTS = Column("requests_s", "requests/s", 0)
P50 = Column("p50_us", "p50 us")
P99 = Column("p99_us", "p99 us")
RESIDENT = Column("resident_mib", "resident MiB")
BUSY = Column("busy", "CPU busy %", 0)
LOST = Column("lost_percent", "lost %", 3)
MEAN = Column("mean_us", "mean us")
LONGEST = Column("max_us", "longest us", 0)
COST = Column("cpu_us", "CPU us/request", 2)
COST_PER_MIB = Column("cpu_us_per_mib", "CPU us/MiB", 1)

Run = Callable[[int, Traffic, float, Path], tuple[dict[str, float], str]]


class _Window:
    """CPU of the balancer, and of anything else on its CPU and the load's, over a window."""

    def __init__(self, bench: Bench, target: Running, load_pid: int | None) -> None:
        self._target = target
        self._ours = [p for p in (target.pid, load_pid, bench.origin_pid) if p is not None]
        self._start = self._look()

    def _look(self) -> tuple[list[dict[int, int]], dict[int, int], int]:
        return [measure.cpu_ns(p) for p in self._ours], measure.busy_ns(), time.monotonic_ns()

    def end(self) -> None:
        (used0, busy0, t0), (used1, busy1, t1) = self._start, self._look()
        costs = [measure.cpu_between(a, b) for a, b in zip(used0, used1, strict=True)]
        self.wall_ns = t1 - t0
        self.balancer_ns = costs[0] if self._target.pid is not None else None
        self.ended_process = None in costs
        others = sum(busy1[cpu] - busy0[cpu] for cpu in busy0) - sum(c or 0 for c in costs)
        self.disturbed = others > machine.QUIET_SHARE * self.wall_ns


def steady_load(bench: Bench, scenario: Scenario, peer: Peer | None) -> Reading:
    """A window of load.c's or datagrams.c's traffic: cost, rate, latency, memory."""
    with (
        bench.running(scenario, peer) as target,
        bench.generator(scenario, target.port) as load,
    ):
        time.sleep(WARM_SECONDS)
        window = _Window(bench, target, load.pid)
        load.begin_window()
        time.sleep(bench.seconds)
        found = load.window()
        window.end()
        memory = measure.memory(target.pid) if target.pid is not None else None
    errors = loads.errors_of(found)
    if not errors and not found["requests"]:
        if window.disturbed:  # starved of CPU by other programs: no result, rather than an error
            return Reading({}, disturbed=True)
        errors = "no request completed"
    if window.ended_process:
        errors = errors or "a process of the balancer ended"
    if errors:
        return Reading({}, errors)
    values = {
        "requests_s": found["requests"] / found["seconds"],
        "p50_us": found["p50_us"],
        "p99_us": found["p99_us"],
    }
    if "lost" in found:
        values["lost_percent"] = 100 * found["lost"] / found["sent"]
    if window.balancer_ns is not None and memory is not None:
        cost = window.balancer_ns / 1e3 / found["requests"]
        values["cpu_us"] = cost
        if scenario.traffic is not None:
            values["cpu_us_per_mib"] = cost / scenario.traffic.body_bytes * MIB
        values["busy"] = 100 * window.balancer_ns / window.wall_ns
        values["resident_mib"] = memory.resident / MIB
    return Reading(values, disturbed=window.disturbed)


def datagram_stream(bench: Bench, scenario: Scenario, peer: Peer | None) -> Reading:
    """A window of datagrams one way. Generator and origin are quiet before and after it, so that
    what was sent in it either has arrived or is lost."""
    origin = bench.datagram_origin
    assert origin is not None
    with (
        bench.running(scenario, peer) as target,
        bench.generator(scenario, target.port) as load,
    ):
        time.sleep(WARM_SECONDS)
        load.pause()
        origin.begin_window()
        window = _Window(bench, target, load.pid)
        load.begin_window()
        load.go_on()
        time.sleep(bench.seconds)
        load.pause()
        window.end()
        sent, arrived = load.window(), origin.window()
        memory = measure.memory(target.pid) if target.pid is not None else None
    errors = ", ".join(filter(None, (loads.errors_of(sent), loads.errors_of(arrived))))
    if window.ended_process:
        errors = errors or "a process of the balancer ended"
    if not errors and not arrived["received"]:
        errors = "nothing arrived"
    if errors:
        return Reading({}, errors)
    values = {
        "requests_s": arrived["received"] / sent["seconds"],
        "p50_us": arrived["p50_us"],
        "p99_us": arrived["p99_us"],
        "lost_percent": 100 * (1 - arrived["received"] / sent["sent"]),
    }
    if window.balancer_ns is not None and memory is not None:
        values["cpu_us"] = window.balancer_ns / 1e3 / arrived["received"]
        values["busy"] = 100 * window.balancer_ns / 1e9 / sent["seconds"]
        values["resident_mib"] = memory.resident / MIB
    return Reading(values, disturbed=window.disturbed)


def wrk(bench: Bench, scenario: Scenario, peer: Peer | None) -> Reading:
    """A whole run of wrk, its opening of connections included."""
    return _whole_run(bench, scenario, peer, loads.run_wrk)


def h2load(bench: Bench, scenario: Scenario, peer: Peer | None) -> Reading:
    """A whole run of h2load, its handshakes included."""
    return _whole_run(bench, scenario, peer, loads.run_h2load)


def _whole_run(bench: Bench, scenario: Scenario, peer: Peer | None, run: Run) -> Reading:
    assert scenario.traffic is not None
    with bench.running(scenario, peer) as target:
        before = measure.cpu_ns(target.pid) if target.pid is not None else {}
        found, errors = run(target.port, scenario.traffic, bench.seconds, bench.folder / "run.log")
        used = measure.cpu_between(before, measure.cpu_ns(target.pid)) if target.pid else None
    if errors:
        return Reading({}, errors)
    values = {"requests_s": found["requests"] / found["seconds"]}
    values.update((k, v) for k, v in found.items() if k.endswith("_us"))
    if used is not None:
        values["cpu_us"] = used / 1e3 / found["requests"]
    return Reading(values)


def idle_relays(bench: Bench, scenario: Scenario, peer: Peer | None) -> Reading:
    """Anonymous memory that idle relays add, each after one exchange, to a balancer that has
    already served IDLE_WARM_CONNECTIONS of them."""
    assert scenario.traffic is not None
    assert peer is not None
    wanted = scenario.traffic.connections
    with bench.running(scenario, peer) as target:
        assert target.pid is not None
        warm = replace(scenario.traffic, connections=IDLE_WARM_CONNECTIONS, mode="keep")
        with bench.load(target.port, warm):
            time.sleep(WARM_SECONDS)
        time.sleep(IDLE_SETTLE_SECONDS)
        before = measure.memory(target.pid)
        with bench.load(target.port, scenario.traffic) as load:
            deadline = time.monotonic() + IDLE_OPEN_SECONDS_MAX
            found = load.window()
            while found["requests"] < wanted and time.monotonic() < deadline:
                time.sleep(0.2)
                found = load.window()
            time.sleep(IDLE_SETTLE_SECONDS)
            after = measure.memory(target.pid)
            found = load.window()
    errors = loads.errors_of(found)
    if not errors and found["requests"] != wanted:
        errors = f"{found['requests']:.0f} of {wanted} connections answered"
    if errors:
        return Reading({}, errors)
    return Reading({
        "bytes_per_relay": (after.anonymous - before.anonymous) / wanted,
        "before_mib": before.anonymous / MIB,
        "after_mib": after.anonymous / MIB,
        "resident_mib": after.resident / MIB,
    })


def idle_wakeups(bench: Bench, scenario: Scenario, peer: Peer | None) -> Reading:
    """How often the threads of a balancer that has nothing to do wake up."""
    assert peer is not None
    with bench.running(scenario, peer) as target:
        assert target.pid is not None
        time.sleep(IDLE_SETTLE_SECONDS)
        cpu = measure.cpu_ns(target.pid)
        before = measure.voluntary_switches(target.pid)
        time.sleep(WAKEUP_SECONDS)
        after = measure.voluntary_switches(target.pid)
        used = measure.cpu_between(cpu, measure.cpu_ns(target.pid))
        memory = measure.memory(target.pid)
    return Reading({
        "wakeups_s": (after - before) / WAKEUP_SECONDS,
        "cpu_us_s": (used or 0) / 1e3 / WAKEUP_SECONDS,
        "resident_mib": memory.resident / MIB,
    })
