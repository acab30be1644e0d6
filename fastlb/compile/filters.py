"""Filters of a route made into what the engines go by."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from fastlb._core.base.filters import FILTERS
from fastlb._core.tables.numbers import ON_CLIENT_CLOSE
from fastlb.compile.facts import FactSpec, fact_spec
from fastlb.compile.networks import networks_spec
from fastlb.compile.policies import compile_policy
from fastlb.config.part import Compiling
from fastlb.config.parts import PARTS

if TYPE_CHECKING:
    from fastlb._core.tables.caller import Caller
    from fastlb.config.effective_http import EffectiveRoute

IDENTITY = "FASTLB_IDENTITY_FILTER"     # set to 1 by tests and benchmarks


def compile_filters(
    route: EffectiveRoute, names: tuple[str, ...], pool_index: Callable[[str], int],
    callers: Mapping[str, Caller],
) -> dict[int, object]:
    """Specs by the filters' numbers; {} where the route has none. `names` are those of the segments
    of its path."""
    specs: dict[int, object] = {}
    if route.policy is not None:
        specs[FILTERS["policy"]] = compile_policy(
            route.policy, names, pool_index, callers[route.name],
            ON_CLIENT_CLOSE[route.on_client_close])

    def fact(text: str) -> FactSpec:
        return fact_spec(text, names)

    forwards = bool(route.pool or route.split or route.policy is not None)
    for key, value in route.services:
        part = PARTS[key]
        if forwards or part.answers:
            specs[FILTERS[part.filter]] = part.compile(
                value, Compiling(pool_index, fact, networks_spec))
    if os.environ.get(IDENTITY) == "1":
        specs[FILTERS["identity"]] = None
    return specs
