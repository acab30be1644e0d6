"""Which pools a listener sends to, and so which protocols a pool gets."""

from __future__ import annotations

from collections.abc import Iterator

from fastlb.config.address import OVER_TLS, parse_bind
from fastlb.config.effective import Effective, EffectiveListener
from fastlb.config.effective_http import EffectiveRoute
from fastlb.config.effective_sniffing import SniffRoute
from fastlb.config.model import Listener
from fastlb.config.parts import PARTS


def schemes_of(listener: Listener) -> tuple[str, str]:
    """As it is written, such as "https", and what is spoken, such as "http"."""
    written = parse_bind(listener.bind[0]).scheme or "tcp"
    return written, OVER_TLS.get(written, written)


def targets(route: EffectiveRoute | SniffRoute) -> Iterator[str]:
    if route.pool:
        yield route.pool
    for name, _ in route.split:
        yield name


def pools_of(listener: EffectiveListener) -> Iterator[str]:
    """Those that are named by the listener or one of its routes; "" may be among them."""
    yield listener.pool
    for route in listener.http.routes if listener.http is not None else ():
        yield from targets(route)
        for key, value in route.services:
            yield from PARTS[key].pools(value)
    for one in listener.sniffing.routes if listener.sniffing is not None else ():
        yield from targets(one)
    for _, policy in listener.policies:
        yield policy.on_error


def reached(values: Effective) -> dict[str, set[str]]:
    """By pool: the schemes of the listeners that may send to it. A policy may name any pool."""
    found: dict[str, set[str]] = {pool.name: set() for pool in values.pools}
    fallbacks = {pool.name: pool.fallback for pool in values.pools}
    for listener in values.listeners:
        for name in found if listener.policies else set(pools_of(listener)):
            while name in found and listener.scheme not in found[name]:
                found[name].add(listener.scheme)
                name = fallbacks[name]
    return found
