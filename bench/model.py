"""The words of the benchmarks: a work, a reading, a scenario, a target, and what a run found."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from bench.bench import Bench
    from bench.peers import Peer

# What a balancer is to do, so that a peer can choose its best settings for it.
SMALL, CONNECTIONS, BULK, IDLE = "small", "connections", "bulk", "idle"
WEBSOCKET, MEDIA = "websocket", "media"

# What a listener speaks over TLS: HTTP/1.1 alone, or HTTP/2 as well, whose clients here use no
# other. The servers speak plain HTTP/1.1, but for H2_TO_H2's, which speak HTTP/2 without TLS.
HTTPS, H2, H2_TO_H2 = "https", "h2", "h2_to_h2"
UDP = "udp"
UDP_STREAM = "udp_stream"         # one way
UDP_MODES = frozenset({UDP, UDP_STREAM})
H2_MODES = frozenset({H2, H2_TO_H2})
TLS_MODES = frozenset({HTTPS, *H2_MODES})

BALANCER_CPU = 0
LOAD_CPU = 1

# Many short rounds rather than a few long ones: the noise of these machines comes and goes within
# seconds, so taking turns quickly spreads it over all alike.
ROUNDS_DEFAULT = 7
SECONDS_DEFAULT = 1.5


@dataclass(frozen=True)
class Certificate:
    """PEM files: a certificate for `bench.test`, and its key."""

    cert: Path
    key: Path


@dataclass(frozen=True)
class Work:
    """What a balancer has to relay: its mode, its port, the origins' ports, the kind of load, and
    what it shows clients where the mode is one of TLS."""

    mode: str
    kind: str
    bind_port: int
    server_ports: tuple[int, ...]
    certificate: Certificate | None = None

    @property
    def scheme(self) -> str:
        if self.mode in UDP_MODES:
            return UDP
        return "http" if self.certificate is None else "https"

    @property
    def alpn(self) -> tuple[str, ...]:
        return ("h2", "http/1.1") if self.mode in H2_MODES else ("http/1.1",)


@dataclass(frozen=True)
class Command:
    """How a balancer is started. `env` is added to the environment."""

    argv: tuple[str, ...]
    env: Mapping[str, str] = field(default_factory=dict)
    cwd: Path | None = None


@dataclass(frozen=True)
class Traffic:
    """What load.c does: so many connections, each asking for `path`; `keep`, `close`, `idle` or
    `websocket`. `fields` are header fields of the requests. `tls`: none, or FULL or RESUMED
    handshakes. wrk and h2load do `keep` alone, h2load with so many `streams` a connection.
    """

    connections: int
    path: str
    body_bytes: int
    mode: str
    fields: tuple[str, ...] = ()
    tls: str = ""
    streams: int = 1


@dataclass(frozen=True)
class Datagrams:
    """What datagrams.c does: flows with a socket each, of datagrams with so many bytes; `rate` a
    second in all, one way, or 0: each as soon as the one before is answered."""

    flows: int
    bytes: int
    rate: int = 0


FULL, RESUMED = "full", "resumed"
SMALL_EXCHANGE_BYTES = 101
BIG_EXCHANGE_BYTES = 1024 * 1024
WEBSOCKET_TEXT_BYTES = 100


@dataclass
class Reading:
    """What one round measured of one balancer. `values` has a number for each column."""

    values: dict[str, float]
    errors: str = ""
    disturbed: bool = False


@dataclass(frozen=True)
class Column:
    """One column of a table: its key in `Reading.values`, its title, and how it is written."""

    key: str
    title: str
    digits: int = 1


@dataclass(frozen=True)
class Target:
    """At most `limit`: times the cheapest of `against` where there are any (with `more`, more than
    it), else as it is. `of` is who is judged: every build of fastlb if not given. `key`: another
    column than the first."""

    limit: float
    against: tuple[str, ...] = ()
    of: str = ""
    more: bool = False
    key: str = ""


Measure = Callable[["Bench", "Scenario", "Peer | None"], Reading]


@dataclass(frozen=True)
class Scenario:
    """One work that every balancer does. `columns[0]` is what is compared."""

    name: str
    title: str
    mode: str
    kind: str
    columns: tuple[Column, ...]
    measure: Measure
    traffic: Traffic | None = None
    datagrams: Datagrams | None = None
    targets: tuple[Target, ...] = ()
    direct: bool = True
    syscalls: bool = False
    rounds_max: int = 100
    tools: tuple[str, ...] = ()
    congestion: str | None = None
    notes: tuple[str, ...] = ()
    order: int = 100


@dataclass
class Row:
    """One balancer's readings in one scenario."""

    peer: str
    readings: list[Reading] = field(default_factory=list)
    syscalls: float | None = None
    syscall_names: str = ""

    @property
    def void(self) -> str:
        """Why the row doesn't count: the first error of any of its rounds."""
        return next((r.errors for r in self.readings if r.errors), "")

    @property
    def disturbed(self) -> int:
        return sum(r.disturbed for r in self.readings)

    def value(self, key: str) -> float | None:
        values = [r.values[key] for r in self.readings if key in r.values]
        return median(values) if values else None

    def spread(self, key: str) -> tuple[float, float] | None:
        values = [r.values[key] for r in self.readings if key in r.values]
        return (min(values), max(values)) if values else None


@dataclass
class Table:
    """Every balancer's row in one scenario."""

    scenario: Scenario
    rows: list[Row]

    def row(self, peer: str) -> Row | None:
        return next((r for r in self.rows if r.peer == peer), None)

    def compared(self, peer: str, key: str = "") -> float | None:
        """The compared value of a balancer (or that of another column), or None where it is missing
        or void."""
        row = self.row(peer)
        if row is None or row.void:
            return None
        return row.value(key or self.scenario.columns[0].key)


class SetupError(Exception):
    """Something that a run needs is missing; the text says what to do."""
