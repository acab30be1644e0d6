from libc.stdint cimport uint64_t

from fastlb._core.base.live cimport LiveTable
from fastlb._core.base.routing cimport StatusSet
from fastlb._core.base.types cimport Core, PoolEntry, ServerLive

cdef bint eject(LiveTable* table, uint64_t now_ms, const PoolEntry* pool,
                ServerLive* live) noexcept nogil
cdef void server_failed(Core* core, const PoolEntry* pool, ServerLive* live) noexcept nogil
cdef void server_did_well(Core* core, ServerLive* live) noexcept nogil


cdef inline bint has_status(const StatusSet* statuses, int status) noexcept nogil:
    cdef unsigned int i = <unsigned int> (status - 100)
    return i < 512 and statuses.bits[i >> 6] >> (i & 63) & 1
