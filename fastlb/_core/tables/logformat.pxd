# Records as lines of an access log.
from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t

from fastlb._core.base.head cimport Text
from fastlb._core.base.observations cimport Record
from fastlb._core.base.text cimport Writer
from fastlb._core.tables.names cimport Names

cdef struct Piece:
    Text literal                # what comes before the field
    int field                   # 0: none

cdef struct LogClock:
    int64_t offset_ns           # from the monotonic clock to the time since 1970
    int64_t second              # that the texts below are of
    char[32] iso                # 2026-01-31T12:00:00
    char[32] clf                # 31/Jan/2026:12:00:00 +0000


cdef class LogFormat:
    cdef Piece* _pieces
    cdef int _n
    cdef bint _json
    cdef list _kept
    cdef void put_line(self, Names names, const Record* record, LogClock* clock,
                       Writer* w) noexcept nogil


cdef const uint8_t* record_text(const Record* record, int which, uint32_t* size) noexcept nogil
