from fastlb._core.base.head cimport Head, Text
from fastlb._core.base.routing cimport Condition, HttpEntry, Match

cdef enum TriedBit:
    TRIED_HOST = 1              # the route's host is one of the request's
    TRIED_PATH = 2              # its path is the request's

cdef void look_at_routes(HttpEntry* entry, Head* head, Match* match,
                         unsigned char* tried) noexcept nogil
cdef bint observed(const Condition* c, Head* head, Match* match, Text* value) noexcept nogil
