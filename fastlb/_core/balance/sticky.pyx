# Clients that a cookie binds to a server. http/admit has read the cookie.
from libc.stdint cimport uint32_t

from fastlb._core.balance.candidates cimport take_place, was_tried
from fastlb._core.base.enums cimport (
    CONDITION_DOWN, CONDITION_MAINTENANCE, CONDITION_REMOVED, PASS_HEALTHY,
)
from fastlb._core.base.types cimport Core, Exchange, PoolEntry, ServerEntry
from fastlb._core.ext.atomic cimport fl_load32


cdef bint take_bound(Core* core, Exchange* x, bint* full) noexcept nogil:
    """A place at the server that the client is bound to, also if it is draining, or has no
    weight."""
    cdef PoolEntry* pool = x.pool
    cdef uint32_t server = x.bound_to - 1
    cdef ServerEntry* entry = &pool.servers[server]
    cdef int bits = fl_load32(&entry.live.conditions)
    if bits & (CONDITION_MAINTENANCE | CONDITION_REMOVED) or (
            bits & CONDITION_DOWN and fl_load32(&pool.live.panic) == 0) or was_tried(x, server):
        return False
    return take_place(core, x, &pool.groups[0], entry, PASS_HEALTHY, full)
