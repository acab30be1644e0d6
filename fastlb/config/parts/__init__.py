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


def fields(meaning: str = "") -> dict[str, Any]:
    """A field of a model for each part; `meaning` stands for the parts' own."""
    return {key: part.field(meaning or part.meaning) for key, part in PARTS.items()}
