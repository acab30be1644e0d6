# A ring of records from one engine to one reader: never waits, drops what does not fit.
from libc.stdint cimport uint8_t, uint32_t, uint64_t
from libc.string cimport memcpy

from fastlb._core.base.observations cimport RECORD_SKIP, Record, Ring
from fastlb._core.ext.atomic cimport fl_count, fl_load64, fl_store64, unlikely


cdef inline bint ring_put(Ring* ring, const Record* record) noexcept nogil:
    """Append a record, with its texts; False if it was dropped."""
    cdef uint64_t place = ring.head & (ring.size - 1)
    cdef uint64_t skipped = 0
    if place + record.size > ring.size:         # a record lies in one piece
        skipped = ring.size - place
    if unlikely(ring.head + skipped + record.size - ring.seen > ring.size):
        ring.seen = fl_load64(&ring.tail)
        if ring.head + skipped + record.size - ring.seen > ring.size:
            fl_count(&ring.dropped, 1)
            return False
    if unlikely(skipped != 0):
        (<Record*> (ring.bytes + place)).size = <uint32_t> skipped
        (<Record*> (ring.bytes + place)).kind = RECORD_SKIP
        place = 0
    memcpy(ring.bytes + place, record, record.size)
    fl_store64(&ring.head, ring.head + skipped + record.size)
    fl_count(&ring.written, 1)
    return True


cdef inline const Record* ring_next(const Ring* ring, uint64_t* at,
                                    uint64_t end) noexcept nogil:
    """The record at `at`, which moves on to the next one; NULL at `end`, a head of the ring."""
    cdef const Record* record
    while at[0] != end:
        record = <const Record*> (ring.bytes + (at[0] & (ring.size - 1)))
        at[0] += record.size
        if record.kind != RECORD_SKIP:
            return record
    return NULL
