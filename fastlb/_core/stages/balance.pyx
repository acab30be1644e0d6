# Pick a server of the pool, and take a place in its gate.
# Reads the pool, the live state of its servers and what was tried; writes x.entry and x.target.
# Ends: NEXT (picked), FAIL (REASON_NO_SERVER, REASON_SERVERS_FULL).
from libc.stdint cimport uint32_t, uint64_t

from fastlb._core.base.enums cimport (
    BALANCE_RING_HASH, EXCHANGE_HOLDS_SERVER, FAIL, NEXT, REASON_NO_SERVER, REASON_SERVERS_FULL,
    SERVER_UP,
)
from fastlb._core.base.gate cimport gate_take
from fastlb._core.base.limits cimport FAILING_PAUSE_MS, TRIES_MAX
from fastlb._core.base.types cimport Core, Exchange, PoolEntry, ServerEntry, ServerLive
from fastlb._core.ext.atomic cimport fl_add64, fl_cas64, fl_load32, fl_load64, unlikely
from fastlb._core.tables.hashring cimport hash_client, ring_find

cdef enum Pass:
    PASS_HEALTHY = 0        # leave out servers that failed a moment ago
    PASS_ANY = 1            # nobody else is left: try those too, rather than refuse


cdef bint _tried(Exchange* x, uint32_t server) noexcept nogil:
    cdef int i
    for i in range(x.n_tried):
        if x.tried[i] == server:
            return True
    return False


cdef bint _take(Core* core, Exchange* x, uint32_t index, int which, bint* full) noexcept nogil:
    """Take a place at a server, if it may be picked in this pass."""
    cdef ServerEntry* entry = &x.pool.servers[index]
    cdef ServerLive* live = entry.live
    cdef uint64_t retry_at_ms
    if entry.weight == 0 or (x.n_tried and _tried(x, index)):
        return False
    if unlikely(fl_load32(&live.state) != SERVER_UP) and which == PASS_HEALTHY:
        # One connection a pause finds out whether it is back; all others go elsewhere.
        retry_at_ms = fl_load64(&live.retry_at_ms)
        if core.now_ms < retry_at_ms or not fl_cas64(
                &live.retry_at_ms, retry_at_ms, core.now_ms + FAILING_PAUSE_MS):
            return False
    if not gate_take(&live.connections, entry.max_connections):
        full[0] = True
        return False
    x.entry = entry
    x.target = live
    x.counters = &live.counters[core.id]
    x.flags |= EXCHANGE_HOLDS_SERVER
    return True


cdef bint _from_sequence(Core* core, Exchange* x, int which, uint64_t turn,
                         bint* full) noexcept nogil:
    cdef PoolEntry* pool = x.pool
    cdef uint32_t i
    for i in range(pool.n_sequence):
        if _take(core, x, pool.sequence[turn], which, full):
            return True
        turn = turn + 1 if turn + 1 < pool.n_sequence else 0
    return False


cdef bint _from_ring(Core* core, Exchange* x, int which, uint32_t point,
                     bint* full) noexcept nogil:
    cdef PoolEntry* pool = x.pool
    cdef uint32_t i, last = pool.n_servers
    for i in range(pool.n_ring):
        if pool.ring[point].server != last:
            last = pool.ring[point].server
            if _take(core, x, last, which, full):
                return True
        point = point + 1 if point + 1 < pool.n_ring else 0
    return False


cdef int balance_step(Core* core, Exchange* x) noexcept nogil:
    cdef PoolEntry* pool = x.pool
    cdef bint full = False
    cdef bint found = False
    cdef uint64_t turn = 0
    cdef uint32_t point = 0
    cdef int which
    if pool.n_ring:
        if x.http == NULL:
            x.hash = hash_client(&x.peer, pool.hash_key.on)
        point = ring_find(pool.ring, pool.n_ring, x.hash)
    elif pool.n_sequence:
        turn = fl_add64(&pool.live.turn, 1) % pool.n_sequence
    if x.n_tried < TRIES_MAX:
        for which in range(PASS_HEALTHY, PASS_ANY + 1):
            if pool.balance == BALANCE_RING_HASH:
                found = _from_ring(core, x, which, point, &full)
            else:
                found = _from_sequence(core, x, which, turn, &full)
            if found:
                return NEXT
    x.reason = REASON_SERVERS_FULL if full else REASON_NO_SERVER
    return FAIL
