# Timeouts: one FIFO list for each length, so that starting and expiring are O(1).
from libc.stdint cimport uint16_t, uint64_t

from fastlb._core.base.parts cimport Timer, TimerList
from fastlb._core.base.types cimport Core


cdef inline void timer_cancel(Timer* timer) noexcept nogil:
    if timer.link.next != NULL:
        timer.link.prev.next = timer.link.next
        timer.link.next.prev = timer.link.prev
        timer.link.next = NULL


cdef inline void timer_start(Core* core, Timer* timer, int slot) noexcept nogil:
    cdef TimerList* timers = &core.timers[slot]
    timer_cancel(timer)
    timer.slot = <uint16_t> slot
    if timers.length_ms == 0:           # slot of a timeout that is switched off
        return
    timer.deadline_ms = core.now_ms + timers.length_ms
    timer.link.prev = timers.head.prev
    timer.link.next = &timers.head
    timers.head.prev.next = &timer.link
    timers.head.prev = &timer.link


cdef inline void timer_touch(Core* core, Timer* timer) noexcept nogil:
    """Start the running timeout again: something moved."""
    if (timer.link.next != NULL
            and timer.deadline_ms != core.now_ms + core.timers[timer.slot].length_ms):
        timer_start(core, timer, timer.slot)


cdef inline Timer* timer_expired(Core* core, int slot) noexcept nogil:
    """The longest waiting timer of a list if its time is over, else NULL."""
    cdef TimerList* timers = &core.timers[slot]
    cdef Timer* timer
    if timers.head.next == &timers.head:
        return NULL
    timer = <Timer*> timers.head.next       # the link is first in it
    return timer if timer.deadline_ms <= core.now_ms else NULL


cdef inline uint64_t timers_next_ms(Core* core) noexcept nogil:
    """When the first timeout is due; 0: none is running."""
    cdef uint64_t first = 0
    cdef int slot
    cdef Timer* timer
    for slot in range(core.n_timers):
        if core.timers[slot].head.next != &core.timers[slot].head:
            timer = <Timer*> core.timers[slot].head.next
            if first == 0 or timer.deadline_ms < first:
                first = timer.deadline_ms
    return first
