"""Log lines about servers and pools: one for a change, never one for a connection."""

from __future__ import annotations

import collections
import logging
from logging import ERROR, INFO, WARNING

from fastlb._core.tables.live import Live
from fastlb._core.tables.states import Server
from fastlb.control.events import Events
from fastlb.control.full import Full
from fastlb.control.refusals import Refusals

log = logging.getLogger("fastlb.health")

# At the limit, descriptors run out again with every client that one came free for: they are free
# when that hasn't happened for a while.
QUIET_S = 5.0
LARGE_HEAD_QUIET_S = 60.0
CROWDED_QUIET_S = 60.0      # a flood is said once a minute

CHOSEN = {
    "up": "is to be used again", "draining": "is draining", "maintenance": "is in maintenance",
}

Servers = dict[tuple[str, str], Server]     # by pool and address


class Watch:
    """Compares the states of servers and pools with what was last said about them."""

    def __init__(self, live: Live, events: Events) -> None:
        self._live = live
        self._tell = events.tell
        self._chosen: dict[tuple[str, str], str] = {}
        self._choices: collections.deque[tuple[str, str, str]] = collections.deque()
        self._failing: set[tuple[str, str]] = set()
        self._ejected: dict[tuple[str, str], tuple[float, int]] = {}
        self._down: set[str] = set()
        self._descriptors_out = False
        self._free_since_s: float | None = None
        self._quiet_until_s: dict[tuple[str, str], float] = {}      # large heads, by server
        self._crowded_s: float | None = None
        self.full = Full(live)
        self._refusals = Refusals(live)

    def note(self, pool: str, address: str, state: str) -> None:
        """Somebody chose a state, maybe not for the last time before we look. Of any thread."""
        self._choices.append((pool, address, state))

    def look(self, now_s: float) -> float | None:
        """Log what has changed since the last look. Returns when to look again even if nothing
        changes, by the same clock."""
        known = {(s.pool, s.address): s for s in self._live.servers()}
        self._look_at_chosen(known)
        self._look_at_failing(known)
        self._look_at_ejected(known)
        self._look_at_heads(known, now_s)
        down = {pool.name for pool in self._live.pools() if pool.down}
        for name in sorted(down - self._down):
            self._tell(ERROR, name, "", "unserved", "no server can be connected to")
        for name in sorted(self._down - down):
            self._tell(INFO, name, "", "serving", "serving again")
        self._down = down
        later = (self._look_at_descriptors(now_s), self._look_at_sessions(now_s),
                 self.full.look(now_s), self._refusals.look(now_s))
        return min((s for s in later if s is not None), default=None)

    def _look_at_chosen(self, known: Servers) -> None:
        """What somebody wants of a server, in the configuration or since."""
        while self._choices:
            pool, address, state = self._choices.popleft()
            self._note_chosen((pool, address), state)
        chosen = {
            key: "maintenance" if server.maintenance else "draining"
            for key, server in known.items() if server.maintenance or server.draining
        }
        for key in sorted(chosen.keys() | (self._chosen.keys() & known.keys())):
            self._note_chosen(key, chosen.get(key, "up"))
        self._chosen = chosen

    def _note_chosen(self, key: tuple[str, str], state: str) -> None:
        if self._chosen.get(key, "up") != state:
            self._chosen[key] = state
            self._tell(INFO, *key, state, CHOSEN[state])

    def _look_at_failing(self, known: Servers) -> None:
        failing = {key for key, server in known.items() if server.failing}
        for pool, address in sorted(failing - self._failing):
            why = known[pool, address].error
            why = why[:1].lower() + why[1:]
            self._tell(WARNING, pool, address, "failing", f"can't be connected to ({why})")
        ejected = {key for key, server in known.items() if server.ejection}
        for pool, address in sorted((self._failing - failing) & known.keys() - ejected):
            self._tell(INFO, pool, address, "up", "accepts connections again")
        self._failing = failing

    def _look_at_ejected(self, known: Servers) -> None:
        ejected = {
            key: server.ejection for key, server in known.items() if server.ejection is not None
        }
        for (pool, address), ejection in sorted(ejected.items()):
            if self._ejected.get((pool, address)) != ejection:
                why = known[pool, address].complaint or "fails too often"
                known[pool, address].complaint = None
                self._tell(WARNING, pool, address, "ejected",
                           f"{why}: left out for {ejection[0]:g} s")
        for pool, address in sorted((self._ejected.keys() - ejected.keys()) & known.keys()):
            self._tell(INFO, pool, address, "up", "does well again")
        self._ejected = ejected

    def _look_at_heads(self, known: Servers, now_s: float) -> None:
        """Of a server's responses beyond the limit one is logged a minute."""
        for key, server in sorted(known.items()):
            if (size := server.take_large_head()) and now_s >= self._quiet_until_s.get(key, now_s):
                self._quiet_until_s[key] = now_s + LARGE_HEAD_QUIET_S
                log.warning(
                    "pool %s: the head or the trailers of a response of %s have %d bytes or more:"
                    " max_response_header_size allows fewer", *key, size)
        if self._quiet_until_s:
            self._quiet_until_s = {
                key: until_s for key, until_s in self._quiet_until_s.items() if until_s > now_s}

    def _look_at_sessions(self, now_s: float) -> float | None:
        if self._crowded_s is not None and now_s < self._crowded_s + CROWDED_QUIET_S:
            return self._crowded_s + CROWDED_QUIET_S        # (what is new by then is said then)
        if not self._live.was_crowded():
            self._crowded_s = None
            return None
        self._crowded_s = now_s
        log.warning(
            "udp: sessions have reached a limit (max_sessions of a listener or of the process):"
            " the oldest that no server has answered are ended, and without such ones new clients"
            " are dropped"
        )
        return now_s + CROWDED_QUIET_S

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
