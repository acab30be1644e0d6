"""Log lines about servers and pools: one for a change, never one for a connection."""

from __future__ import annotations

import logging

from fastlb._core.tables.live import Live

log = logging.getLogger("fastlb.health")

# At the limit, descriptors run out again with every client that one came free for: they are free
# when that hasn't happened for a while.
QUIET_S = 5.0


class Watch:
    """Compares the states of servers and pools with what was last said about them."""

    def __init__(self, live: Live) -> None:
        self._live = live
        self._failing: set[tuple[str, str]] = set()
        self._ejected: dict[tuple[str, str], tuple[float, int]] = {}
        self._down: set[str] = set()
        self._descriptors_out = False
        self._free_since_s: float | None = None

    def look(self, now_s: float) -> float | None:
        """Log what has changed since the last look. Returns when to look again even if nothing
        changes, by the same clock."""
        failing = {(s.pool, s.address) for s in self._live.servers() if s.failing}
        errors = {(s.pool, s.address): s.error for s in self._live.servers()}
        known = set(errors)
        for pool, address in sorted(failing - self._failing):
            why = errors[pool, address].lower()
            log.warning("pool %s: server %s can't be connected to (%s)", pool, address, why)
        ejected = {(s.pool, s.address) for s in self._live.servers() if s.ejection}
        for pool, address in sorted((self._failing - failing) & known - ejected):
            log.info("pool %s: server %s accepts connections again", pool, address)
        self._failing = failing
        self._look_at_ejected(known)
        down = {pool.name for pool in self._live.pools() if pool.down}
        for name in sorted(down - self._down):
            log.error("pool %s: no server can be connected to; clients are closed at once", name)
        for name in sorted(self._down - down):
            log.info("pool %s: serving again", name)
        self._down = down
        return self._look_at_descriptors(now_s)

    def _look_at_ejected(self, known: set[tuple[str, str]]) -> None:
        ejected = {
            (s.pool, s.address): s.ejection for s in self._live.servers() if s.ejection
        }
        for (pool, address), ejection in sorted(ejected.items()):
            if self._ejected.get((pool, address)) != ejection:
                log.warning("pool %s: server %s fails too often: left out for %g s",
                            pool, address, ejection[0])
        for pool, address in sorted((self._ejected.keys() - ejected.keys()) & known):
            log.info("pool %s: server %s does well again", pool, address)
        self._ejected = ejected

    def _look_at_descriptors(self, now_s: float) -> float | None:
        if self._live.descriptors_out:
            self._free_since_s = None
            if not self._descriptors_out:
                self._descriptors_out = True
                log.error(
                    "out of file descriptors: accepting waits until some are free;"
                    " raise the limit (ulimit -n, LimitNOFILE=) or lower max_connections"
                )
        elif self._descriptors_out:
            if self._free_since_s is None:
                self._free_since_s = now_s
            if now_s < self._free_since_s + QUIET_S:
                return self._free_since_s + QUIET_S
            self._descriptors_out = False
            log.info("file descriptors are free again: accepting goes on")
        return None
