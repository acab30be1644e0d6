"""Records on their way from the engines: to the access log, and to programs that ask for them."""

from __future__ import annotations

import collections
import errno
import logging
import os
import stat
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from fastlb._core.facts.registry import RECORDED
from fastlb._core.tables.live import Live
from fastlb._core.tables.records import Recorder, clock_offset_s, fields_of
from fastlb.observe.lines import facts_of, log_format
from fastlb.observe.records import Record, Try

log = logging.getLogger("fastlb.access")
log.addHandler(logging.NullHandler())

NAP_MS = 50             # that records gather for: few writes, and nobody waits long for a line
SLEEP_MS = 1000         # between looks at the file's place
PATIENCE_MS = 1000      # that a pipe which nobody reads is waited for
LOOK_S = 1.0            # how often the file's place is looked at
QUIET_S = 60.0          # how often the same trouble is told
STEP_S = 0.001          # less than that is how inexactly two clocks are read
KEPT_MAX = 100_000      # records that a subscriber is behind; then the oldest are dropped


@dataclass(frozen=True)
class LogTo:
    """Where lines go, "-" is standard output, and what they have (see `lines`)."""

    path: str
    format: str = "json"
    fields: tuple[str, ...] = ()


class Subscription:
    """Records from now on. Of any thread: `take()` all that there are, or iterate, which waits for
    the next one and ends with the balancer. Use it in a `with`, or `close()` it.

    `dropped` counts those that were not taken in time: 100,000 are kept at most.
    """

    def __init__(self, recording: Recording, facts: bool = True) -> None:
        self.facts = facts
        self._recording = recording
        self._waiting: collections.deque[bytes] = collections.deque()
        self._arrived = threading.Condition()
        self._ended = False
        self.dropped = 0

    def put(self, records: list[bytes]) -> None:
        with self._arrived:
            self._waiting.extend(records)
            while len(self._waiting) > KEPT_MAX:
                self._waiting.popleft()
                self.dropped += 1
            self._arrived.notify_all()

    def end(self) -> None:
        with self._arrived:
            self._ended = True
            self._arrived.notify_all()

    def take(self) -> list[Record]:
        """All that were put since the last time: with those of every answer that a client has."""
        self._recording.sync()
        with self._arrived:
            taken = list(self._waiting)
            self._waiting.clear()
        return [self._recording.decode(data) for data in taken]

    def wait(self, timeout: float | None = None) -> list[Record]:
        """The same, but wait until there are any; [] when the time is over, or the balancer."""
        with self._arrived:
            self._arrived.wait_for(lambda: self._waiting or self._ended, timeout)
            taken = list(self._waiting)
            self._waiting.clear()
        return [self._recording.decode(data) for data in taken]

    def __iter__(self) -> Iterator[Record]:
        while found := self.wait():
            yield from found

    def close(self) -> None:
        self._recording.forget(self)
        self.end()

    def __enter__(self) -> Subscription:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class Recording:
    """Owns the thread that reads records, while anybody wants them.

    `settle` waits until what engines are doing now is recorded.
    """

    def __init__(self, live: Live, settle: Callable[[], object]) -> None:
        self._live = live
        self._settle = settle
        self._recorder: Recorder | None = None
        self._ring_bytes = 1 << 20
        self._subscriptions: set[Subscription] = set()
        self._drain_lock = threading.Lock()     # rings have one reader at a time
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._ending = False
        self._reopening = False
        self._file = File()
        self._traced: float | None = None
        self._told_dropped = 0
        self._offset_s = clock_offset_s()

    # --- who wants records ---

    def log_to(self, where: LogTo | None, ring_bytes: int = 1 << 20) -> None:
        """Write an access log there, or none. Raises OSError where the file can't be opened; then
        all is as before."""
        if where == self._file.where:
            return
        made = File()
        if where is not None:
            made.open(where)
        self._ring_bytes = ring_bytes
        if where is not None:
            self._need()
        with self._drain_lock:
            if self._recorder is not None:
                self._read()
                self._recorder.use(None if where is None else
                                   log_format(where.format, where.fields))
            self._file.close()
            self._file = made
        self._want()

    def trace(self, share: float | None) -> None:
        """Give requests spans, and sample so large a share of new traces; None: don't."""
        self._traced = share
        if share is not None or self._recorder is not None:
            self._need().trace(share)

    def subscribe(self, facts: bool = True) -> Subscription:
        """`facts`: with the facts of clients, such as what TLS knows of them."""
        self._need()
        subscription = Subscription(self, facts)
        with self._drain_lock:
            self._subscriptions.add(subscription)
        self._want()
        return subscription

    def forget(self, subscription: Subscription) -> None:
        with self._drain_lock:
            self._subscriptions.discard(subscription)
        self._want()

    def _need(self) -> Recorder:
        with self._lock:
            if self._recorder is None:
                self._recorder = Recorder(self._live, self._ring_bytes)
            if self._thread is None and not self._ending:
                self._thread = threading.Thread(
                    target=self._run, name="fastlb-access", daemon=True
                )
                self._thread.start()
            return self._recorder

    def _want(self) -> None:
        if self._recorder is not None:
            where = self._file.where
            facts = facts_of(where.format, where.fields) if where is not None else set()
            if any(one.facts for one in tuple(self._subscriptions)):
                facts |= set(RECORDED)
            self._recorder.record(bool(self._subscriptions) or self._file.fd >= 0, facts)

    # --- reading ---

    def _run(self) -> None:
        recorder = self._recorder
        assert recorder is not None
        nap_ms = 0
        while not self._ending:
            recorder.wait(nap_ms, SLEEP_MS)
            with self._drain_lock:
                self._look_at_file()
                nap_ms = NAP_MS if self._read() else 0

    def _read(self) -> bool:
        """Pass on what there is; whether there was any. The drain lock is held."""
        recorder = self._recorder
        assert recorder is not None
        n, error, records = recorder.drain(
            self._file.fd, self._file.is_whole, PATIENCE_MS, bool(self._subscriptions)
        )
        if records:
            for subscription in tuple(self._subscriptions):
                subscription.put(records)
        if error:
            self._file.failed(error)
        dropped = recorder.totals()["dropped"]
        if dropped > self._told_dropped and self._file.may_tell("dropped"):
            log.warning("records that came too fast to be written, and were dropped: %d",
                        dropped - self._told_dropped)
            self._told_dropped = dropped
        return n > 0

    def _look_at_file(self) -> None:
        if self._reopening or self._file.has_moved():
            self._reopening = False
            self._file.reopen()

    def sync(self) -> None:
        """Pass on the records of all that is over by now."""
        if self._recorder is None or self._ending:
            return
        self._settle()
        with self._drain_lock:
            if not self._ending:
                self._read()

    def reopen(self) -> None:
        """The log file was moved away: open it anew. Of any thread, and from signal handlers."""
        self._reopening = True
        if self._recorder is not None:
            self._recorder.interrupt()

    def decode(self, data: bytes) -> Record:
        offset_s = clock_offset_s()
        if abs(offset_s - self._offset_s) > STEP_S:
            self._offset_s = offset_s           # (else a record would have another time each time)
        fields = list(fields_of(self._live, data, self._offset_s))
        fields[_TRIES] = tuple(Try(*one) for one in fields[_TRIES])
        return Record(*fields)

    def totals(self) -> dict[str, int]:
        """`records` that engines made, `dropped` (they came too fast), `lines` written and `lost`
        (they couldn't be written)."""
        if self._recorder is None:
            return dict.fromkeys(("records", "dropped", "lines", "lost"), 0)
        return self._recorder.totals()

    # --- the end ---

    def end(self) -> None:
        """Write what is left, and let go of all. The engines have ended. Safe to call twice."""
        with self._lock:
            self._ending = True
            thread, self._thread = self._thread, None
        if self._recorder is None:
            return
        if thread is not None:
            self._recorder.interrupt()
            thread.join()
        with self._drain_lock:
            self._read()
            self._file.close()
            self._recorder.close()
            for subscription in tuple(self._subscriptions):
                subscription.end()
            self._subscriptions.clear()

    def abandon(self) -> None:
        """In a forked child, which has no such thread."""
        self._ending = True
        self._thread = None
        self._file.close()
        if self._recorder is not None:
            self._recorder.close()


