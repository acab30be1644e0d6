"""What is told of a balancer while it runs: records, the access log, traces."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from fastlb._core.tables.live import Live
from fastlb.config.effective import Effective
from fastlb.config.limits import LOG_BUFFER
from fastlb.errors import ConfigError, Problem
from fastlb.observe.recording import LogTo, Recording

if TYPE_CHECKING:
    from fastlb.observe.tracing import Tracing


def unopened_log(error: OSError) -> Problem:
    return Problem(f"it can't be opened: {error.strerror}", "access_log.path")


class Observing:
    """Writes and traces as the configuration says; `recording` has more to subscribe to."""

    def __init__(self, live: Live, settle: Callable[[], object]) -> None:
        self.recording = Recording(live, settle)
        self._tracing: Tracing | None = None

    def configure(self, effective: Effective) -> None:
        """ConfigError where the log can't be opened."""
        log = effective.access_log
        try:
            self.recording.log_to(
                None if log is None else LogTo(log.path, log.format, log.fields),
                LOG_BUFFER.default if log is None else log.ring_bytes,
            )
        except OSError as error:
            raise ConfigError([unopened_log(error)]) from None
        tracing = effective.tracing
        if self._tracing is not None and self._tracing.config != tracing:
            self._tracing.end()
            self._tracing = None
            self.recording.trace(None)
        if tracing is not None and self._tracing is None:
            from fastlb.observe.tracing import Tracing  # few need it

            self._tracing = Tracing(self.recording, tracing)
        if self._tracing is not None:
            self._tracing.follow(frozenset(
                listener.name for listener in effective.listeners if listener.tls is not None
            ))

    def end(self) -> None:
        self.recording.end()
        if self._tracing is not None:
            self._tracing.end()
            self._tracing = None

    def abandon(self) -> None:
        """In a forked child."""
        self.recording.abandon()
        self._tracing = None
