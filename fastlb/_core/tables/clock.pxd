from libc.stdint cimport uint64_t


cdef class Clock:
    cdef uint64_t _ahead_ns
    cdef uint64_t now_ns(self) noexcept nogil
    cdef uint64_t now_ms(self) noexcept nogil
