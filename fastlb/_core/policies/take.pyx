# What all policies have in common: who may be picked, and a place at the one that is.
from libc.math cimport ceil
from libc.stdint cimport int32_t, uint32_t, uint64_t

from fastlb._core.base.enums cimport EXCHANGE_HOLDS_SERVER, SERVER_UP
from fastlb._core.base.gate cimport gate_take
from fastlb._core.base.limits cimport FAILING_PAUSE_MS
from fastlb._core.base.types cimport Core, Exchange, PoolEntry, ServerEntry, ServerLive
from fastlb._core.ext.atomic cimport fl_cas64, fl_load32, fl_load64, unlikely


cdef bint was_tried(Exchange* x, uint32_t server) noexcept nogil:
    cdef int i
    for i in range(x.n_tried):
        if x.tried[i] == server:
            return True
    return False


cdef inline bint _is_down(const PoolEntry* pool, ServerLive* live) noexcept nogil:
    """Whether health checks say so, and enough others are left to believe them."""
    return unlikely(fl_load32(&live.down) != 0) and fl_load32(&pool.live.panic) == 0


cdef int chance_of(Core* core, Exchange* x, uint32_t server) noexcept nogil:
    """Whether a server is worth comparing."""
    cdef ServerEntry* entry = &x.pool.servers[server]
    if entry.weight == 0 or _is_down(x.pool, entry.live) or (
            x.n_tried and was_tried(x, server)):
        return CHANCE_NO
    if unlikely(fl_load32(&entry.live.state) != SERVER_UP):
        return CHANCE_TRIAL if core.now_ms >= fl_load64(&entry.live.retry_at_ms) else CHANCE_NO
    return CHANCE_YES


cdef bint _take_share(Exchange* x, ServerEntry* entry) noexcept nogil:
    """A place, unless the server would have more than bounded_load times its share of all that is
    in flight, with this one (Mirrokni, Thorup, Zadimoghaddam: Consistent Hashing with Bounded
    Loads, 2016)."""
    cdef PoolEntry* pool = x.pool
    cdef int32_t total = fl_load32(&pool.live.in_flight.count)
    # (a billionth less, so that 1.1 * 30 is 33)
    cdef int limit = <int> ceil(
        pool.bounded_load * total * entry.weight / pool.total_weight - 1e-9)
    if entry.max_connections and entry.max_connections < limit:
        limit = entry.max_connections
    return gate_take(&entry.live.connections, limit)


cdef bint take(Core* core, Exchange* x, uint32_t server, int which, bint* full) noexcept nogil:
    """Take a place at a server, if it may be picked in this pass. The pool's own is taken."""
    cdef ServerEntry* entry = &x.pool.servers[server]
    cdef ServerLive* live = entry.live
    cdef uint64_t retry_at_ms
    if entry.weight == 0 or _is_down(x.pool, live) or (
            x.n_tried and was_tried(x, server)):
        return False
    if unlikely(fl_load32(&live.state) != SERVER_UP) and which != PASS_ANY:
        # One connection a pause finds out whether it is back; all others go elsewhere.
        retry_at_ms = fl_load64(&live.retry_at_ms)
        if core.now_ms < retry_at_ms or not fl_cas64(
                &live.retry_at_ms, retry_at_ms, core.now_ms + FAILING_PAUSE_MS):
            return False
    if which == PASS_BOUNDED:
        if not _take_share(x, entry):
            return False
    elif not gate_take(&live.connections, entry.max_connections):
        full[0] = True
        return False
    x.entry = entry
    x.target = live
    x.counters = &live.counters[core.id]
    x.flags |= EXCHANGE_HOLDS_SERVER
    return True


cdef bint take_in_turn(Core* core, Exchange* x, int which, uint64_t turn,
                       bint* full) noexcept nogil:
    """The first that can be had of the sequence, from a place on."""
    cdef PoolEntry* pool = x.pool
    cdef uint32_t i
    for i in range(pool.n_sequence):
        if take(core, x, pool.sequence[turn], which, full):
            return True
        turn = turn + 1 if turn + 1 < pool.n_sequence else 0
    return False
