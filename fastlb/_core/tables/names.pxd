# Names of listeners, routes, pools and servers as numbers, which records and series carry.
from libc.stdint cimport uint32_t, uint64_t

from fastlb._core.base.head cimport Text
from fastlb._core.base.limits cimport NAME_BLOCKS


cdef struct Name:               # its bytes follow
    Text text


cdef class Names:
    cdef Name** _blocks[NAME_BLOCKS]
    cdef list _texts            # by number
    cdef list _holders          # how many hold each
    cdef dict _ids
    cdef list _resting          # (since when, number): one who held it has let go
    cdef list _leaving          # (since when, Name*): nobody finds it any more
    cdef list _unused           # numbers
    cdef uint32_t id(self, str name) except? 0
    cdef int _put(self, uint32_t id, bytes text) except -1
    cdef void let_go(self, uint32_t id, uint64_t now_ms)
    cdef int sweep(self, uint64_t now_ms) except -1
    cdef Text text(self, uint32_t id) noexcept nogil
