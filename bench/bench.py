"""One run: the origin, the peers' processes, and the readings of every scenario in turn."""

from __future__ import annotations

import contextlib
import random
import socket
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from bench import certificate, environment, machine, measure, process
from bench.load import DatagramLoad, DatagramOrigin, Generator, Load, errors_of
from bench.model import (
    BALANCER_CPU,
    H2_TO_H2,
    LOAD_CPU,
    SMALL_EXCHANGE_BYTES,
    TLS_MODES,
    UDP_MODES,
    Reading,
    Row,
    Scenario,
    Table,
    Traffic,
    Work,
)
from bench.peers import Peer

ORIGIN_PORTS = 2
# A reading that other programs disturbed is taken again at most so often, then kept and marked.
REPEATS_MAX = 4
WARM_SECONDS = 0.7
SYSCALL_SECONDS = 1.5
SHOWN_SYSCALLS = 6
DIRECT = "direct"
# nghttpd, H2_TO_H2's origin, can't tell what it was asked.
TELLING_MODES = {"http", "pools", *TLS_MODES} - {H2_TO_H2}
NGHTTPD = "/usr/sbin/nghttpd"
BODY_PERIOD = 251  # (of body.h)


def free_ports(count: int, mode: str = "") -> tuple[int, ...]:
    kind = socket.SOCK_DGRAM if mode in UDP_MODES else socket.SOCK_STREAM
    with contextlib.ExitStack() as stack:
        held = [stack.enter_context(socket.socket(type=kind)) for _ in range(count)]
        # Below those that the kernel gives to connections: a client could get such a one meanwhile.
        free = iter(random.sample(range(8_000, 11_000), 3_000))
        for s in held:
            while s.getsockname()[1] == 0:
                with contextlib.suppress(OSError):
                    s.bind(("127.0.0.1", next(free)))
        return tuple(s.getsockname()[1] for s in held)


@dataclass(frozen=True)
class Running:
    """A balancer that serves (or, without one, an origin that is asked directly)."""

    pid: int | None
    port: int


