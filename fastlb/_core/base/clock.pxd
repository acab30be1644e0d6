# The clock of one balancer's engines: the system's, and as far ahead of it as a test has moved it.
# Engines read it once a turn (core.now_ms), and where a duration is measured.
from libc.stdint cimport uint64_t

from fastlb._core.base.sys cimport clock_ns
from fastlb._core.base.types cimport Core
from fastlb._core.ext.atomic cimport fl_load64


cdef inline uint64_t engine_ns(const Core* core) noexcept nogil:
    return clock_ns() + fl_load64(core.live.ahead_ns)
