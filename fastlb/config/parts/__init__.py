"""The parts, by their keys, in the order in which requests pass their filters.

A module here that has a `PART` is one: nothing else lists them.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Iterator, Mapping
from typing import Any, get_args

from fastlb._core.base.filters import FILTERS
from fastlb.config.base import Model
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


def _tables_in(annotation: Any) -> Iterator[type[Model]]:
    if isinstance(annotation, type) and issubclass(annotation, Model):
        yield annotation
    for inner in get_args(annotation):
        yield from _tables_in(inner)


def tables_by_key() -> dict[str, type[Model]]:
    """The tables of parts by their keys, and the tables inside of those."""
    found = {part.key: table for part in PARTS.values() for table in _tables_in(part.kind)}
    for part in PARTS.values():
        for _, table in part.tables:
            for name, field in table.model_fields.items():
                for inner in _tables_in(field.annotation):
                    found[name] = inner
    return found


def fields_of_routes() -> dict[str, Any]:
    """A field of the model of routes for each part."""
    return {key: part.field(part.meaning if part.routes_only else "As of the listener.")
            for key, part in PARTS.items()}


def fields_of_listeners() -> dict[str, Any]:
    """A field of the models of listeners and [defaults] for each part that they can have."""
    return {key: part.field(part.meaning) for key, part in PARTS.items() if not part.routes_only}