_TRIES = list(Record.__dataclass_fields__).index("tries")


class File:
    """A file that lines are appended to, and that may be moved away by others (logrotate)."""

    def __init__(self) -> None:
        self.where: LogTo | None = None
        self.fd = -1
        self.is_whole = False       # a regular file: a write of any size doesn't wait
        self._id = (0, 0)
        self._looked_s = 0.0
        self._told: dict[str, float] = {}

    def open(self, where: LogTo) -> None:
        """Raises OSError."""
        if where.path == "-":
            self.fd = os.dup(1)
        else:
            flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NONBLOCK
            self.fd = os.open(where.path, flags, 0o640)
        found = os.fstat(self.fd)
        self.is_whole = stat.S_ISREG(found.st_mode)
        self._id = (found.st_dev, found.st_ino)
        self.where = where

    def close(self) -> None:
        if self.fd >= 0:
            os.close(self.fd)
        self.fd = -1

    def has_moved(self) -> bool:
        """Whether another file, or none, is where ours was opened; looked at now and then."""
        now_s = time.monotonic()
        if self.where is None or self.where.path == "-" or now_s < self._looked_s + LOOK_S:
            return False
        self._looked_s = now_s
        try:
            found = os.stat(self.where.path)
        except OSError:
            return True
        return (found.st_dev, found.st_ino) != self._id

    def reopen(self) -> None:
        """Go on with the old one where the new one can't be opened."""
        if self.where is None or self.where.path == "-":
            return
        fresh = File()
        try:
            fresh.open(self.where)
        except OSError as error:
            self.failed(error.errno or errno.EIO)
            return
        self.close()
        self.fd, self.is_whole, self._id = fresh.fd, fresh.is_whole, fresh._id

    def failed(self, error: int) -> None:
        """Say it, but not with every line."""
        if self.where is not None and self.may_tell(str(error)):
            why = "nobody reads it" if error == errno.EAGAIN else os.strerror(error).lower()
            log.error("access log %s can't be written: %s; lines are lost and counted",
                      self.where.path, why)

    def may_tell(self, what: str) -> bool:
        now_s = time.monotonic()
        if now_s < self._told.get(what, -QUIET_S) + QUIET_S:
            return False
        self._told[what] = now_s
        return True
