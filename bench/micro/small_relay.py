"""What the order of reads and writes within a turn costs, for small messages.

python bench/micro/small_relay.py [--rounds N] [--seconds S]
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

sys.path.insert(0, str(Path(__file__).resolve().parent.parent.parent))

from bench import environment, machine, render
from bench.bench import Bench
from bench.model import Command, Work
from bench.peers import Peer, choose
from bench.scenarios.tcp_keepalive import SCENARIO

ORDERS = ("at-once", "server-first", "deferred")


class Relay(Peer):
    """small_relay.c with one of the orders; it knows one server only."""

    name = "relay"
    modes = frozenset({"tcp"})

    def __init__(self, order: str) -> None:
        self._order = order
        self._binary = environment.compile_c("micro/small_relay")

    @property
    def label(self) -> str:
        return self._order

    def version(self) -> str:
        return "1"

    def command(self, work: Work, folder: Path) -> Command:
        ports = str(work.bind_port), str(work.server_ports[0])
        return Command((str(self._binary), *ports, self._order))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--seconds", type=float, default=1.0)
    parser.add_argument("--patience", type=float, default=300.0)
    parser.add_argument("--peers", default="haproxy,nginx")
    options = parser.parse_args()
    environment.check_tools({"gcc", "strace"})
    environment.peers_environment()
    peers = [*choose(options.peers.split(",")), *(Relay(order) for order in ORDERS)]
    machine.check_cpus()
    machine.raise_descriptor_limit()
    held = machine.lock(environment.BUILD / "lock")
    machine.own_network()
    scenario = replace(SCENARIO, direct=False)
    with TemporaryDirectory(prefix="fastlb-bench-") as folder:
        bench = Bench(options.seconds, options.rounds, options.patience, Path(folder))
        with bench.origin():
            print(render.table(bench.run(scenario, peers)))
    held.close()
    return 0


if __name__ == "__main__":
    sys.exit(environment.outcome(main))
