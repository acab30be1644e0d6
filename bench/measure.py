"""What a process tree has used: CPU time, memory, context switches, system calls."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

from bench import process
from bench.model import BALANCER_CPU, LOAD_CPU

CPUCLOCK_SCHED = 2
TICK_NS = 1_000_000_000 // os.sysconf("SC_CLK_TCK")
STRACE_ATTACH_SECONDS_MAX = 5.0
SETTLE_LOOK_SECONDS = 0.3
SETTLE_SECONDS_MAX = 5.0
SETTLED_SHARE = 0.05        # of a CPU


def _process_clock_ns(pid: int) -> int:
    """The kernel's CPU clock of another process: all its threads, and those that have ended."""
    return time.clock_gettime_ns((~pid << 3) | CPUCLOCK_SCHED)


def _threads_ns(pid: int) -> int:
    total = 0
    for task in os.listdir(f"/proc/{pid}/task"):
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            total += int(Path(f"/proc/{pid}/task/{task}/schedstat").read_text().split()[0])
    return total


def cpu_ns(pid: int) -> dict[int, int]:
    """CPU time of each process of the tree: the schedstat of every thread.

    A thread that has ended is no longer listed, but the process clock keeps its time: it is the
    same sum with the ended ones in it, so the larger of the two is taken.
    """
    used = {}
    for member in process.tree(pid):
        with contextlib.suppress(OSError):
            used[member] = max(_threads_ns(member), _process_clock_ns(member))
    return used


def cpu_between(before: dict[int, int], after: dict[int, int]) -> int | None:
    """Nanoseconds used between two calls of cpu_ns; None if a process of the tree ended."""
    if before.keys() - after.keys():
        return None
    return sum(ns - before.get(pid, 0) for pid, ns in after.items())


def wait_until_settled(pid: int) -> None:
    """Returns once a balancer that serves has done the rest of its start: what it still loads and
    reads is no cost of a request. One that is always busy is waited for no longer than 5 s."""
    deadline = time.monotonic() + SETTLE_SECONDS_MAX
    before = cpu_ns(pid)
    while time.monotonic() < deadline:
        time.sleep(SETTLE_LOOK_SECONDS)
        now = cpu_ns(pid)
        used = cpu_between(before, now)
        if used is not None and used < SETTLED_SHARE * SETTLE_LOOK_SECONDS * 1e9:
            return
        before = now


def busy_ns() -> dict[int, int]:
    """Time that the balancer's and the load's CPU have spent on anything, from /proc/stat."""
    used = {}
    for line in Path("/proc/stat").read_text().splitlines():
        name, *ticks = line.split()
        if name in (f"cpu{BALANCER_CPU}", f"cpu{LOAD_CPU}"):
            user, nice, system, _idle, _iowait, irq, softirq, steal = (int(t) for t in ticks[:8])
            used[int(name[3:])] = (user + nice + system + irq + softirq + steal) * TICK_NS
    return used


@dataclass(frozen=True)
class Memory:
    """Of a process tree, in bytes: its share of resident memory, and its own anonymous memory."""

    resident: int
    anonymous: int


def memory(pid: int) -> Memory:
    resident = anonymous = 0
    for member in process.tree(pid):
        text = Path(f"/proc/{member}/smaps_rollup").read_text()
        sizes = {k: int(v) * 1024 for k, v in re.findall(r"^(\w+): +(\d+) kB", text, re.M)}
        resident += sizes["Pss"]
        anonymous += sizes["Anonymous"]
    return Memory(resident, anonymous)


def voluntary_switches(pid: int) -> int:
    """How often the threads of the tree have gone to sleep: each is a wake-up."""
    total = 0
    for member in process.tree(pid):
        for task in os.listdir(f"/proc/{member}/task"):
            with contextlib.suppress(FileNotFoundError):
                text = Path(f"/proc/{member}/task/{task}/status").read_text()
                match = re.search(r"^voluntary_ctxt_switches:\s+(\d+)", text, re.M)
                total += int(match[1]) if match else 0
    return total


class SystemCalls:
    """Counts the system calls of a whole tree, from `with` to its end, with strace -f -c."""

    def __init__(self, pid: int, report: Path) -> None:
        self.counts: dict[str, int] = {}
        self._report = report
        pids = [a for member in process.tree(pid) for a in ("-p", str(member))]
        self._argv = ["strace", "-f", "-c", "-o", str(report), *pids]
        self._traced = pid

    def __enter__(self) -> SystemCalls:
        log = self._report.with_suffix(".log")
        self._strace = process.start(self._argv, LOAD_CPU, log)
        status = Path(f"/proc/{self._traced}/status")
        deadline = time.monotonic() + STRACE_ATTACH_SECONDS_MAX
        while "TracerPid:\t0\n" in status.read_text():
            if time.monotonic() > deadline or self._strace.poll() is not None:
                raise RuntimeError(f"strace does not attach: {log.read_text()}")
            time.sleep(0.02)
        time.sleep(0.3)  # the other threads of the tree are attached one by one
        return self

    def __exit__(self, *_: object) -> None:
        self._strace.send_signal(signal.SIGINT)
        try:
            self._strace.wait(STRACE_ATTACH_SECONDS_MAX)
        except subprocess.TimeoutExpired:
            self._strace.kill()
            self._strace.wait()
        for line in self._report.read_text().splitlines():
            cells = line.split()
            if len(cells) >= 5 and cells[3].isdigit() and cells[-1] != "total":
                self.counts[cells[-1]] = int(cells[3])
