from fastlb._core.base.head cimport Head
from fastlb._core.base.routing cimport HttpEntry, Match

cdef enum TriedBit:
    TRIED_HOST = 1              # the route's host is one of the request's
    TRIED_PATH = 2              # its path is the request's

cdef void look_at_routes(HttpEntry* entry, Head* head, Match* match,
                         unsigned char* tried) noexcept nogil
