from libc.stddef cimport size_t
from libc.stdint cimport uint8_t

from fastlb._core.base.head cimport Head


cdef str llhttp_bind(str library)
cdef bint llhttp_known() noexcept nogil
cdef int llhttp_parse(Head* head, int type, const uint8_t* data, size_t size,
                      size_t skipped) noexcept nogil
