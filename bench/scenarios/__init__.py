"""What is measured: one file a scenario, each with a SCENARIO. A new file is all that it takes."""

from __future__ import annotations

import importlib
import pkgutil

from bench.model import Scenario, SetupError


def all_scenarios() -> dict[str, Scenario]:
    found: list[Scenario] = []
    for module in pkgutil.iter_modules(__path__):
        found.append(importlib.import_module(f"{__name__}.{module.name}").SCENARIO)
    return {s.name: s for s in sorted(found, key=lambda s: (s.order, s.name))}


def choose(names: list[str]) -> list[Scenario]:
    known = all_scenarios()
    for name in names:
        if name not in known:
            raise SetupError(f"no scenario is called {name!r}; one of: {', '.join(known)}")
    return [s for s in known.values() if not names or s.name in names]
