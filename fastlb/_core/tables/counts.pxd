from fastlb._core.base.parts cimport Counters


cdef dict totals_of(const Counters* counters)
