from fastlb._core.tables.arena cimport Arena
from fastlb._core.tables.live cimport Live


cdef class Room(Arena):
    cdef Live live
    cdef int n_pools
    cdef list rates                 # (RateLimit, what one unit of it takes): used when published
    cdef int pool_index(self, object index) except -1
