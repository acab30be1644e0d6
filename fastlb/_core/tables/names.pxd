# Names of listeners, routes, pools and servers as numbers, which records and series carry.
from libc.stdint cimport uint32_t

from fastlb._core.base.head cimport Text
from fastlb._core.base.limits cimport NAME_BLOCK, NAME_BLOCKS


cdef class Names:
    cdef Text* _blocks[NAME_BLOCKS]
    cdef readonly list all
    cdef dict _ids
    cdef uint32_t id(self, str name) except? 0
    cdef Text text(self, uint32_t id) noexcept nogil
