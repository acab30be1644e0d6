"""Warnings about what asks where clients are, and is never told."""

from __future__ import annotations

from collections.abc import Iterator

from fastlb.config.effective import Effective, EffectiveListener
from fastlb.config.effective_http import EffectiveRoute
from fastlb.config.effective_sniffing import SniffRoute
from fastlb.config.geography import GEO_FACTS


def geo_warnings(values: Effective) -> Iterator[str]:
    """A sentence each, with the key that it is about."""
    for listener in values.listeners:
        for route in _routes(listener):
            facts = {f"client.{one.name}" for one in route.conditions if one.kind == "client"}
            for fact in sorted({*facts, route.hash_on, route.split_on}):
                if why := unknown(fact, values):
                    yield f"listeners.{listener.name}: route '{route.name}' is about {fact}, {why}"
    for pool in values.pools:
        if why := unknown(pool.hash_on, values):
            yield (f"pools.{pool.name}.hash_on: it is {pool.hash_on}, {why}: client.ip is hashed"
                   " instead")
        if pool.nearest is not None:
            for key, table in (("country", pool.nearest.countries),
                               ("continent", pool.nearest.continents)):
                if table and (why := unknown(f"client.{key}", values)):
                    yield f"pools.{pool.name}.nearest.{key}: it is about client.{key}, {why}"


def _routes(listener: EffectiveListener) -> Iterator[EffectiveRoute | SniffRoute]:
    seen: set[str] = set()      # (a route of a TCP listener is listed once for each name)
    if listener.http is not None:
        yield from listener.http.routes
    for route in listener.sniffing.routes if listener.sniffing is not None else ():
        if route.name not in seen:
            yield route
        seen.add(route.name)


def unknown(fact: str, values: Effective) -> str:
    """Why nobody knows a fact; "": somebody may."""
    databases = GEO_FACTS.get(fact)
    if databases is None:
        return ""
    if values.geo is None:
        return "and there is no [geo] with a database"
    key = fact.removeprefix("client.")
    if any(kind in values.geo.files for kind in databases) or any(
            getattr(one, key) for one in values.geo.overrides):
        return ""
    return f"and geo has no database that knows it ({' or '.join(databases)})"
