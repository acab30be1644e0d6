"""What a new snapshot has that the one before hadn't: an event for each server."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from logging import INFO

from fastlb.compile.snapshot import ServerSpec
from fastlb.control.events import Event, Events

log = logging.getLogger("fastlb")

LINES_MAX = 100     # of the log, of one pool: beyond that a line counts them, and events name them

Servers = Mapping[str, Mapping[str, ServerSpec]]        # by pool and address


def tell_differences(events: Events, before: Servers, now: Servers) -> None:
    """Pools that are new, or gone, are the configuration's business."""
    for pool in before.keys() & now.keys():
        found = list(_differences(pool, before[pool], now[pool]))
        if len(found) <= LINES_MAX:
            for event in found:
                events.tell(INFO, event.pool, event.server, event.state, event.text)
            continue
        log.info("pool %s: servers that were added, removed or got another weight: %d",
                 pool, len(found))
        for event in found:
            events.put(event)


def _differences(
    pool: str, before: Mapping[str, ServerSpec], now: Mapping[str, ServerSpec]
) -> Iterator[Event]:
    for name, spec in now.items():
        if name not in before:
            yield Event(pool, name, "added", f"is added, with weight {spec.weight}")
        elif spec.weight != before[name].weight:
            yield Event(pool, name, "reweighted",
                        f"has weight {spec.weight} now, before {before[name].weight}")
    for name in before:
        if name not in now:
            yield Event(pool, name, "removed", "is removed")
