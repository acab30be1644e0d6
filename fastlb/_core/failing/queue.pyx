# Requests and connections that wait for a place in a pool: a bounded queue for each engine. A place
# that comes free wakes the engine whose first has waited longest, and who waits stays in its queue
# until it has a place. No wake-up is lost: who joins looks for a place after that, and who gives
# one back looks for those who wait after that.
from libc.stdint cimport uint32_t, uint64_t

from fastlb._core.base.enums cimport EXCHANGE_SHADOW
from fastlb._core.base.gate cimport gate_give, gate_take
from fastlb._core.base.limits cimport ENGINES_MAX, PRIORITIES
from fastlb._core.base.queue cimport queue
from fastlb._core.base.sys cimport event_set
from fastlb._core.base.timers cimport timer_cancel, timer_start
from fastlb._core.base.types cimport Core, Exchange, PendingQueue, PoolLive, Snapshot
from fastlb._core.ext.atomic cimport fl_load32, fl_load64, fl_store64, likely


cdef inline int _priority(const Exchange* x) noexcept nogil:
    return x.http.route.priority if x.http != NULL else 1


cdef inline Exchange* _first(const PendingQueue* waiting) noexcept nogil:
    cdef int priority
    for priority in range(PRIORITIES):
        if waiting.first[priority] != NULL:
            return waiting.first[priority]
    return NULL


cdef inline void _tell(PendingQueue* waiting) noexcept nogil:
    """Let other engines know whose turn it is here."""
    cdef Exchange* first = _first(waiting)
    fl_store64(&waiting.turn, first.pending_turn if first != NULL else 0)


cdef bint is_next(const Exchange* x) noexcept nogil:
    """Whether nobody of this engine comes before it."""
    return _first(x.pending) == x


cdef bint may_wait(Exchange* x) noexcept nogil:
    """Take one of the pool's places to wait in."""
    return (x.pool.pending_max > 0 and not x.flags & EXCHANGE_SHADOW
            and gate_take(&x.pool.live.pending, x.pool.pending_max))


cdef void wait_for_place(Core* core, Exchange* x) noexcept nogil:
    cdef PendingQueue* waiting = &x.pool.live.queues[core.id]
    cdef int priority = _priority(x)
    x.pending = waiting
    x.pending_turn = <uint64_t> priority << 56 | core.now_ms
    x.pending_after = NULL
    x.pending_before = waiting.last[priority]
    if x.pending_before != NULL:
        x.pending_before.pending_after = x
    else:
        waiting.first[priority] = x
    waiting.last[priority] = x
    _tell(waiting)
    timer_start(core, &x.timer, x.pool.pending_timer)


cdef void stop_waiting(Exchange* x) noexcept nogil:
    cdef PendingQueue* waiting = x.pending
    cdef int priority
    if likely(waiting == NULL):
        return
    priority = <int> (x.pending_turn >> 56)
    if x.pending_before != NULL:
        x.pending_before.pending_after = x.pending_after
    else:
        waiting.first[priority] = x.pending_after
    if x.pending_after != NULL:
        x.pending_after.pending_before = x.pending_before
    else:
        waiting.last[priority] = x.pending_before
    x.pending = NULL
    x.pending_before = x.pending_after = NULL
    _tell(waiting)
    timer_cancel(&x.timer)
    gate_give(&x.pool.live.pending)


cdef void wake_pending(Core* core, PoolLive* live) noexcept nogil:
    """A place is free: let whoever has waited longest, of the highest priority, look for it."""
    cdef uint64_t turn, least = 0
    cdef int i, engine = -1
    if likely(fl_load32(&live.pending.count) == 0):
        return
    for i in range(ENGINES_MAX):
        if core.live.wake_fds[i] < 0:
            continue
        turn = fl_load64(&live.queues[i].turn)
        if turn and (engine < 0 or turn < least):
            least = turn
            engine = i
    if engine == core.id:
        queue(core, _first(&live.queues[engine]))
    elif engine >= 0:
        event_set(core.live.wake_fds[engine])


cdef void wake_own_pending(Core* core) noexcept nogil:
    """Another engine says that there may be a place, in some pool."""
    cdef Snapshot* snapshot = <Snapshot*> core.snapshot
    cdef Exchange* first
    cdef uint32_t i
    if snapshot == NULL:
        return
    for i in range(snapshot.n_pools):
        first = _first(&snapshot.pools[i].live.queues[core.id])
        if first != NULL:
            queue(core, first)
