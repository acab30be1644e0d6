from libc.stddef cimport size_t
from libc.stdint cimport uint32_t, uint64_t, uint8_t

from fastlb._core.base.places cimport GeoNetworks

cdef enum TreeFailure:
    TREE_TOO_LONG = 1           # it has loops, or says less of its nodes than there are
    TREE_TOO_DEEP = 2           # more nodes on a way than an address has bits
    TREE_NO_MEMORY = 3

cdef struct Tree:               # the first section of a MaxMind DB file
    const uint8_t* at           # of n_nodes nodes, of two records each
    uint32_t n_nodes
    uint8_t record_bits         # 24, 28 or 32
    uint8_t version             # 4 or 6

cdef struct Leaves:             # of one family: at each address another record begins
    uint32_t n, room
    uint64_t* high              # as in Ranges
    uint64_t* low
    uint32_t* records           # 0: there is none


cdef bint tree_fits(const Tree* tree, size_t size) noexcept nogil
cdef int tree_walk(const Tree* tree, Leaves* v4, Leaves* v6, GeoNetworks* into) noexcept nogil
cdef void leaves_free(Leaves* leaves) noexcept nogil
