"""The parts, by their keys, in the order in which requests pass their filters.

A module here that has a `PART` is one: nothing else lists them.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Mapping
from typing import Any

from fastlb._core.base.filters import FILTERS
from fastlb.config.part import Part

PARTS: Mapping[str, Part] = {
    part.key: part
    for part in sorted(
        (importlib.import_module(f"{__name__}.{module.name}").PART
         for module in pkgutil.iter_modules(__path__)),
        key=lambda part: FILTERS[part.filter],
    )
}

# What holds in the end for each part of a route: (key, value), in their order; a part that does
# nothing isn't among them.
Services = tuple[tuple[str, Any], ...]


def fields_of_routes() -> dict[str, Any]:
    """A field of the model of routes for each part."""
    return {key: part.field(part.meaning if part.routes_only else "As of the listener.")
            for key, part in PARTS.items()}


def fields_of_listeners() -> dict[str, Any]:
    """A field of the models of listeners and [defaults] for each part that they can have."""
    return {key: part.field(part.meaning) for key, part in PARTS.items() if not part.routes_only}
