# How often each kind of end was met, by names of listener, route and pool, and a code.
from libc.stdint cimport uint32_t

from fastlb._core.base.observations cimport Series, SeriesSlot

cdef SeriesSlot* series_find(Series* series, uint32_t listener, uint32_t route, uint32_t pool,
                             uint32_t code) noexcept nogil
cdef void series_free(Series* series) noexcept nogil
