"""The balancers that a run measures. A new one is a file here and a line in PEERS."""

from __future__ import annotations

from bench.model import SetupError
from bench.peers.base import Peer
from bench.peers.caddy import Caddy
from bench.peers.envoy import Envoy
from bench.peers.fastlb import (
    Fastlb,
    FastlbChecks,
    FastlbCoalesce,
    FastlbFilter,
    FastlbLimited,
    FastlbListed,
    FastlbObserved,
    FastlbPolicy,
    FastlbPools,
)
from bench.peers.haproxy import HAProxy, HAProxyLimited
from bench.peers.nghttpx import Nghttpx
from bench.peers.nginx import DebianNginx, Nginx
from bench.peers.traefik import Traefik

__all__ = ["PEERS", "Peer", "choose"]

PEERS: dict[str, type[Peer]] = {
    kind.name: kind for kind in (
        Fastlb, FastlbPools, FastlbChecks, FastlbObserved, FastlbPolicy, FastlbFilter,
        FastlbLimited, FastlbListed, FastlbCoalesce, HAProxy, HAProxyLimited, Nginx, DebianNginx,
        Envoy, Traefik, Caddy, Nghttpx,
    )
}


def choose(labels: list[str]) -> list[Peer]:
    """The peers of --peers; `fastlb@COMMAND` is another build of fastlb."""
    chosen: list[Peer] = []
    for label in labels:
        name, at, command = label.partition("@")
        if at and name == Fastlb.name:
            chosen.append(Fastlb(command))
        elif label in PEERS:
            chosen.append(PEERS[label]())
        else:
            raise SetupError(f"no peer is called {label!r}; one of: {', '.join(PEERS)}")
    return chosen
