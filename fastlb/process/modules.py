"""Modules that a configuration names: imported again on a reload, where their files changed."""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Iterable
from types import ModuleType
from typing import Any

from fastlb.errors import ConfigError, Problem

Stamp = tuple[int, int]         # when it was changed (ns), and its size


class Modules:
    """Knows which state of its file each module was imported from."""

    def __init__(self) -> None:
        self._stamps: dict[str, Stamp | None] = {}
        self._before: list[tuple[ModuleType, dict[str, Any], Stamp | None]] = []

    def note(self, names: Iterable[str]) -> None:
        """These have just been imported."""
        for name in names:
            if name in sys.modules:
                self._stamps.setdefault(name, _stamp(sys.modules[name]))

    def refresh(self, calls: Iterable[tuple[str, str]]) -> set[str]:
        """Import the modules of these calls ("module:function", and the key where each stands)
        again, if their files changed. Returns which. ConfigError if one can't be; `restore` then
        makes all of them as they were."""
        self._before = []
        changed: set[str] = set()
        for call, where in calls:
            name = call.partition(":")[0]
            module = sys.modules.get(name)
            if module is None or name in changed or name not in self._stamps:
                continue
            before, now = self._stamps[name], _stamp(module)
            if before == now or now is None:
                continue
            self._before.append((module, dict(vars(module)), before))
            try:
                importlib.reload(module)
            except (Exception, SystemExit, KeyboardInterrupt) as error:
                raise ConfigError(
                    [Problem(f"{call}: {name} can't be imported again: {error!r}", where)]
                ) from error
            self._stamps[name] = now
            changed.add(name)
        return changed

    def settle(self) -> None:
        """Keep what `refresh` has imported."""
        self._before = []

    def restore(self) -> None:
        """As before `refresh`: functions look their globals up in the module that they are of."""
        for module, names, stamp in self._before:
            vars(module).clear()
            vars(module).update(names)
            self._stamps[module.__name__] = stamp
        self._before = []


def _stamp(module: ModuleType) -> Stamp | None:
    try:
        found = os.stat(module.__file__ or "")
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size
