"""Checks of `[geo]`, of conditions on its facts, and of pools' zones for clients."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from fastlb.config import limits
from fastlb.config.check_sniffing import conditions
from fastlb.config.geography import CHECKS, DATABASES, Nearest, Override
from fastlb.config.hints import Found
from fastlb.config.positions import Path
from fastlb.config.units import show


def check_geo(raw: Mapping[str, Any], listeners: Mapping[str, Any]) -> Iterator[Found]:
    """Yield what is wrong with `[geo]` beside its values, and with conditions on its facts."""
    geo = raw.get("geo")
    if isinstance(geo, Mapping) and not any(geo.get(key) for key in (*DATABASES, "overrides")):
        yield ("geo",), "there is no database; write country, city or asn with a file", DATABASES
    if isinstance(geo, Mapping) and isinstance(geo.get("overrides"), Mapping):
        for network, one in geo["overrides"].items():
            if isinstance(one, Mapping) and not one:
                yield ("geo", "overrides", network), (
                    "nothing is known of this network; write country, continent, region or asn"
                ), tuple(Override.model_fields)
    for name, listener in listeners.items():
        routes = listener.get("routes")
        for i, route in enumerate(routes if isinstance(routes, (list, tuple)) else ()):
            if isinstance(route, Mapping):
                for path, match in conditions(("listeners", name, "routes", i), route):
                    yield from _check_match(path, match)


def _check_match(path: Path, match: Mapping[str, Any]) -> Iterator[Found]:
    """Yield values that no client can have."""
    client = match.get("client")
    for key, check in CHECKS.items():
        value = client.get(key) if isinstance(client, Mapping) else None
        where: Path = (*path, "client", key)
        if isinstance(value, Mapping):
            op = "equals" if "equals" in value else "one_of"
            value, where = value.get(op), (*where, op)
        values = value if isinstance(value, (list, tuple)) else (value,)
        for i, one in enumerate(values):
            try:
                if isinstance(one, str):
                    check(one)
            except ValueError as error:
                yield (*where, i) if values is value else where, str(error), ()


def _connects(health: Any) -> bool:
    return isinstance(health, Mapping) and "udp" not in health


def check_nearest(path: Path, pool: Mapping[str, Any]) -> Iterator[Found]:
    """Yield what is wrong with a pool's `nearest` beside its values: zones that no server has."""
    nearest, servers = pool.get("nearest"), pool.get("servers")
    if not isinstance(nearest, Mapping):
        return
    tables = [one if isinstance(one, Mapping) else {} for one in servers] \
        if isinstance(servers, (list, tuple)) else []
    known = {one["zone"] for one in tables if isinstance(one.get("zone"), str)}
    ranks = {(str(one.get("zone", "")), str(one.get("priority", 0))) for one in tables}
    if not any(nearest.values()):
        yield (*path, "nearest"), (
            "it names no zones; write country, continent, others or measured"
        ), tuple(Nearest.model_fields)
    if nearest.get("measured") is True and nearest.get("others") is not None:
        yield (*path, "nearest", "others"), "measured = true finds this order: leave one out", ()
    elif nearest.get("measured") is True and not _connects(pool.get("health")):
        yield (*path, "nearest", "measured"), (
            "the pool has no health checks that connect, which measure it; write health = { tcp ="
            " true }"), ()
    if len(ranks) > limits.ZONES_MAX:
        yield (*path, "nearest"), (
            f"the servers have {len(ranks)} different zones and priorities, and a pool with nearest"
            f" can have {limits.ZONES_MAX}"), ()
    rows: list[tuple[Path, Any]] = [((*path, "nearest", "others"), nearest.get("others"))]
    for key in ("country", "continent"):
        table = nearest.get(key)
        if isinstance(table, Mapping):
            rows += [((*path, "nearest", key, code), zones) for code, zones in table.items()]
    for where, zones in rows:
        is_list = isinstance(zones, (list, tuple))
        for i, zone in enumerate(zones if is_list else [zones]):
            if isinstance(zone, str) and zone not in known and servers:
                yield (*where, i) if is_list else where, (
                    f"no server of this pool is in the zone {show(zone)}"), tuple(sorted(known))
