# Times in log-linear histograms: each power of two in HISTOGRAM_STEPS equal parts.
from libc.stdint cimport uint64_t

from fastlb._core.base.observations cimport Histogram

cdef void histogram_add(Histogram* histogram, uint64_t ns) noexcept nogil
cdef void histogram_free(Histogram* histogram) noexcept nogil
cdef void histograms_free(Histogram* block, int n) noexcept nogil


cdef class Times:
    cdef readonly unsigned long long count
    cdef unsigned long long _sum_ns
    cdef uint64_t* _counts
    cdef void add(self, const Histogram* histogram) noexcept
