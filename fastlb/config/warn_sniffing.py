"""Warnings about routes of TCP listeners that are allowed and probably not meant."""

from __future__ import annotations

from collections.abc import Iterator

from fastlb.config.covering import subsets
from fastlb.config.effective import Effective, EffectiveListener
from fastlb.config.effective_http import Condition
from fastlb.config.effective_sniffing import SniffRoute
from fastlb.config.sniffing import HTTP, PROTOCOLS


def sniffing_warnings(listener: EffectiveListener, values: Effective) -> Iterator[str]:
    """A sentence each, with the key that it is about."""
    assert listener.sniffing is not None
    routes = listener.sniffing.routes
    where = f"listeners.{listener.name}"
    before: dict[tuple[str, frozenset[Condition]], dict[frozenset[str], int]] = {}
    for i, route in enumerate(routes):
        which = f"route '{route.name}'" + (f" of {route.sni}" if route.sni else "")
        never = _never(route, listener)
        first = min((
            index
            for conditions in subsets(frozenset(route.conditions))
            for spoken, index in before.get((route.sni, conditions), {}).items()
            if _spoken(route) <= spoken
        ), default=None)
        before.setdefault((route.sni, frozenset(route.conditions)), {}).setdefault(
            _spoken(route), i)
        if never:
            yield f"{where}: {which} is never reached: {never}"
        elif first is not None:
            name = routes[first].name
            yield (f"{where}: {which} is never reached: all that fits it fits '{name}', which is"
                   " tried before")
        else:
            yield from _handed(f"{where}: {which}", route, values)


def _spoken(route: SniffRoute) -> frozenset[str]:
    return frozenset(route.protocols or PROTOCOLS)


def _never(route: SniffRoute, listener: EffectiveListener) -> str:
    """Conditions that can't hold together."""
    asked = {c.kind for c in route.conditions if not c.negate}
    if "mqtt" in asked and "mqtt" not in _spoken(route):
        return f"what it asks about MQTT is not in {', '.join(route.protocols)}"
    hello = listener.tls is None and (route.sni or "tls" in asked)
    if hello and "tls" not in _spoken(route):
        return f"what it asks about TLS is not in {', '.join(route.protocols)}"
    if hello and "mqtt" in asked:
        return "MQTT inside TLS can't be read where the TLS doesn't end"
    return ""


def _handed(which: str, route: SniffRoute, values: Effective) -> Iterator[str]:
    """What a listener is handed has to be what it takes."""
    target = next((one for one in values.listeners if one.name == route.listener), None)
    if target is None or not route.protocols:
        return
    wanted = {"tls"} if target.tls is not None else set(HTTP)
    useless = [name for name in route.protocols if name not in wanted]
    if useless:
        wants = "TLS" if target.tls is not None else "HTTP"
        yield (f"{which} hands {', '.join(useless)} to listener '{target.name}', which takes"
               f" {wants} alone")
