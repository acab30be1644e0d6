"""Counts what fastlb executes for one request, by callgrind: python bench/instructions.py --help.

Times vary by tens of percent on a shared machine, instructions by less than one. So this tells what
a change costs where two runs of run.py don't: give the build before it as --against. What the
kernel does isn't counted, and memory that is far away costs no more than memory that is near.
"""

from __future__ import annotations

import argparse
import re
import shlex
import subprocess
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from bench import environment, measure, process, scenarios
from bench.bench import Bench, free_ports
from bench.certificate import trusting
from bench.model import BALANCER_CPU, H2_MODES, TLS_MODES, Scenario, SetupError, Work
from bench.peers.fastlb import (
    Fastlb,
    FastlbLimited,
    FastlbObserved,
    FastlbPolicy,
    FastlbPools,
)

WORK: dict[str, tuple[str, type[Fastlb]]] = {
    "keepalive": ("http_keepalive", Fastlb),
    "https": ("https_keepalive", Fastlb),
    "h2": ("h2_streams", Fastlb),
    "pools": ("http_pools", FastlbPools),
    "observed": ("http_observed", FastlbObserved),
    "policy": ("http_policy", FastlbPolicy),
    "limited": ("http_limited", FastlbLimited),
}
REQUESTS = 4000             # of the shorter of two loads; the longer has three times as many
CONNECTIONS = 16
STARTS_MAX = 4              # under valgrind all takes so many times as long, and more


def under_callgrind(peer: Fastlb, work: Work, folder: Path, out: Path) -> list[str]:
    command = peer.command(work, folder)
    return ["valgrind", "--tool=callgrind", "--instr-atstart=no",
            f"--callgrind-out-file={out}", *command.argv]


def wait_until_serving(
    started: subprocess.Popen[bytes], port: int, log: Path, scenario: Scenario, bench: Bench
) -> None:
    tls = trusting(bench.certificate) if scenario.mode in TLS_MODES else None
    for starts in range(1, STARTS_MAX + 1):
        try:
            return process.wait_until_serving(started, port, log, tls)
        except RuntimeError:
            if starts == STARTS_MAX or started.poll() is not None:
                raise
    return None


def load(scenario: Scenario, port: int, count: int) -> None:
    """By h2load, as it stops after so many requests."""
    traffic = scenario.traffic
    assert traffic is not None
    h2 = scenario.mode in H2_MODES
    fields = [word for one in traffic.fields for word in ("-H", one)]
    scheme = "https" if scenario.mode in TLS_MODES else "http"
    argv = ["h2load", "-t1", f"-c{CONNECTIONS}", f"-m{traffic.streams if h2 else 1}", f"-n{count}",
            "--npn-list=h2" if h2 else "--h1", *fields,
            f"--connect-to=127.0.0.1:{port}", f"{scheme}://{process.HOST}:{port}{traffic.path}"]
    said = subprocess.run(argv, capture_output=True, text=True, timeout=600).stdout
    if f" {count} succeeded" not in said:
        raise SetupError(f"h2load: not all {count} requests succeeded:\n{said}")


def executed(out: Path, number: int) -> int:
    """The sum of one dump."""
    text = Path(f"{out}.{number}").read_text(errors="replace")
    found = re.search(r"^(?:summary|totals): (\d+)", text, re.M)
    if found is None:
        raise SetupError(f"{out}.{number} is no output of callgrind")
    return int(found[1])


def count(bench: Bench, name: str, command: str) -> float:
    """Instructions of one request: the difference of a longer and a shorter load, so that
    handshakes and what the process does besides are in both."""
    of, kind = WORK[name]
    scenario = scenarios.all_scenarios()[of]
    (port,) = free_ports(1)
    with bench.origin(), TemporaryDirectory(dir=bench.folder) as folder:
        shown = bench.certificate if scenario.mode in TLS_MODES else None
        work = Work(scenario.mode, scenario.kind, port, bench.origin_ports, shown)
        out, log = Path(folder) / "callgrind", Path(folder) / "log"
        argv = under_callgrind(kind(command), work, Path(folder), out)
        started = process.start(argv, BALANCER_CPU, log, cwd=Path(folder))
        try:
            wait_until_serving(started, port, log, scenario, bench)
            for _ in range(STARTS_MAX):
                measure.wait_until_settled(started.pid)
            control(started.pid, "-i", "on")
            for times in (1, 1, 3):         # (the first warms everything up)
                load(scenario, port, times * REQUESTS)
                time.sleep(1)               # (the last answers are recorded)
                control(started.pid, "-d")
        finally:
            process.stop(started)
        return (executed(out, 3) - executed(out, 2)) / (2 * REQUESTS)


def control(pid: int, *argv: str) -> None:
    subprocess.run(["callgrind_control", *argv, str(pid)], capture_output=True, check=True)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", default=",".join(WORK), metavar="WORK,...",
                        help=f"of {', '.join(WORK)}")
    parser.add_argument("--against", default="", metavar="COMMAND",
                        help="another build of fastlb, such as /other/tree/.venv/bin/fastlb")
    options = parser.parse_args()
    names = options.only.split(",")
    unknown = [name for name in names if name not in WORK]
    if unknown:
        raise SetupError(f"no work is called {unknown[0]!r}; one of: {', '.join(WORK)}")
    environment.check_tools({"gcc", "openssl", "valgrind", "h2load"})
    environment.BUILD.mkdir(exist_ok=True)
    print("instructions of a request" + (", and of the other build" if options.against else ""))
    with TemporaryDirectory(prefix="fastlb-bench-") as folder:
        bench = Bench(0, 0, 0, Path(folder))
        for name in names:
            line = f"{name:12} {count(bench, name, ''):8,.0f}"
            if options.against:
                other = count(bench, name, shlex.quote(options.against))
                line += f" {other:8,.0f}"
            print(line, flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(environment.outcome(main))
