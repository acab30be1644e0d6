from libc.stdint cimport uint8_t

from fastlb._core.base.types cimport Exchange


cdef void bind_to_kept(Exchange* x) noexcept nogil
cdef bint has_binding_credentials(const uint8_t* at, const uint8_t* end) noexcept nogil
