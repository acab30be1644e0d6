from libc.stdint cimport uint32_t

from fastlb._core.base.head cimport Head, Text
from fastlb._core.base.routing cimport Match

cdef bint content_begin(const Head* head, Match* match, uint32_t most, Text* text) noexcept nogil
cdef int content_state(Head* head, Match* match) noexcept nogil
