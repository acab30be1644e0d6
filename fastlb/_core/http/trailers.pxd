from libc.stdint cimport uint32_t, uint8_t
from fastlb._core.base.types cimport Exchange


cdef uint32_t put_trailers(const uint8_t* section, uint32_t size, uint8_t* into) noexcept nogil
cdef void end_call(Exchange* x) noexcept nogil
cdef bint end_with_trailers(Exchange* x, uint8_t* room) noexcept nogil
