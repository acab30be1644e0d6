"""Routes of a tcp listener made into tables: pure functions of what `effective` says.

They are tried in the order of `effective`, the most specific first: those of a name of TLS are
found by one look into a hash table for each label of the name.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from fastlb._core.tables.caller import Caller
from fastlb.compile.keys import FACTS, HASH_NOTHING, KeySpec, hash_key
from fastlb.compile.policies import PolicySpec, compile_policy
from fastlb.compile.routes import KINDS, OPS, ConditionSpec, compared_by_dfa, dfa, network
from fastlb.config.compare import any_of
from fastlb.config.effective_http import Condition
from fastlb.config.effective_sniffing import EffectiveSniffing, SniffRoute
from fastlb.config.proxy_protocol import parse_network
from fastlb.config.sniffing import PROTOCOLS

# The numbers of base/routing.pxd and proto/protocols.pxd.
SPOKEN = 12
SPOKEN_FACTS = {
    "tls.sni": 0, "tls.version": 1, "tls.client_subject": 2, "tls.client_fingerprint": 3,
    "tls.alpn": 4, "mqtt.client_id": 5, "mqtt.username": 6, "mqtt.level": 7,
}
POOL, SPLIT, NONE, LISTENER = 1, 2, 5, 6


@dataclass(frozen=True)
class SniffRouteSpec:
    name: str
    protocols: int                      # a bit each; 0: any
    action: int
    pool: int                           # -1: none
    shares: list[tuple[int, int]]
    split_on: KeySpec
    hash_on: KeySpec
    bind: int                           # of the listener; -1: none
    conditions: list[ConditionSpec]
    policy: PolicySpec | None


@dataclass(frozen=True)
class SniffSpec:
    is_blind: bool
    silence_ms: int
    whole_ms: int
    routes: list[SniffRouteSpec]
    names: list[tuple[bytes, list[int]]]        # of TLS; with a leading dot what is below a domain
    any: list[int]


def _condition(condition: Condition) -> ConditionSpec:
    name, value, op = condition.name, condition.value, OPS[condition.op]
    if condition.kind == "client":
        networks = [network(parse_network(one)) for one in value.split()]
        return ConditionSpec(
            KINDS["client"], op, condition.negate, b"", b"", None, None, networks)
    compared = None
    if compared_by_dfa(condition):
        op, compared = OPS["regex"], dfa(any_of(condition.op, value.split("\n")))
    if condition.op in ("one_of", "names"):
        value += "\n"
    kind, fact = (KINDS["proxy"], FACTS["proxy"].index(name)) if condition.kind == "proxy" else (
        SPOKEN, SPOKEN_FACTS[f"{condition.kind}.{name}"])
    return ConditionSpec(
        kind, op, condition.negate, b"", b"" if compared else value.encode(), compared, None, (),
        fact,
    )


def _route(
    route: SniffRoute, pool_index: Callable[[str], int], binds: Mapping[str, int],
    callers: Mapping[str, Caller],
) -> SniffRouteSpec:
    action = POOL if route.pool else SPLIT if route.split else NONE
    return SniffRouteSpec(
        name=route.name,
        protocols=sum(1 << PROTOCOLS.index(name) for name in route.protocols),
        action=LISTENER if route.listener else action,
        pool=pool_index(route.pool) if route.pool else -1,
        shares=[(pool_index(name), weight) for name, weight in route.split],
        split_on=hash_key(route.split_on) if route.split_on else KeySpec(HASH_NOTHING),
        hash_on=hash_key(route.hash_on),
        bind=binds.get(route.listener, -1),
        conditions=[_condition(condition) for condition in route.conditions],
        policy=compile_policy(route.policy, (), pool_index, callers[route.name])
        if route.policy is not None else None,
    )


def _names(routes: Sequence[SniffRoute]) -> dict[bytes, list[int]]:
    found: dict[bytes, list[int]] = {}
    for i, route in enumerate(routes):
        found.setdefault(route.sni.removeprefix("*").encode(), []).append(i)
    return found


def compile_sniffing(
    sniffing: EffectiveSniffing,
    pool_index: Callable[[str], int],
    binds: Mapping[str, int],
    callers: Mapping[str, Caller],
) -> SniffSpec:
    """The tables of a listener. `binds` are where other listeners are, by name; `callers` are the
    policies, by their routes' names."""
    names = _names(sniffing.routes)
    return SniffSpec(
        is_blind=sniffing.is_blind,
        silence_ms=sniffing.silence_ms,
        whole_ms=sniffing.whole_ms,
        routes=[_route(route, pool_index, binds, callers) for route in sniffing.routes],
        any=names.pop(b"", []),
        names=list(names.items()),
    )