class Bench:
    """What the measuring functions of scenarios use."""

    def __init__(self, seconds: float, rounds: int, patience: float, folder: Path) -> None:
        self.seconds = seconds
        self.rounds = rounds
        self.folder = folder
        self.certificate = certificate.make(folder)
        self._patience = machine.Patience(patience)
        self._load_binary = environment.compile_c("load", "ssl", "crypto")
        self._origin_binary = environment.compile_c("origin")
        self._datagrams_binary = environment.compile_c("datagrams")
        self._datagram_origin_binary = environment.compile_c("datagram_origin")
        self.datagram_origin: DatagramOrigin | None = None
        self.origin_ports: tuple[int, ...] = ()
        self.origin_pid = 0

    @contextlib.contextmanager
    def origin(self, mode: str = "http") -> Iterator[None]:
        self.origin_ports = free_ports(ORIGIN_PORTS, mode)
        log = self.folder / "origin.log"
        if mode in UDP_MODES:
            with DatagramOrigin(self._datagram_origin_binary, self.origin_ports, log) as origin:
                self.datagram_origin, self.origin_pid = origin, origin.pid
                yield
            return
        with contextlib.ExitStack() as stack:
            for argv in self._origins(mode):
                started = process.start(argv, LOAD_CPU, log)
                stack.callback(process.stop, started)
            self.origin_pid = started.pid
            process.wait_until_listening(started, self.origin_ports, log)
            yield

    def _origins(self, mode: str) -> list[list[str]]:
        """One origin of ours for all ports, or an nghttpd each that has the same small body."""
        if mode != H2_TO_H2:
            return [[str(self._origin_binary), *(str(port) for port in self.origin_ports)]]
        docs = self.folder / "docs"
        docs.mkdir(exist_ok=True)
        (docs / "small").write_bytes(bytes(i % BODY_PERIOD for i in range(SMALL_EXCHANGE_BYTES)))
        return [
            [NGHTTPD, "--no-tls", "--address=127.0.0.1", f"--htdocs={docs}", str(port)]
            for port in self.origin_ports
        ]

    @contextlib.contextmanager
    def running(self, scenario: Scenario, peer: Peer | None) -> Iterator[Running]:
        """Starts a balancer in a folder of its own and waits until it serves and is idle."""
        if peer is None:
            yield Running(None, self.origin_ports[0])
            return
        (port,) = free_ports(1, scenario.mode)
        shown = self.certificate if scenario.mode in TLS_MODES else None
        tls = certificate.trusting(shown) if shown else None
        work = Work(scenario.mode, scenario.kind, port, self.origin_ports, shown)
        with TemporaryDirectory(dir=self.folder) as name:
            command = peer.command(work, Path(name))
            log = Path(name) / "log"
            started = process.start(
                command.argv, BALANCER_CPU, log, command.env, command.cwd or Path(name)
            )
            try:
                if scenario.mode in UDP_MODES:
                    process.wait_until_echoing(started, port, log)
                else:
                    process.wait_until_serving(started, port, log, tls)
                if scenario.mode in TELLING_MODES:
                    process.check_forwarded(port, tls)
                measure.wait_until_settled(started.pid)
                yield Running(started.pid, port)
            finally:
                process.stop(started)

    def load(self, port: int, traffic: Traffic) -> Load:
        return Load(self._load_binary, port, traffic, self.certificate, self.folder / "load.log")

    def generator(self, scenario: Scenario, port: int) -> Generator:
        """What does the scenario's traffic."""
        if scenario.datagrams is not None:
            log = self.folder / "load.log"
            return DatagramLoad(self._datagrams_binary, port, scenario.datagrams, log)
        assert scenario.traffic is not None
        return self.load(port, scenario.traffic)

    def _count_syscalls(self, scenario: Scenario, peer: Peer, row: Row) -> None:
        """System calls per request, in a short run of its own: strace slows everything down."""
        with (
            self.running(scenario, peer) as target,
            self.generator(scenario, target.port) as load,
        ):
            assert target.pid is not None
            time.sleep(WARM_SECONDS)
            load.pause()
            with measure.SystemCalls(target.pid, self.folder / "strace") as calls:
                load.begin_window()
                load.go_on()
                time.sleep(SYSCALL_SECONDS)
                load.pause()
                load.pause()
                window = load.window()
        if errors_of(window) or not window["requests"]:
            return
        each = {name: count / window["requests"] for name, count in calls.counts.items()}
        row.syscalls = sum(each.values())
        often = sorted(each.items(), key=lambda item: -item[1])[:SHOWN_SYSCALLS]
        row.syscall_names = ", ".join(f"{name} {n:.2f}" for name, n in often if n >= 0.005)

    def _read(self, scenario: Scenario, peer: Peer | None) -> Reading:
        """One reading, taken again while other programs disturb it."""
        for _ in range(REPEATS_MAX):
            self._patience.wait_for_quiet()
            started = time.monotonic()
            try:
                reading = scenario.measure(self, scenario, peer)
            except (RuntimeError, OSError) as error:
                return Reading({}, errors=str(error))
            if reading.errors or not reading.disturbed or self._patience.left <= 0:
                return reading
            self._patience.left -= time.monotonic() - started
        return reading

    def run(self, scenario: Scenario, peers: Sequence[Peer]) -> Table:
        """All rounds of a scenario, the balancers alternating within each round."""
        doing: list[Peer | None] = [p for p in peers if p.does(scenario.mode)]
        if scenario.direct:
            doing.append(None)
        table = Table(scenario, [Row(p.label if p else DIRECT) for p in doing])
        rounds = min(self.rounds, scenario.rounds_max)
        for number in range(rounds):
            for peer, row in zip(doing, table.rows, strict=True):
                if not row.void:
                    row.readings.append(self._read(scenario, peer))
                _progress(f"{scenario.name}: round {number + 1} of {rounds}, {row.peer}")
        for peer, row in zip(doing, table.rows, strict=True):
            if scenario.syscalls and peer is not None and not row.void:
                self._count_syscalls(scenario, peer, row)
        _progress("")
        return table


def _progress(text: str) -> None:
    """One line that is written over, and only where someone watches."""
    if sys.stderr.isatty():
        print(f"\r\x1b[K{text}", end="", file=sys.stderr, flush=True)
