"""Checks of sets of networks, and of the lists of listeners and routes that name them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from fastlb.config.check_sniffing import conditions
from fastlb.config.hints import Found
from fastlb.config.networks import check_rule, check_set_name, is_network
from fastlb.config.positions import Path
from fastlb.config.sources import check_sources
from fastlb.config.units import show

SOURCES = ("cidrs", "file", "url")
Tables = Mapping[str, Mapping[str, Any]]


def check_networks(listeners: Tables, networks: Tables) -> Iterator[Found]:
    """Yield what is wrong, as it is written. (The lists of routes are parts: see check_parts.)"""
    for name, one in networks.items():
        yield from _check_set(("networks", name), one)
    for name, listener in listeners.items():
        for key in ("deny", "allow"):
            yield from check_rule(("listeners", name, key), listener.get(key), networks)
        yield from check_sources(("listeners", name), listener, networks)
        routes = listener.get("routes")
        for i, route in enumerate(routes if isinstance(routes, (list, tuple)) else ()):
            if isinstance(route, Mapping):
                for where, match in conditions(("listeners", name, "routes", i), route):
                    yield from _check_match(where, match, networks)


def _check_set(path: Path, table: Mapping[str, Any]) -> Iterator[Found]:
    """Yield what is wrong with a set beside its values."""
    if is_network(str(path[1])):
        yield path, f"{show(path[1])} is not a name of a set: it looks like an address", ()
    sources = [key for key in SOURCES if key in table]
    if len(sources) != 1:
        given = " and ".join(sources)
        wrong = f"{given} are given, and a set has one source" if sources else "this set has no" \
            " networks; write a file or a url with them, or cidrs ([] for a set that is filled" \
            " while running)"
        yield path, wrong, SOURCES


def _check_match(
    path: Path, match: Mapping[str, Any], known: Mapping[str, Any]
) -> Iterator[Found]:
    """Yield what is wrong with `match.client.network`. `known` are the sets."""
    client = match.get("client")
    if not isinstance(client, Mapping) or "network" not in client:
        return
    where, value = (*path, "client", "network"), client["network"]
    is_list = isinstance(value, (list, tuple))
    for i, one in enumerate(value if is_list else [value]):
        at = (*where, i) if is_list else where
        if not isinstance(one, str):
            yield at, f"{show(one)} is not the name of a set of networks", tuple(known)
        elif is_network(one):
            yield at, f"{show(one)} is not the name of a set; networks belong to client_ip", ()
        else:
            yield from check_set_name(at, one, known)
