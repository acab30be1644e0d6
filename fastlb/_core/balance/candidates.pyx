# Which servers of a pool may be picked, and a place at the server that is picked.
from libc.math cimport ceil
from libc.stdint cimport int32_t, uint32_t, uint64_t

from fastlb._core.base.enums cimport (
    CONDITION_DOWN, CONDITION_DRAINING, CONDITION_MAINTENANCE, CONDITION_REMOVED,
    CONDITION_WARMING, TRY_HOLDS_SERVER, PASS_ANY, PASS_BOUNDED, PASS_GENTLE, SERVER_UP,
)
from fastlb._core.base.gate cimport gate_take
from fastlb._core.base.limits cimport FAILING_PAUSE_MS, WARM_SHARE_MIN
from fastlb._core.base.random cimport random_below
from fastlb._core.base.types cimport Core, Exchange, Group, PoolEntry, ServerEntry, ServerLive
from fastlb._core.ext.atomic cimport fl_and32, fl_cas64, fl_load32, fl_load64, unlikely


cdef bint was_tried(Exchange* x, uint32_t server) noexcept nogil:
    cdef int i
    for i in range(x.n_tried):
        if x.tried[i] == server:
            return True
    return False


cdef bint _is_barred(Core* core, const PoolEntry* pool, ServerLive* live, int bits,
                     int which) noexcept nogil:
    """Whether what is known of a server speaks against sending it more."""
    cdef uint64_t since_ms, begun_ms
    if bits & (CONDITION_DRAINING | CONDITION_MAINTENANCE):
        return True
    if bits & CONDITION_REMOVED and which != PASS_ANY:
        return True                     # (who still goes by an old snapshot may know no other)
    if bits & CONDITION_DOWN:           # believed while enough others are left
        return fl_load32(&pool.live.panic) == 0
    begun_ms = fl_load64(&live.warm_since_ms)
    since_ms = core.now_ms - begun_ms if core.now_ms > begun_ms else 0
    if since_ms >= live.slow_start_ms:
        fl_and32(&live.conditions, ~CONDITION_WARMING)
        return False
    # Its share grows evenly, so it is passed over by chance, while there are others.
    return which == PASS_GENTLE and random_below(core, live.slow_start_ms) >= (
        since_ms if since_ms * 100 > <uint64_t> live.slow_start_ms * WARM_SHARE_MIN
        else <uint64_t> live.slow_start_ms * WARM_SHARE_MIN // 100)


cdef inline bint _may_pick(Core* core, Exchange* x, ServerEntry* entry, int which) noexcept nogil:
    cdef int bits = fl_load32(&entry.live.conditions)
    return not (entry.weight == 0
                or (unlikely(bits != 0) and _is_barred(core, x.pool, entry.live, bits, which))
                or (x.n_tried and was_tried(x, <uint32_t> (entry - x.pool.servers))))


cdef int chance_of(Core* core, Exchange* x, ServerEntry* entry, int which) noexcept nogil:
    """Whether a server is worth comparing."""
    if not _may_pick(core, x, entry, which):
        return CHANCE_NO
    if unlikely(fl_load32(&entry.live.state) != SERVER_UP):
        return CHANCE_TRIAL if core.now_ms >= fl_load64(&entry.live.retry_at_ms) else CHANCE_NO
    return CHANCE_YES


cdef bint _take_share(Exchange* x, const Group* group, ServerEntry* entry) noexcept nogil:
    """A place, unless the server would have more than bounded_load times its share of all that is
    in flight, with this one (Mirrokni, Thorup, Zadimoghaddam: Consistent Hashing with Bounded
    Loads, 2016)."""
    cdef PoolEntry* pool = x.pool
    cdef int32_t total = fl_load32(&pool.live.in_flight.count)
    # (a billionth less, so that 1.1 * 30 is 33)
    cdef int limit = <int> ceil(
        pool.bounded_load * total * entry.weight / group.total_weight - 1e-9)
    if entry.max_connections and entry.max_connections < limit:
        limit = entry.max_connections
    return gate_take(&entry.live.connections, limit)


cdef bint take(Core* core, Exchange* x, const Group* group, uint32_t server, int which,
               bint* full) noexcept nogil:
    """Take a place at a server of a group, if it may be picked in this pass. The pool's own place
    is taken."""
    cdef ServerEntry* entry = &group.servers[server]
    if not _may_pick(core, x, entry, which):
        return False
    return take_place(core, x, group, entry, which, full)


cdef bint take_place(Core* core, Exchange* x, const Group* group, ServerEntry* entry, int which,
                     bint* full) noexcept nogil:
    """The same at one that may be picked, if it isn't failing, and has room."""
    cdef ServerLive* live = entry.live
    cdef uint64_t retry_at_ms
    if unlikely(fl_load32(&live.state) != SERVER_UP) and which != PASS_ANY:
        # One connection a pause finds out whether it is back; all others go elsewhere.
        retry_at_ms = fl_load64(&live.retry_at_ms)
        if core.now_ms < retry_at_ms or not fl_cas64(
                &live.retry_at_ms, retry_at_ms, core.now_ms + FAILING_PAUSE_MS):
            return False
    if which == PASS_BOUNDED:
        if not _take_share(x, group, entry):
            return False
    elif not gate_take(&live.connections, entry.max_connections):
        full[0] = True
        return False
    x.attempt.entry = entry
    x.attempt.target = live
    x.attempt.counters = &live.counters[core.id]
    x.attempt.flags |= TRY_HOLDS_SERVER
    return True


cdef bint take_in_turn(Core* core, Exchange* x, const Group* group, int which, uint64_t turn,
                       bint* full) noexcept nogil:
    """The first that can be had of the sequence, from a place on."""
    cdef uint32_t i
    for i in range(group.n_sequence):
        if take(core, x, group, group.sequence[turn], which, full):
            return True
        if unlikely(which == PASS_GENTLE):      # (or whoever comes next would get it all)
            turn = random_below(core, group.n_sequence)
        else:
            turn = turn + 1 if turn + 1 < group.n_sequence else 0
    return False
