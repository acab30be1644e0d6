"""Routes of a tcp listener made into tables: pure functions of what `effective` says.

They are tried in the order of `effective`, the most specific first: those of a name of TLS are
found by one look into a hash table for each label of the name.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from fastlb._core.tables.caller import Caller
from fastlb._core.tables.numbers import ACTIONS, PROTOCOLS
from fastlb.compile.facts import FactSpec, fact_spec
from fastlb.compile.policies import PolicySpec, compile_policy
from fastlb.compile.routes import ConditionSpec, compile_condition
from fastlb.config.effective_sniffing import EffectiveSniffing, SniffRoute


@dataclass(frozen=True)
class SniffRouteSpec:
    name: str
    protocols: int                      # a bit each; 0: any
    action: int
    pool: int                           # -1: none
    shares: list[tuple[int, int]]
    split_on: FactSpec
    hash_on: FactSpec
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


def _route(
    route: SniffRoute, pool_index: Callable[[str], int], binds: Mapping[str, int],
    callers: Mapping[str, Caller],
) -> SniffRouteSpec:
    action = "pool" if route.pool else "split" if route.split else "none"
    return SniffRouteSpec(
        name=route.name,
        protocols=sum(1 << PROTOCOLS[name] for name in route.protocols),
        action=ACTIONS["listener" if route.listener else action],
        pool=pool_index(route.pool) if route.pool else -1,
        shares=[(pool_index(name), weight) for name, weight in route.split],
        split_on=fact_spec(route.split_on),
        hash_on=fact_spec(route.hash_on),
        bind=binds.get(route.listener, -1),
        conditions=[compile_condition(condition) for condition in route.conditions],
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
