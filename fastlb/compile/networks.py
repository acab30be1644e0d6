"""Lists of networks, as the core gets them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from fastlb._core.tables.networks import NetworkSet
from fastlb.config.effective import EffectiveListener
from fastlb.config.limits import NETWORKS_MAX
from fastlb.config.networks import is_network
from fastlb.config.proxy_protocol import Network, parse_network
from fastlb.config.sources import EffectiveConnectionRate


@dataclass(frozen=True)
class NetworksSpec:
    names: tuple[str, ...]      # of sets
    text: bytes                 # networks beside them, one a line


@dataclass(frozen=True)
class TarpitSpec:
    for_ms: int
    most: int
    report: bool


@dataclass(frozen=True)
class BanSpec:
    networks: str               # the set that sources are added to
    unit_ns: float              # how long it takes until a denial is forgotten
    burst: int                  # denials that are let pass


@dataclass(frozen=True)
class AccessSpec:
    """The clients that a listener serves."""

    deny: NetworksSpec
    allow: NetworksSpec
    deny_reports: bool
    allow_reports: bool
    source_max: int             # connections of one source; 0: no limit
    rate: EffectiveConnectionRate | None
    handshakes_max: int         # TLS handshakes at a time; 0: no limit
    source_handshakes_max: int
    tarpit: TarpitSpec | None
    ban: BanSpec | None


def networks_spec(entries: Iterable[str | Network]) -> NetworksSpec:
    names, lines = [], []
    for one in map(str, entries):
        if is_network(one):
            lines.append(str(parse_network(one)))
        else:
            names.append(one)
    return NetworksSpec(tuple(names), "\n".join(lines).encode())


def literal_set(network: str) -> NetworkSet:
    """The set of one network that is written in a list."""
    return NetworkSet(networks_spec([network]).text, NETWORKS_MAX)


def access_spec(listener: EffectiveListener) -> AccessSpec | None:
    """None: everybody is served."""
    deny, allow, tls = listener.deny, listener.allow, listener.tls
    rate = listener.udp.source_rate if listener.udp is not None else listener.source_rate
    tarpit, ban = listener.tarpit, listener.ban
    made = AccessSpec(
        networks_spec(deny.networks if deny is not None else ()),
        networks_spec(allow.networks if allow is not None else ()),
        deny is not None and deny.report, allow is not None and allow.report,
        listener.source_max, rate,
        tls.handshakes_max if tls is not None else 0,
        tls.source_handshakes_max if tls is not None else 0,
        TarpitSpec(tarpit.timeout_ms, tarpit.most, tarpit.report) if tarpit is not None else None,
        BanSpec(ban.networks, ban.unit_ns, ban.count - 1) if ban is not None else None)
    nobody = AccessSpec(
        networks_spec(()), networks_spec(()), False, False, 0, None, 0, 0, made.tarpit, None)
    return made if made != nobody else None
