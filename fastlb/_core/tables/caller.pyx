# A Python policy as engines call it: the function, where it is used, and what became of its calls.
from libc.stdlib cimport free

from fastlb._core.base.routing cimport PolicyCounters
from fastlb._core.ext.atomic cimport fl_load32, fl_read
from fastlb._core.tables.live cimport Live
from fastlb._core.tables.states cimport per_engine

import itertools

_ids = itertools.count(1)


cdef class Caller:
    """A policy: the function, where it is used, and what became of its calls.

    `names` are those of the segments of its route's path, "" for literal ones. One of a listener of
    connections has no route, and its `scheme` is "tcp", "tls" or "udp".
    """

    def __init__(self, object function, object request_class, Live live, str listener, str route,
                 str scheme, tuple names, int merge_slashes):
        self.id = next(_ids)
        self.function = function
        self.request_class = request_class
        self.servers = live
        self.listener, self.route, self.scheme = listener, route, scheme
        self.names = names
        self.merge_slashes = merge_slashes
        self.of_connections = scheme in ("tcp", "tls", "udp")
        self._engines = live.engines
        self.live.counters = <PolicyCounters*> per_engine(live.engines, sizeof(PolicyCounters))

    def __dealloc__(self):
        free(self.live.counters)

    def failed(self, error: BaseException) -> None:
        """It raised, or decided what can't be: for people to be told."""

    @property
    def pending(self) -> int:
        """Requests that wait for it."""
        return fl_load32(&self.live.pending.count)

    def totals(self) -> dict[str, int]:
        """`calls`, `failures`, `late` (past the deadline), `refused` (too many were waiting) and
        `cached` (answered by what it said before)."""
        totals = dict.fromkeys(("calls", "failures", "late", "refused", "cached"), 0)
        cdef PolicyCounters* counters
        cdef int i
        for i in range(self._engines):
            counters = &self.live.counters[i]
            totals["calls"] += fl_read(&counters.calls)
            totals["failures"] += fl_read(&counters.failures)
            totals["late"] += fl_read(&counters.late)
            totals["refused"] += fl_read(&counters.refused)
            totals["cached"] += fl_read(&counters.cached)
        return totals
