from libc.stdint cimport uint32_t, uint8_t

from fastlb._core.base.types cimport Core, Exchange

cdef void feed_mirror(Core* core, Exchange* x, const uint8_t* data, uint32_t size) noexcept nogil
cdef void part_from_mirror(Core* core, Exchange* x) noexcept nogil
cdef void part_from_hedge(Core* core, Exchange* x) noexcept nogil
