"""What is allowed and probably not meant, of routes of tcp listeners."""

from __future__ import annotations

from collections.abc import Iterator

from fastlb.config.effective import Effective, EffectiveListener
from fastlb.config.effective_sniffing import SniffRoute
from fastlb.config.sniffing import HTTP, PROTOCOLS


def sniffing_warnings(listener: EffectiveListener, values: Effective) -> Iterator[str]:
    """A sentence each, with the key that it is about."""
    assert listener.sniffing is not None
    routes = listener.sniffing.routes
    where = f"listeners.{listener.name}"
    for i, route in enumerate(routes):
        which = f"route '{route.name}'" + (f" of {route.sni}" if route.sni else "")
        never = _never(route, listener)
        first = next((one for one in routes[:i] if _covers(one, route)), None)
        if never:
            yield f"{where}: {which} is never reached: {never}"
        elif first is not None:
            yield (f"{where}: {which} is never reached: all that fits it fits '{first.name}', which"
                   " is tried before")
        else:
            yield from _handed(f"{where}: {which}", route, values)


def _spoken(route: SniffRoute) -> set[str]:
    return set(route.protocols or PROTOCOLS)


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


def _covers(one: SniffRoute, other: SniffRoute) -> bool:
    """Whether all connections that fit `other` fit `one`, as far as can be said."""
    return (
        one.sni == other.sni
        and _spoken(other) <= _spoken(one)
        and set(one.conditions) <= set(other.conditions)
    )


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
