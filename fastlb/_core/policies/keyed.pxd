from libc.stdint cimport uint32_t

from fastlb._core.base.types cimport Core, Exchange

cdef bint take_from_ring(Core* core, Exchange* x, int which, bint* full) noexcept nogil
cdef bint take_by_table(Core* core, Exchange* x, int which, bint* full) noexcept nogil
