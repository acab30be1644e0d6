"""What servers of a configuration are at which addresses."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Mapping

from fastlb._core.tables.live import Live
from fastlb._core.tables.states import Server
from fastlb.compile.snapshot import ServerSpec
from fastlb.config.effective import EffectivePool, EffectiveServer
from fastlb.control.discovery import Discovery, Known
from fastlb.errors import ConfigError, Problem


def is_name(server: EffectiveServer) -> bool:
    """Whether its addresses have to be asked for."""
    if server.address.host is None:
        return False
    try:
        ipaddress.ip_address(server.address.host)
    except ValueError:
        return True
    return False


def names(pools: Iterable[EffectivePool]) -> dict[str, float | None]:
    """Those of all servers, and how often each is to be asked for (s)."""
    found: dict[str, float | None] = {}
    for pool in pools:
        for server in pool.servers:
            if is_name(server):
                assert server.address.host is not None
                refresh_s = None if server.refresh_ms is None else server.refresh_ms / 1000
                known_s = found.get(server.address.host)
                if refresh_s is not None and known_s is not None:
                    refresh_s = min(refresh_s, known_s)
                found[server.address.host] = known_s if refresh_s is None else refresh_s
    return found


def unresolved(pools: Iterable[EffectivePool], failures: Mapping[str, str]) -> ConfigError:
    """What is wrong with a change whose servers have names that have no address."""
    return ConfigError([
        Problem(f"{server.address.host} can't be resolved: {failures[server.address.host]}",
                f"pools.{pool.name}.servers[{i}]")
        for pool in pools for i, server in enumerate(pool.servers)
        if server.address.host is not None and server.address.host in failures
    ])


def specs_of(
    server: EffectiveServer, zone: str, discovery: Discovery, by_zone: bool = False
) -> list[ServerSpec]:
    """One for each address that it has now, seen from a process in `zone`. `by_zone`: its pool has
    an order of zones."""
    own = server.zone if by_zone else ""
    address = server.address
    what = (server.weight, server.max_connections, server.priority,
            not zone or server.zone in ("", zone), server.state)
    if address.path is not None:
        return [ServerSpec(f"unix:{address.path}", address.path, *what, tls_name="localhost",
                           zone=own)]
    assert address.host is not None and address.port is not None
    known = discovery.known(address.host) if is_name(server) else Known({4: (address.host,)})
    return [
        ServerSpec(
            f"[{host}]:{address.port}" if ":" in host else f"{host}:{address.port}",
            (host, address.port),
            *what,
            tls_name=address.host.removesuffix("."),
            other=(known.others[0], address.port) if known.others else None,
            zone=own,
        )
        for host in known.addresses
    ]


def servers_by_name(
    pools: Iterable[EffectivePool], specs: Mapping[str, Mapping[str, ServerSpec]], zone: str,
    discovery: Discovery, live: Live,
) -> dict[str, list[Server]]:
    """The servers that stand behind each name; `specs` are those in use, by pool and address."""
    found: dict[str, list[Server]] = {}
    for pool in pools:
        for server in filter(is_name, pool.servers):
            assert server.address.host is not None
            found.setdefault(server.address.host, []).extend(
                live.server(pool.name, spec.name) for spec in specs_of(server, zone, discovery)
                if spec.name in specs[pool.name])
    return found


def lost(found: Mapping[str, Iterable[Server]]) -> set[str]:
    """The names behind which there are servers, and none that can be reached."""
    return {
        host for host, servers in found.items()
        if servers and all(one.failing or one.down for one in servers)
    }
