from libc.stdint cimport uint64_t

from fastlb._core.base.types cimport Core, Exchange, PoolEntry

cdef void observe_delay(Core* core, const PoolEntry* pool, uint64_t us) noexcept nogil
cdef int hedge_timer(Core* core, const PoolEntry* pool) noexcept nogil
cdef bint may_hedge(const Exchange* x) noexcept nogil
cdef bint afford_hedge(Core* core, Exchange* x) noexcept nogil
