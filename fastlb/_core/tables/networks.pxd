from libc.stdint cimport uint32_t

from fastlb._core.base.ranges cimport NetworkLive, NetworkTable
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


cdef class Network:
    cdef NetworkLive live
    cdef readonly str name
    cdef readonly NetworkSet set
    cdef readonly NetworkSet added
    cdef int _engines
    cdef object __weakref__
