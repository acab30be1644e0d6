from libc.stdint cimport uint32_t

from fastlb._core.base.types cimport H2, H2Stream


cdef void h2_taken(H2* h2, H2Stream* st, uint32_t size) noexcept nogil
cdef void h2_say_taken(H2* h2) noexcept nogil
cdef void h2_answered(H2* h2) noexcept nogil
cdef void h2_begin_windows(H2* h2, uint32_t base) noexcept nogil
cdef void h2_end_windows(H2* h2) noexcept nogil
