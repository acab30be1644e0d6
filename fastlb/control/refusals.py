"""A log line when limits by source refuse connections, and one a minute while they go on to."""

from __future__ import annotations

import logging
from dataclasses import dataclass

from fastlb._core.tables.live import Live
from fastlb._core.tables.states import Listener

log = logging.getLogger("fastlb")

REPEAT_S = 60.0     # between lines about one listener
# What is counted (base/parts.ListenerCounters), and how it is said.
SAID = {
    "source_rate": "refused beyond the rate of their source",
    "source_rate_reported": "would have been refused beyond the rate of their source",
    "handshakes_full": "closed as there were too many TLS handshakes",
}


@dataclass
class _Told:
    totals: dict[str, int]
    until_s: float          # nothing is said before, by the loop's clock


class Refusals:
    """Says who is refused by `max_connection_rate_per_source` and by limits of handshakes."""

    def __init__(self, live: Live) -> None:
        self._live = live
        self._told: dict[str, _Told] = {}

    def look(self, now_s: float) -> float | None:
        """Returns when to look again even if nothing changes."""
        listeners = {one.name: one for one in self._live.listeners()}
        for name in self._told.keys() - listeners.keys():
            del self._told[name]
        for name, listener in listeners.items():
            known = self._told.get(name)
            if known is not None and now_s < known.until_s:
                continue                    # (so that engines tell once in a while, and no more)
            source = listener.refused_source()
            if source is not None:
                self._say(listener, known, source, now_s)
            elif known is not None:
                known.until_s = now_s
        return min((one.until_s for one in self._told.values() if one.until_s > now_s),
                   default=None)

    def _say(self, listener: Listener, known: _Told | None, source: str, now_s: float) -> None:
        totals = listener.totals()
        before = known.totals if known is not None else {}
        parts = [f"{n} {words}" for key, words in SAID.items()
                 if (n := totals[key] - before.get(key, 0))]
        if parts:
            log.warning("listener %s: connections or sessions: %s; the last one of %s",
                        listener.name, ", ".join(parts), source)
        self._told[listener.name] = _Told({key: totals[key] for key in SAID}, now_s + REPEAT_S)
