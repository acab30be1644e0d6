# Doors into what is kept of exchanges that have ended.
from libc.stdint cimport uint64_t, uint8_t
from libc.stdlib cimport calloc, free, malloc
from libc.string cimport memset

from fastlb._core.base.observations cimport RECORD_HTTP, Record, Ring, Series, SeriesSlot
from fastlb._core.base.ring cimport ring_next, ring_put
from fastlb._core.ext.atomic cimport fl_count, fl_load64, fl_store64
from fastlb._core.tables.histogram cimport histogram_add
from fastlb._core.tables.series cimport series_find, series_free


def series(list ends):
    """Counts ends, (listener, route, pool, code), as one engine does: {end: n} and the others."""
    cdef Series* made = <Series*> calloc(1, sizeof(Series))
    cdef SeriesSlot* slot
    for listener, route, pool, code in ends:
        slot = series_find(made, listener, route, pool, code)
        if slot != NULL:
            fl_count(&slot.count, 1)
            histogram_add(slot.durations, 1000)
    counts = {}
    for end in set(ends):
        listener, route, pool, code = end
        slot = series_find(made, listener, route, pool, code)
        if slot != NULL:
            counts[end] = slot.count
    others = made.others
    series_free(made)
    free(made)
    return counts, others


cdef class Records:
    """A ring, and records of any size with a number in them."""

    cdef Ring ring

    def __cinit__(self, size_t size):
        memset(&self.ring, 0, sizeof(Ring))
        self.ring.bytes = <uint8_t*> malloc(size)
        self.ring.size = size

    def __dealloc__(self):
        free(self.ring.bytes)

    def put(self, int number, int extra):
        """False: there was no room."""
        cdef Record* record = <Record*> calloc(1, sizeof(Record) + extra + 8)
        cdef bint done
        record.size = (sizeof(Record) + extra + 7) & ~7
        record.kind = RECORD_HTTP
        record.begin_ns = number
        memset(<char*> record + sizeof(Record), number & 255, extra)
        with nogil:
            done = ring_put(&self.ring, record)
        free(record)
        return done

    def take(self):
        """Numbers, and whether each record was whole."""
        cdef uint64_t at = self.ring.tail
        cdef uint64_t end = fl_load64(&self.ring.head)
        cdef const Record* record
        found = []
        while True:
            record = ring_next(&self.ring, &at, end)
            if record == NULL:
                break
            extra = (<const char*> record)[sizeof(Record):record.size].rstrip(b"\0")
            found.append((record.begin_ns, extra == bytes([record.begin_ns & 255]) * len(extra)))
        fl_store64(&self.ring.tail, end)
        return found

    @property
    def dropped(self):
        return self.ring.dropped
