"""What holds in the end for the routes of a tcp listener, in the order in which they are tried."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from fastlb._core.facts.registry import FACTS
from fastlb.config.compare import written_names
from fastlb.config.conditions import Conditions
from fastlb.config.effective_http import Condition
from fastlb.config.effective_routes import condition_of, told_conditions
from fastlb.config.http import Route
from fastlb.config.model import Listener, Pool
from fastlb.config.patterns import PLAIN_KEYS, TLS_FACTS
from fastlb.config.policy import EffectivePolicy, effective_policy
from fastlb.config.sniffing import MQTT_FACTS, PROTOCOLS
from fastlb.config.units import duration_ms

IN_BYTES = tuple(key for key in PLAIN_KEYS if FACTS[key].in_bytes)


@dataclass(frozen=True)
class SniffRoute:
    """One route, of one name of TLS or of any: with several names, it is several of these."""

    name: str
    sni: str = ""                           # "*.example.com" is what lies below; "": any
    protocols: tuple[str, ...] = ()         # of PROTOCOLS, in their order; (): any
    conditions: tuple[Condition, ...] = ()
    pool: str = ""
    split: tuple[tuple[str, int], ...] = ()
    split_on: str = ""
    listener: str = ""
    hash_on: str = ""
    policy: EffectivePolicy | None = None


@dataclass(frozen=True)
class EffectiveSniffing:
    silence_ms: int
    whole_ms: int
    is_blind: bool                          # nothing asks for what clients say
    routes: tuple[SniffRoute, ...] = ()


def effective_sniffing(
    listener: Listener, written: str, pools: Mapping[str, Pool]
) -> EffectiveSniffing | None:
    """None where nobody asks what clients say: no route, and no pool that hashes it."""
    if not listener.routes and not _asks(listener.pool, written, pools):
        return None
    routes = [one for route in listener.routes for one in _routes(route)]
    routes.sort(key=specificity)
    return EffectiveSniffing(
        silence_ms=duration_ms(listener.sniff_timeout),
        whole_ms=duration_ms(listener.sniff_whole_timeout),
        is_blind=not _looks(listener, routes, written, pools),
        routes=tuple(routes),
    )


def _looks(
    listener: Listener, routes: list[SniffRoute], written: str, pools: Mapping[str, Pool]
) -> bool:
    """Whether a route, a pool or a policy asks for something that only a client's first bytes tell.
    Policies see the name of a hello."""
    if listener.policy is not None or _asks(listener.pool, written, pools):
        return True
    secret = _keys(written)
    for route in routes:
        kinds = {c.kind for c in route.conditions if not _is_ended(c, written)}
        if route.policy is not None or route.protocols or not kinds <= {"client", "proxy"} \
                or (route.sni and written == "tcp") or {route.hash_on, route.split_on} & {*secret} \
                or any(_asks(name, written, pools) for name in _pools(route)):
            return True
    return False


def _is_ended(condition: Condition, written: str) -> bool:
    """Whether it is about TLS that ends here, and is known before a byte behind it."""
    return written == "tls" and condition.kind == "tls"


def _pools(route: SniffRoute) -> Iterator[str]:
    if route.pool:
        yield route.pool
    for name, _ in route.split:
        yield name


def _keys(written: str) -> tuple[str, ...]:
    """Those that only the first bytes tell."""
    return IN_BYTES if written == "tls" else (*IN_BYTES, "tls.sni")


def _asks(name: str | None, written: str, pools: Mapping[str, Pool]) -> bool:
    """Whether a pool, or one that falls in for it, hashes what is in the first bytes."""
    keys = _keys(written)
    seen: set[str] = set()
    while name is not None and name in pools and name not in seen:
        seen.add(name)
        if (pools[name].hash_on or "") in keys:
            return True
        name = pools[name].fallback
    return False


def _routes(route: Route) -> Iterator[SniffRoute]:
    match = route.match
    sni = match.tls.sni
    names = written_names(sni) if sni is not None else ()
    wanted = tuple(name for name in PROTOCOLS if name in (match.protocol or PROTOCOLS)
                   and name not in (match.not_.protocol or ()))
    conditions = (*_conditions(match, False, skip_sni=bool(names)), *_conditions(match.not_, True))
    for name in names or ("",):
        yield SniffRoute(
            name=route.name,
            sni=name,
            protocols=() if wanted == PROTOCOLS else wanted,
            conditions=conditions,
            pool=route.pool or "",
            split=tuple((route.split or {}).items()),
            split_on=route.split_on or "",
            listener=route.listener or "",
            hash_on=route.hash_on or "",
            policy=effective_policy(route.policy) if route.policy is not None else None,
        )


def _conditions(match: Conditions, negate: bool, skip_sni: bool = False) -> Iterator[Condition]:
    if match.client_ip:
        yield Condition("client", "", "network", " ".join(match.client_ip), negate)
    for fact in (*TLS_FACTS, "alpn"):
        compared = getattr(match.tls, fact)
        if compared is not None and not (fact == "sni" and skip_sni):
            yield condition_of("tls", fact, compared, negate)
    yield from told_conditions(match, negate)
    for fact in MQTT_FACTS:
        compared = getattr(match.mqtt, fact)
        if compared is not None:
            yield condition_of("mqtt", fact, compared, negate)
    if match.mqtt.level is not None:
        yield Condition("mqtt", "level", "one_of", "\n".join(match.mqtt.level), negate)


def specificity(route: SniffRoute) -> tuple[Any, ...]:
    """Sorts the most specific first: by the name of TLS, and by the number of conditions. What is
    equal stays in the order of writing."""
    name = (0,) if route.sni and not route.sni.startswith("*") else (
        (1, -len(route.sni)) if route.sni else (2,)
    )
    return (name, -(len(route.conditions) + bool(route.protocols)))
