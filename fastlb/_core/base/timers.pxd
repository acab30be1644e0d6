# Timeouts: one FIFO list for each length, so arming, touching and expiring are O(1). An exchange
# waits for one timeout at a time.
from libc.stdint cimport uint64_t

from fastlb._core.base.types cimport Core, Exchange, Link, TimerList


cdef inline Exchange* timer_owner(Link* link) noexcept nogil:
    return <Exchange*> (<char*> link - <size_t> &(<Exchange*> NULL).timer)


cdef inline void timer_cancel(Exchange* x) noexcept nogil:
    if x.timer.next != NULL:
        x.timer.prev.next = x.timer.next
        x.timer.next.prev = x.timer.prev
        x.timer.next = NULL


cdef inline void timer_start(Core* core, Exchange* x, int slot) noexcept nogil:
    cdef TimerList* timers = &core.timers[slot]
    timer_cancel(x)
    x.timer_slot = slot
    if timers.length_ms == 0:           # slot of a timeout that is switched off
        return
    x.deadline_ms = core.now_ms + timers.length_ms
    x.timer.prev = timers.head.prev
    x.timer.next = &timers.head
    timers.head.prev.next = &x.timer
    timers.head.prev = &x.timer


cdef inline void timer_touch(Core* core, Exchange* x) noexcept nogil:
    """Start the running timeout again: something moved."""
    if x.timer.next != NULL and x.deadline_ms != core.now_ms + core.timers[x.timer_slot].length_ms:
        timer_start(core, x, x.timer_slot)


cdef inline Exchange* timer_expired(Core* core, int slot) noexcept nogil:
    """The longest waiting exchange of a list if its time is over, else NULL."""
    cdef TimerList* timers = &core.timers[slot]
    cdef Exchange* x
    if timers.head.next == &timers.head:
        return NULL
    x = timer_owner(timers.head.next)
    return x if x.deadline_ms <= core.now_ms else NULL


cdef inline uint64_t timers_next_ms(Core* core) noexcept nogil:
    """When the first timeout is due; 0: none is running."""
    cdef uint64_t first = 0
    cdef int slot
    cdef Exchange* x
    for slot in range(core.n_timers):
        if core.timers[slot].head.next != &core.timers[slot].head:
            x = timer_owner(core.timers[slot].head.next)
            if first == 0 or x.deadline_ms < first:
                first = x.deadline_ms
    return first
