"""What makes relaying bulk cheap: variants of bulk_relay.c beside HAProxy, in one run.

python bench/micro/bulk_relay.py [--rounds N] [--seconds S] [--congestion NAME] [VARIANT ...]

A variant is a set of bulk_relay.c's knobs (splice=262144,reads=1) or haproxy:NAME, see HAPROXY.
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
from bench.peers import Peer
from bench.peers.haproxy import HAProxy
from bench.scenarios.tcp_bulk import SCENARIO

KIB = 1024
COPIES = [f"copy={kib * KIB}" for kib in (16, 32, 64, 128, 256, 512)]
SPLICES = [f"splice={kib * KIB}" for kib in (64, 256, 1024)]
# Lines of HAProxy's global and defaults sections.
HAPROXY = {
    "default": ("", ""),
    "copy-256k": ("    tune.bufsize 262144\n", ""),
    "splice": ("    maxpipes 256\n", "    option splice-response\n"),
    "splice-256k": ("    maxpipes 256\n    tune.pipesize 262144\n", "    option splice-response\n"),
    "splice-1m": ("    maxpipes 256\n    tune.pipesize 1048576\n", "    option splice-response\n"),
}
VARIANTS = [*(f"haproxy:{name}" for name in HAPROXY), *COPIES, *SPLICES]


class Relay(Peer):
    """bulk_relay.c with some of its knobs turned; it knows one server only."""

    name = "relay"
    modes = frozenset({"tcp"})

    def __init__(self, knobs: str) -> None:
        self._knobs = knobs
        self._binary = environment.compile_c("micro/bulk_relay")

    @property
    def label(self) -> str:
        return self._knobs

    def version(self) -> str:
        return "1"

    def command(self, work: Work, folder: Path) -> Command:
        ports = str(work.bind_port), str(work.server_ports[0])
        return Command((str(self._binary), *ports, *self._knobs.split(",")))


class TunedHAProxy(HAProxy):
    """HAProxy with one of the settings of HAPROXY, on one server too."""

    def __init__(self, setting: str) -> None:
        self._setting = setting
        self.bulk_global, self.bulk_defaults = HAPROXY[setting]

    @property
    def label(self) -> str:
        return f"haproxy:{self._setting}"

    def command(self, work: Work, folder: Path) -> Command:
        return super().command(replace(work, server_ports=work.server_ports[:1]), folder)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--seconds", type=float, default=1.0)
    parser.add_argument("--patience", type=float, default=300.0)
    parser.add_argument("--congestion", default="cubic")
    parser.add_argument("variants", nargs="*", metavar="VARIANT", default=VARIANTS)
    options = parser.parse_args()
    environment.check_tools({"gcc", "strace"})
    environment.peers_environment()
    variants: list[Peer] = [
        TunedHAProxy(v.partition(":")[2]) if v.startswith("haproxy:") else Relay(v)
        for v in options.variants
    ]
    machine.check_cpus()
    machine.raise_descriptor_limit()
    held = machine.lock(environment.BUILD / "lock")
    machine.allow_congestion(options.congestion)
    if machine.own_network():
        machine.set_congestion(options.congestion)
    print(f"congestion control {machine.congestion()}\n")
    scenario = replace(SCENARIO, direct=False)
    with TemporaryDirectory(prefix="fastlb-bench-") as folder:
        bench = Bench(options.seconds, options.rounds, options.patience, Path(folder))
        with bench.origin():
            print(render.table(bench.run(scenario, variants)))
    held.close()
    return 0


if __name__ == "__main__":
    sys.exit(environment.outcome(main))
