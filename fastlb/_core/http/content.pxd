from fastlb._core.base.head cimport Head
from fastlb._core.base.routing cimport Match

cdef int content_state(Head* head, Match* match) noexcept nogil
