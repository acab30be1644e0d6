from libc.stddef cimport size_t
from libc.stdint cimport uint8_t

from fastlb._core.base.head cimport Head


cdef int find_method(Head* head, const uint8_t* data, size_t size) noexcept nogil
