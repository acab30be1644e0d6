"""A log line when all places of a listener or of the process are taken, and when there is room."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass

from fastlb._core.tables.live import Live

log = logging.getLogger("fastlb")

QUIET_S = 5.0       # with no accept that had to wait: then there is room again
REPEAT_S = 60.0     # between lines about one limit that stays reached


@dataclass
class _Reached:
    look_s: float           # by the loop's clock
    told_s: float


class Full:
    """Says when `max_connections` are reached. `limits` are how many places there are, by listener;
    "" is the process."""

    def __init__(self, live: Live) -> None:
        self.limits: Mapping[str, int] = {}
        self._live = live
        self._reached: dict[str, _Reached] = {}

    def look(self, now_s: float) -> float | None:
        """Returns when to look again even if nothing changes."""
        places = {"": self._live.was_full, **{one.name: one.was_full
                                              for one in self._live.listeners()}}
        for name in self._reached.keys() - places.keys():
            del self._reached[name]
        for name, was_full in places.items():
            known = self._reached.get(name)
            if known is not None and now_s < known.look_s:
                continue                    # (so that engines tell once in a while, and no more)
            if was_full():
                self._note(name, now_s)
            elif known is not None:
                del self._reached[name]
                log.info("%s has room for connections again", _called(name))
        return min((one.look_s for one in self._reached.values()), default=None)

    def _note(self, name: str, now_s: float) -> None:
        known = self._reached.get(name)
        told_s = known.told_s if known is not None else now_s
        if known is None or now_s >= told_s + REPEAT_S:
            told_s = now_s
            log.warning(
                "%s has reached its max_connections (%d): new clients wait in the kernel's queue",
                _called(name), self.limits.get(name, 0))
        self._reached[name] = _Reached(now_s + QUIET_S, told_s)


def _called(name: str) -> str:
    return f"listener {name}" if name else "the process"
