# The clock of one balancer, for Python; engines read it through base/clock.
from libc.stdint cimport uint64_t

from fastlb._core.base.sys cimport clock_ns
from fastlb._core.ext.atomic cimport fl_add64, fl_load64


cdef class Clock:
    """The system's monotonic clock, and as far ahead of it as a test has moved it."""

    cdef uint64_t now_ns(self) noexcept nogil:
        return clock_ns() + fl_load64(&self._ahead_ns)

    cdef uint64_t now_ms(self) noexcept nogil:
        return self.now_ns() // 1000000

    def advance(self, uint64_t ns) -> None:
        """Move it ahead. Engines notice with their next turn: wake them."""
        fl_add64(&self._ahead_ns, ns)

    @property
    def ahead_ns(self) -> int:
        return fl_load64(&self._ahead_ns)
