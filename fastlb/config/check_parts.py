"""Checks of the keys that parts have: in `[defaults]`, in listeners and in routes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from fastlb.config.hints import Found
from fastlb.config.part import Checking
from fastlb.config.parts import PARTS
from fastlb.config.positions import Path


def check_parts(raw: Any) -> Iterator[Found]:
    """Yield what is wrong with them, as they are written."""
    if not isinstance(raw, Mapping):
        return
    for path, owner in _owners(raw):
        for key, part in PARTS.items():
            if key in owner:
                yield from part.check((*path, key), owner[key], Checking(owner, raw))


def _owners(raw: Mapping[str, Any]) -> Iterator[tuple[Path, Mapping[str, Any]]]:
    """The tables that can have keys of parts: `[defaults]`, listeners and routes."""
    if isinstance(defaults := raw.get("defaults"), Mapping):
        yield ("defaults",), defaults
    listeners = raw.get("listeners")
    for name, listener in listeners.items() if isinstance(listeners, Mapping) else ():
        if not isinstance(listener, Mapping):
            continue
        yield ("listeners", name), listener
        routes = listener.get("routes")
        for i, route in enumerate(routes if isinstance(routes, (list, tuple)) else ()):
            if isinstance(route, Mapping):
                yield ("listeners", name, "routes", i), route
