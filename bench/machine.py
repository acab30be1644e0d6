"""The machine: what it is, a network of the run's own, and whether anything else is using it."""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import os
import platform
import re
import resource
import socket
import struct
import time
from pathlib import Path
from typing import IO

from bench import measure
from bench.model import BALANCER_CPU, LOAD_CPU, SetupError

CLONE_NEWNET = 0x40000000
SIOCGIFFLAGS, SIOCSIFFLAGS, IFF_UP = 0x8913, 0x8914, 1
IFREQ = "16sh14x"
IPV4 = Path("/proc/sys/net/ipv4")
# Above this share of a CPU, what other programs do is no longer noise but part of the result.
QUIET_SHARE = 0.06
QUIET_SAMPLE_SECONDS = 0.25


def check_cpus() -> None:
    if not {BALANCER_CPU, LOAD_CPU} <= os.sched_getaffinity(0):
        raise SetupError("two CPUs are needed: 0 for the balancer, 1 for the load and the origin")
    os.sched_setaffinity(0, {LOAD_CPU})


def raise_descriptor_limit() -> int:
    _soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return hard


def own_network() -> bool:
    """Moves this process into a network namespace of its own, with its own loopback and ports.

    Returns False where that is not allowed: then the run uses the machine's loopback.
    """
    if ctypes.CDLL(None, use_errno=True).unshare(CLONE_NEWNET) != 0:
        return False
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
        asked = fcntl.ioctl(s, SIOCGIFFLAGS, struct.pack(IFREQ, b"lo", 0))
        flags = struct.unpack(IFREQ, asked)[1]
        fcntl.ioctl(s, SIOCSIFFLAGS, struct.pack(IFREQ, b"lo", flags | IFF_UP))
    return True


def congestion() -> str:
    return (IPV4 / "tcp_congestion_control").read_text().strip()


def allow_congestion(name: str) -> None:
    """Lets namespaces choose it (they may choose only what the machine allows)."""
    allowed = (IPV4 / "tcp_allowed_congestion_control").read_text().split()
    if name not in allowed:
        with contextlib.suppress(OSError):
            (IPV4 / "tcp_allowed_congestion_control").write_text(" ".join([*allowed, name]))


def set_congestion(name: str) -> None:
    """In the run's own network only."""
    try:
        (IPV4 / "tcp_congestion_control").write_text(name)
    except OSError as error:
        raise SetupError(f"congestion control {name} can't be set: {error}") from None


class Patience:
    """How long a whole run may still wait for other programs to leave its CPUs alone."""

    def __init__(self, seconds: float) -> None:
        self.left = seconds

    def wait_for_quiet(self) -> None:
        """Returns once nothing else runs on the two CPUs, or when patience is at its end."""
        while self.left > 0:
            before, started = measure.busy_ns(), time.monotonic_ns()
            time.sleep(QUIET_SAMPLE_SECONDS)
            after, wall = measure.busy_ns(), time.monotonic_ns() - started
            if all(after[cpu] - before[cpu] <= QUIET_SHARE * wall for cpu in before):
                return
            self.left -= wall / 1e9


def lock(path: Path) -> IO[str]:
    """One run at a time; the lock lasts as long as the file stays open."""
    held = path.open("w")
    try:
        fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        print("another run is measuring; waiting for it to end", flush=True)
        fcntl.flock(held, fcntl.LOCK_EX)
    return held


def describe(own: bool) -> list[tuple[str, str]]:
    cpu = re.search(r"model name\s*: (.*)", Path("/proc/cpuinfo").read_text())
    memory = re.search(r"MemTotal:\s+(\d+)", Path("/proc/meminfo").read_text())
    hypervisor = "hypervisor" in Path("/proc/cpuinfo").read_text()
    return [
        ("CPU", (cpu[1] if cpu else platform.machine()) + (", virtual" if hypervisor else "")),
        ("Cores", str(os.cpu_count())),
        ("Memory", f"{int(memory[1]) / 2**20:.0f} GiB" if memory else "unknown"),
        ("Kernel", f"{platform.system()} {platform.release()}"),
        ("Network", ("loopback of a namespace of its own" if own else "the machine's loopback")
         + f", congestion control {congestion()}"),
    ]
