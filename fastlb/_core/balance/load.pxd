from libc.stdint cimport int32_t, uint64_t

from fastlb._core.base.types cimport PoolEntry, ServerLive

cdef void observe_latency(const PoolEntry* pool, ServerLive* live, uint64_t now_ms,
                          double us) noexcept nogil
cdef double latency_at(const ServerLive* live, int32_t in_flight) noexcept nogil
cdef double latency_of(const ServerLive* live, uint64_t now_ms) noexcept nogil
