# One immutable, compiled configuration, as the engines read it.
from libc.stdint cimport uint32_t

from fastlb._core.base.types cimport Snapshot as SnapshotTable
from fastlb._core.base.types cimport PoolEntry, ServerAddress, ServerEntry
from fastlb._core.tables.httptable cimport Arena
from fastlb._core.tables.live cimport Live


cdef class Snapshot:
    cdef SnapshotTable table
    cdef readonly Live live
    cdef readonly tuple servers
    cdef readonly tuple pools
    cdef readonly tuple listeners
    cdef Arena _arena
    cdef dict _http                 # the tables of http listeners, by name
    cdef int _add_pool(self, int index, object spec) except -1
    cdef int _weigh(self, PoolEntry* pool, object spec) except -1
    cdef int _fill_maglev(self, PoolEntry* pool, uint32_t size) except -1
    cdef int _add_server(self, str pool, ServerEntry* entry, object spec) except -1
    cdef int _add_bind(self, int index, object spec) except -1


cdef uint32_t pack_address(object address, ServerAddress* into) except 0
