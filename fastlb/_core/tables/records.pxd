# Reads the records that engines put into their rings.
from libc.stdint cimport uint8_t, uint64_t

from fastlb._core.base.text cimport Writer
from fastlb._core.tables.live cimport Live
from fastlb._core.tables.logformat cimport LogClock, LogFormat


cdef class Recorder:
    cdef readonly Live live
    cdef LogFormat _format
    cdef uint8_t* _room         # with a byte before `_out`, for a line's end that is owed
    cdef uint8_t* _out
    cdef Writer _w
    cdef LogClock _clock
    cdef uint64_t _lines
    cdef uint64_t _lost
    cdef bint _is_torn
    cdef int _error
    cdef bint _is_empty(self) noexcept nogil
    cdef bint _flush(self, int fd, bint whole, int patience_ms) noexcept nogil
    cdef void _log(self, int engine, uint64_t end, int fd, bint whole,
                   int patience_ms) noexcept nogil
