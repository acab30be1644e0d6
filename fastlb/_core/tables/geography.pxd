from libc.stdint cimport uint32_t, uint64_t

from fastlb._core.base.places cimport GeoNetworks, GeoTable, Place, Spot
from fastlb._core.proto.mmdb cimport Leaves

cdef struct Seen:                       # a record of a file
    uint32_t record
    uint64_t at                         # a leaf that has it


cdef uint64_t code_of(bytes text) except? 0


cdef class Places:
    cdef Place* all
    cdef dict _numbers


cdef class GeoDatabase:
    cdef GeoNetworks networks
    cdef Leaves _v4, _v6
    cdef Seen* _records                 # in ascending order
    cdef uint32_t _n_records
    cdef bint _is_begun
    cdef void _let_go(self) noexcept


cdef class Geography:
    cdef GeoTable table
    cdef Spot* _spots
    cdef tuple _held
    cdef readonly Places places
