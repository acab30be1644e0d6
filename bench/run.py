"""Runs every balancer on the same work and prints tables and ratios: python bench/run.py --help."""

from __future__ import annotations

import argparse
import shlex
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from bench import environment, machine, render, scenarios
from bench import peers as known_peers
from bench.bench import Bench
from bench.model import (
    ROUNDS_DEFAULT,
    SECONDS_DEFAULT,
    Scenario,
    SetupError,
    Table,
)
from bench.peers import Peer

PAGE = environment.ROOT / "docs" / "benchmarks.md"
QUICK_ROUNDS, QUICK_SECONDS = 1, 1.0
# Linux' own default, whatever the machine's is: see bench/micro/bulk_relay.md for what BBR costs.
CONGESTION_DEFAULT = "cubic"
MACHINE_S = "machine"
PATIENCE_SECONDS = 600.0


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="one short round, for a first look")
    parser.add_argument("--only", default="", metavar="SCENARIO,...", help="these scenarios only")
    parser.add_argument("--peers", default="", metavar="NAME,...",
                        help="these balancers only; fastlb@COMMAND adds another build of fastlb")
    parser.add_argument("--rounds", type=int, default=None, metavar="N")
    parser.add_argument("--seconds", type=float, default=None, metavar="S", help="of each window")
    parser.add_argument("--congestion", default=CONGESTION_DEFAULT, metavar="NAME",
                        help=f"TCP congestion control; '{MACHINE_S}' leaves the machine's")
    parser.add_argument("--patience", type=float, default=PATIENCE_SECONDS, metavar="S",
                        help="how long to wait, in all, for other programs to be quiet")
    parser.add_argument("--no-write", action="store_true",
                        help=f"leave {PAGE.relative_to(environment.ROOT)} as it is")
    parser.add_argument("--update", action="store_true",
                        help="put what is measured into the page, and leave the rest of it")
    parser.add_argument("--list", action="store_true", help="print scenarios and peers, and end")
    return parser.parse_args()


def names(text: str) -> list[str]:
    return [name for name in text.split(",") if name]


def print_known() -> None:
    for scenario in scenarios.all_scenarios().values():
        print(f"{scenario.name:22} {scenario.title}")
    print(f"\npeers: {', '.join(known_peers.PEERS)}, fastlb@COMMAND")


def choose_peers(given: list[str]) -> tuple[list[Peer], list[str]]:
    """The peers to measure, and why others are left out. One that was named must be there."""
    chosen, left_out = [], []
    for peer in known_peers.choose(given or list(known_peers.PEERS)):
        missing = peer.missing()
        if missing and given:
            raise SetupError(f"{peer.label}: {missing}")
        if missing:
            left_out.append(f"{peer.label} is left out: {missing}")
        else:
            chosen.append(peer)
    return chosen, left_out


def run_all(bench: Bench, chosen: list[Scenario], peers: list[Peer], congestion: str,
            own: bool) -> list[Table]:
    tables = []
    for scenario in chosen:
        if own:
            machine.set_congestion(scenario.congestion or congestion)
        elif scenario.congestion not in (None, machine.congestion()):
            print(f"{scenario.name} is left out: it needs a network namespace (run as root)\n")
            continue
        with bench.origin(scenario.mode):
            found = bench.run(scenario, peers)
        tables.append(found)
        print(f"## {scenario.title}\n\n{render.table(found)}\n", flush=True)
    if own:
        machine.set_congestion(congestion)
    return tables


def main() -> int:
    options = arguments()
    if options.list:
        print_known()
        return 0
    chosen = scenarios.choose(names(options.only))
    tools = {tool for s in chosen for tool in s.tools}
    environment.check_tools({"gcc", "openssl", "strace", *tools})
    environment.peers_environment()
    peers, left_out = choose_peers(names(options.peers))
    machine.check_cpus()
    machine.raise_descriptor_limit()
    environment.BUILD.mkdir(exist_ok=True)
    held = machine.lock(environment.BUILD / "lock")
    for name in {options.congestion, *(s.congestion for s in chosen)} - {MACHINE_S, None}:
        machine.allow_congestion(name)
    congestion = options.congestion
    if congestion == MACHINE_S:
        congestion = machine.congestion()
    own = machine.own_network()
    if own:
        machine.set_congestion(congestion)
    rounds = options.rounds or (QUICK_ROUNDS if options.quick else ROUNDS_DEFAULT)
    seconds = options.seconds or (QUICK_SECONDS if options.quick else SECONDS_DEFAULT)
    run = render.Run(
        date=time.strftime("%Y-%m-%d %H:%M"),
        command=shlex.join(["python", "bench/run.py", *sys.argv[1:]]),
        rounds=rounds, seconds=seconds, machine=machine.describe(own), peers=peers,
        versions={peer.label: peer.version() for peer in peers}, left_out=left_out,
    )
    for key, value in [*run.machine, *run.versions.items()]:
        print(f"{key}: {value}")
    print("".join(f"{line}\n" for line in left_out))
    with TemporaryDirectory(prefix="fastlb-bench-") as folder:
        bench = Bench(seconds, rounds, options.patience, Path(folder))
        tables = run_all(bench, chosen, peers, congestion, own)
    held.close()
    builds = render.builds_of_fastlb(peers)
    print(f"## As ratios to HAProxy\n\n{render.ratio_table(tables, peers)}\n")
    if builds:
        print(f"## Targets\n\n{render.target_table(render.verdicts(tables, builds))}\n")
    if options.update:
        PAGE.write_text(render.updated(PAGE.read_text(), run, tables))
        print(f"updated: {PAGE.relative_to(environment.ROOT)}")
    whole = not (options.only or options.peers or options.quick)
    if whole and not options.no_write:
        PAGE.parent.mkdir(exist_ok=True)
        PAGE.write_text(render.page(run, tables))
        print(f"written: {PAGE.relative_to(environment.ROOT)}")
    return 1 if any(row.void for each in tables for row in each.rows) else 0


if __name__ == "__main__":
    sys.exit(environment.outcome(main))
