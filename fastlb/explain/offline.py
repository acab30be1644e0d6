"""A configuration compiled as a running balancer would, without sockets, names and functions."""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping

from fastlb._core.tables.caller import Caller
from fastlb._core.tables.live import Live
from fastlb._core.tables.networks import NetworkSet
from fastlb._core.tables.numbers import MERGE_SLASHES
from fastlb._core.tables.snapshot import Snapshot
from fastlb.compile.routes import names_of
from fastlb.compile.snapshot import Opened, ServerSpec, chosen, compile_snapshot
from fastlb.config.effective import Effective, EffectivePool, EffectiveServer
from fastlb.control.geography import fill_geography
from fastlb.control.network_sources import read_all
from fastlb.control.networks import fill_networks
from fastlb.control.spread import Spread
from fastlb.policy import Connection, Request
from fastlb.process.functions import find


def compile_offline(
    values: Effective, functions: bool, sets: Mapping[str, NetworkSet] | None = None
) -> tuple[Snapshot, list[str]]:
    """The snapshot, with a bind for each listener in their order, and the names that a running
    process would have resolved. `functions`: look for those of policies. `sets`: those of networks,
    where they have been read. Raises ConfigError."""
    live = Live(1)
    sets = read_all(values.networks) if sets is None else sets
    networks = fill_networks(live, sets)        # (which lists hold from then on)
    fill_geography(live, values.geo)
    unresolved: list[str] = []
    servers = {pool.name: _servers(values, pool, unresolved) for pool in values.pools}
    opened = [
        Opened(i + 1, listener.name, False, []) for i, listener in enumerate(values.listeners)
    ]
    snapshot = compile_snapshot(
        live, values.listeners, values.pools, servers, opened, values.max_connections,
        values.sessions_max, _callers(live, values, functions),
    )
    del networks
    spread = Spread(live)
    for name, specs in servers.items():
        spread.follow(name, specs)
    spread.look()
    return snapshot, unresolved


def _servers(
    values: Effective, pool: EffectivePool, unresolved: list[str]
) -> list[ServerSpec]:
    found: dict[str, ServerSpec] = {}
    for server in pool.servers:
        spec = _spec(values, server, server.zone if pool.nearest is not None else "")
        if spec.address == NOWHERE and server.address.path is None:
            unresolved.append(str(server.address))
        found.setdefault(spec.name, spec)
    return chosen(pool, list(found.values()))


NOWHERE = ("0.0.0.0", 0)        # where a name leads that nobody has resolved


def _spec(values: Effective, server: EffectiveServer, zone: str) -> ServerSpec:
    address = server.address
    what = (server.weight, server.max_connections, server.priority,
            not values.zone or server.zone in ("", values.zone), server.state)
    if address.path is not None:
        return ServerSpec(f"unix:{address.path}", address.path, *what, zone=zone)
    assert address.host is not None and address.port is not None
    try:
        ipaddress.ip_address(address.host)
    except ValueError:
        return ServerSpec(str(address), NOWHERE, *what, zone=zone)
    host, port = address.host, address.port
    name = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    return ServerSpec(name, (host, port), *what, zone=zone)


def _callers(live: Live, values: Effective, functions: bool) -> dict[str, dict[str, Caller]]:
    found: dict[str, dict[str, Caller]] = {}
    for listener in values.listeners:
        if listener.policy is not None:
            where = f"listeners.{listener.name}.policy"
            found[listener.name] = {"": Caller(
                find(listener.policy.call, where) if functions else _nobody, Connection, live,
                listener.name, "", listener.written_scheme, (), False,
            )}
        for one in listener.sniffing.routes if listener.sniffing is not None else ():
            if one.policy is not None:
                where = f"listeners.{listener.name}.routes.{one.name}.policy"
                found.setdefault(listener.name, {})[one.name] = Caller(
                    find(one.policy.call, where) if functions else _nobody, Connection, live,
                    listener.name, one.name, listener.written_scheme, (), False,
                )
        for route in listener.http.routes if listener.http is not None else ():
            if route.policy is None:
                continue
            where = f"listeners.{listener.name}.routes.{route.name}.policy"
            assert listener.http is not None
            found.setdefault(listener.name, {})[route.name] = Caller(
                find(route.policy.call, where) if functions else _nobody, Request, live,
                listener.name, route.name, listener.written_scheme, names_of(route),
                MERGE_SLASHES[listener.http.merge_slashes],
            )
    return found


def _nobody(request: object) -> None:
    """Stands for a function that isn't called."""
