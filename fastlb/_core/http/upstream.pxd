from libc.stdint cimport uint64_t, uint8_t

from fastlb._core.base.types cimport Core, Exchange, Http, PoolEntry, ServerLive, Stream, Upstream


cdef inline Exchange* client_of(Exchange* x) noexcept nogil:
    """Of a request of HTTP/2, its connection."""
    return x.carrier if x.carrier != NULL else x


cdef inline uint64_t expires_at(const Core* core, const PoolEntry* pool) noexcept nogil:
    """When a connection to the pool that is made now is too old to be used; 0: never."""
    cdef uint64_t age_ms = pool.keys.max_connection_age_ms
    return core.now_ms + age_ms if age_ms else 0


cdef Upstream* take_idle(Core* core, ServerLive* target) noexcept nogil
cdef Upstream* take_kept(Core* core, Exchange* x, bint introduced) noexcept nogil
cdef void keep_idle(Core* core, Upstream* upstream) noexcept nogil
cdef void drop_idle(Core* core, Upstream* upstream) noexcept nogil
cdef bint make_room(Core* core, int error) noexcept nogil
cdef void drop_all_idle(Core* core, bint gone_only) noexcept nogil
cdef void end_upstream(Core* core, Exchange* x, bint reset) noexcept nogil
cdef void hear_idle(Core* core, Stream* s, uint8_t ready) noexcept nogil
