"""Filters of a route made into what the engines go by."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from fastlb._core.base.filters import FILTERS
from fastlb.config.parts import PARTS

if TYPE_CHECKING:
    from fastlb.config.effective_http import EffectiveRoute

IDENTITY = "FASTLB_IDENTITY_FILTER"     # set to 1 by tests and benchmarks


def compile_filters(route: EffectiveRoute) -> dict[int, object]:
    """Specs by the filters' numbers; {} where the route has none."""
    specs: dict[int, object] = {}
    if route.pool or route.split or route.policy is not None:
        for key, value in route.services:
            specs[FILTERS[PARTS[key].filter]] = PARTS[key].compile(value)
    if os.environ.get(IDENTITY) == "1":
        specs[FILTERS["identity"]] = None
    return specs
