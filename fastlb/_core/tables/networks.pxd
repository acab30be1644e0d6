from libc.stdint cimport uint32_t

from fastlb._core.base.networks cimport NetworkTable
from fastlb._core.proto.networks cimport Span

cdef struct Spans:
    Span* all
    uint32_t n, room


cdef class NetworkSet:
    cdef NetworkTable table
    cdef readonly uint32_t entries      # networks and ranges that were written
    cdef readonly uint32_t wrong        # lines that are none
    cdef readonly list wrong_lines      # the numbers of the first of them
    cdef bint _fill(self, Spans* spans) noexcept nogil
