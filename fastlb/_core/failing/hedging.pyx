# When a waiting request is sent to a second server too (Dean, Barroso: The Tail at Scale, 2013).
# That is after a set delay, or after one that only some of the answers take.
from libc.stdint cimport uint32_t, uint64_t

from fastlb._core.base.enums cimport EXCHANGE_SHADOW, HTTP_UPGRADE
from fastlb._core.base.head cimport METHOD_GET, METHOD_HEAD, METHOD_OPTIONS, METHOD_TRACE
from fastlb._core.base.limits cimport DELAYS, DELAYS_KNOWN, DELAYS_LOOK, HEDGES_MAX
from fastlb._core.base.parts cimport Delays
from fastlb._core.base.types cimport Core, Exchange, PoolEntry
from fastlb._core.ext.atomic cimport fl_count, likely
from fastlb._core.failing.budget cimport budget_take
from fastlb._core.failing.retry cimport has_another, is_at_hand


cdef uint32_t _place(Core* core, const PoolEntry* pool, uint64_t us) noexcept nogil:
    """Of the shortest delay that is as long."""
    cdef uint32_t low = 0, high = DELAYS - 1, middle
    while low < high:
        middle = (low + high) // 2
        if us <= <uint64_t> 1000 * core.live.timer_ms[pool.hedge.timers[middle]]:
            high = middle
        else:
            low = middle + 1
    return low


cdef void _look(Delays* delays, uint32_t percentile) noexcept nogil:
    """Where the percentile is by now; and let old answers count for less."""
    cdef uint32_t i, sum = 0
    cdef uint64_t wanted = <uint64_t> delays.n * percentile
    for i in range(<uint32_t> DELAYS):
        sum += delays.counts[i]
        if <uint64_t> sum * 1000 >= wanted:
            break
    delays.place = i
    delays.known = True
    delays.unseen = 0
    if delays.n >= DELAYS_KNOWN:
        delays.n = 0
        for i in range(<uint32_t> DELAYS):
            delays.counts[i] //= 2
            delays.n += delays.counts[i]


cdef void observe_delay(Core* core, const PoolEntry* pool, uint64_t us) noexcept nogil:
    """An answer took so long, or at least so long."""
    cdef Delays* delays = &pool.live.delays[core.id]
    delays.counts[_place(core, pool, us)] += 1
    delays.n += 1
    delays.unseen += 1
    if delays.unseen >= DELAYS_LOOK:
        _look(delays, pool.hedge.percentile)


cdef int hedge_timer(Core* core, const PoolEntry* pool) noexcept nogil:
    """The slot of how long a request waits before a second server is asked; 0: for ever."""
    cdef const Delays* delays
    if likely(pool.hedge.percentile == 0):
        return pool.hedge.timer
    delays = &pool.live.delays[core.id]
    return pool.hedge.timers[delays.place] if delays.known else 0


cdef bint may_hedge(const Exchange* x) noexcept nogil:
    """Whether doing it twice changes nothing (RFC 9110, 9.2.1), and all of it is at hand. One on a
    connection that its server authenticates is good there alone."""
    cdef int method = x.http.method
    return ((method == METHOD_GET or method == METHOD_HEAD or method == METHOD_OPTIONS
             or method == METHOD_TRACE) and not x.http.flags & HTTP_UPGRADE
             and not x.attempt.upstream.is_bound
            and not x.flags & EXCHANGE_SHADOW and x.hedge == NULL and is_at_hand(x.http))


cdef bint afford_hedge(Core* core, Exchange* x) noexcept nogil:
    """Whether there is a second server, and the budget for it; it is paid for then."""
    if core.counters.hedges >= HEDGES_MAX or not has_another(x):
        return False
    if not budget_take(&x.pool.live.hedge_budgets[core.id], core.now_ms, x.pool.hedge.budget, 0):
        fl_count(&core.counters.hedges_denied, 1)
        return False
    fl_count(&core.counters.hedged, 1)
    return True
