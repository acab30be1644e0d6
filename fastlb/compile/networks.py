"""Lists of networks, as the core gets them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from fastlb._core.tables.networks import NetworkSet
from fastlb.config.limits import NETWORKS_MAX
from fastlb.config.networks import EffectiveRule, is_network
from fastlb.config.proxy_protocol import Network, parse_network


@dataclass(frozen=True)
class NetworksSpec:
    names: tuple[str, ...]      # of sets
    text: bytes                 # networks beside them, one a line


@dataclass(frozen=True)
class AccessSpec:
    """The clients that a listener serves."""

    deny: NetworksSpec
    allow: NetworksSpec
    deny_reports: bool
    allow_reports: bool
    source_max: int             # connections of one source; 0: no limit


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


def access_spec(
    deny: EffectiveRule | None, allow: EffectiveRule | None, source_max: int
) -> AccessSpec | None:
    """None: everybody is served."""
    if deny is None and allow is None and not source_max:
        return None
    return AccessSpec(
        networks_spec(deny.networks if deny is not None else ()),
        networks_spec(allow.networks if allow is not None else ()),
        deny is not None and deny.report, allow is not None and allow.report, source_max)
