"""What a running balancer has for TLS: contexts, keys of tickets, and what it warns of."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable

from fastlb.compile.certificates import Contexts
from fastlb.config.effective import Effective
from fastlb.config.tls import TICKET_KEY_BYTES
from fastlb.config.warn import tls_warnings
from fastlb.control.clock import Clock, Timer

log = logging.getLogger("fastlb")

AGAIN_S = 60.0          # after a failure
WARN_AGAIN_S = 86_400.0


class Securing:
    """Follows what is served. `contexts` outlive snapshots, and the keys of tickets reloads."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self.contexts = Contexts()
        self.refreshed = 0          # listeners and pools whose files had changed
        self.refused = 0            # changes of files that couldn't be used
        self._followed: Effective | None = None
        self._keys: tuple[bytes, ...] = ()
        self._period_s: float | None = None
        self._rotated_s: float | None = None
        self._timers: dict[Callable[[], None], Timer] = {}

    def follow(self, values: Effective, serving: bool) -> None:
        """This is served from now on."""
        if values is self._followed or not serving:
            return
        self._followed = values
        tickets = [
            listener.tls.tickets for listener in values.listeners
            if listener.tls is not None and listener.tls.tickets is not None
        ]
        keys = next((one.keys for one in tickets if one.keys), ())
        if keys != self._keys:
            # What was in files must not be taken any more when it isn't there any more.
            self.contexts.tickets.use(list(keys) or [os.urandom(TICKET_KEY_BYTES)])
            self._keys = keys
        self._period_s = min(one.rotate_ms for one in tickets) / 1000 \
            if tickets and not keys else None
        self._wait_to_rotate()
        self._warn()

    def end(self) -> None:
        for timer in self._timers.values():
            timer.cancel()
        self._timers.clear()

    def _wait_to_rotate(self) -> None:
        if self._rotated_s is None:
            self._rotated_s = self._clock.time()
        if self._period_s is not None:
            self._call_at(self._rotated_s + self._period_s, self._rotate)
        elif self._rotate in self._timers:
            self._timers.pop(self._rotate).cancel()

    def _rotate(self) -> None:
        self.contexts.tickets.rotate()
        self._rotated_s = self._clock.time()
        self._wait_to_rotate()

    def _warn(self) -> None:
        """That a certificate is about to expire is no news the first day alone."""
        assert self._followed is not None
        for warning in tls_warnings(self._followed):
            log.warning("%s", warning)
        if any(one.tls is not None for one in self._followed.listeners) or any(
                one.tls is not None for one in self._followed.pools):
            self._call_at(self._clock.time() + WARN_AGAIN_S, self._warn)

    def _call_at(self, at_s: float, call: Callable[[], None]) -> None:
        if call in self._timers:
            self._timers[call].cancel()
        self._timers[call] = self._clock.call_at(at_s, self._run, call)

    def _run(self, call: Callable[[], None]) -> None:
        """A timer sets the next one: an exception must not end that."""
        try:
            call()
        except Exception:
            log.exception("keys of tickets, or warnings of certificates; it is tried again")
            self._call_at(self._clock.time() + AGAIN_S, call)
