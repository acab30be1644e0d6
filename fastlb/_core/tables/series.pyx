# How often each kind of end happened, by listener, route, pool and code.
# A hash table that one engine writes, and that anybody reads meanwhile.
from libc.stdint cimport uint32_t, uint64_t
from libc.stdlib cimport calloc, free

from fastlb._core.base.limits cimport SERIES_MAX, SERIES_SLOTS
from fastlb._core.base.observations cimport Histogram, Series, SeriesSlot
from fastlb._core.ext.atomic cimport fl_count, fl_store_pointer, likely, unlikely
from fastlb._core.tables.histogram cimport histogram_free


cdef inline uint32_t _place(uint32_t listener, uint32_t route, uint32_t pool,
                            uint32_t code) noexcept nogil:
    cdef uint64_t mixed = (listener * <uint64_t> 0x9E3779B97F4A7C15u
                           ^ route * <uint64_t> 0xC2B2AE3D27D4EB4Fu
                           ^ pool * <uint64_t> 0x165667B19E3779F9u
                           ^ code * <uint64_t> 0xD6E8FEB86659FD93u)
    return <uint32_t> (mixed >> 40) & (SERIES_SLOTS - 1)


cdef SeriesSlot* series_find(Series* series, uint32_t listener, uint32_t route, uint32_t pool,
                             uint32_t code) noexcept nogil:
    """Where such ends are counted, by the engine that owns the series; NULL if there is no room
    for more kinds, which counts as one of the others."""
    cdef SeriesSlot* slot
    cdef uint32_t place = _place(listener, route, pool, code)
    if unlikely(series.slots == NULL):
        slot = <SeriesSlot*> calloc(SERIES_SLOTS, sizeof(SeriesSlot))
        if slot == NULL:
            fl_count(&series.others, 1)
            return NULL
        fl_store_pointer(<void**> &series.slots, slot)
    while True:                     # (a quarter of the slots stays empty)
        slot = &series.slots[place]
        if likely(slot.listener == listener and slot.code == code and slot.route == route
                  and slot.pool == pool and slot.durations != NULL):
            return slot
        if slot.durations == NULL:
            return _add(series, slot, listener, route, pool, code)
        place = (place + 1) & (SERIES_SLOTS - 1)


cdef SeriesSlot* _add(Series* series, SeriesSlot* slot, uint32_t listener, uint32_t route,
                      uint32_t pool, uint32_t code) noexcept nogil:
    cdef SeriesSlot* of_all
    cdef Histogram* durations = NULL
    if code:
        of_all = series_find(series, listener, route, pool, 0)
        if of_all == NULL:
            return NULL
        if slot.durations != NULL:      # that one took this very place
            return series_find(series, listener, route, pool, code)
        durations = of_all.durations
    if series.n < SERIES_MAX and not code:
        durations = <Histogram*> calloc(1, sizeof(Histogram))
    if series.n >= SERIES_MAX or durations == NULL:
        fl_count(&series.others, 1)
        return NULL
    slot.listener = listener
    slot.route = route
    slot.pool = pool
    slot.code = code
    fl_count(&series.n, 1)
    # Readers go by this: what comes before is there when it is.
    fl_store_pointer(<void**> &slot.durations, durations)
    return slot


cdef void series_free(Series* series) noexcept nogil:
    cdef int i
    if series.slots == NULL:
        return
    for i in range(SERIES_SLOTS):
        if series.slots[i].durations != NULL and series.slots[i].code == 0:
            histogram_free(series.slots[i].durations)
            free(series.slots[i].durations)
    free(series.slots)
    series.slots = NULL
