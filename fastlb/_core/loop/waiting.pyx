# How an engine waits for events: asleep, awake, or for microseconds.
from libc.stdint cimport uint64_t

from fastlb._core.base.clock cimport engine_ns
from fastlb._core.base.limits cimport SPIN_AFTER, SPIN_EVENTS_MAX, SPIN_NS, SPIN_PENALTY
from fastlb._core.base.poller cimport poller_wait, poller_wait_ns
from fastlb._core.base.sys cimport clock_ns
from fastlb._core.base.timers cimport timers_next_ms
from fastlb._core.base.types cimport Core
from fastlb._core.ext.atomic cimport unlikely


cdef int timeout_ms_of(Core* core) noexcept nogil:
    """How long the next turn may wait; -1: without end."""
    cdef uint64_t due = timers_next_ms(core)
    if core.run_first != NULL:
        return 0
    if core.resume_ms and (due == 0 or core.resume_ms < due):
        due = core.resume_ms
    if due == 0:
        return -1
    if due <= core.now_ms:
        return 0
    return <int> (due - core.now_ms if due - core.now_ms < 3600000 else 3600000)


cdef int _wait_to_look(Core* core, int timeout_ms) noexcept nogil:
    """The same while a listener of datagrams rests, which is a matter of microseconds."""
    cdef uint64_t now_ns = engine_ns(core), look_ns = core.datagrams.look_ns
    cdef uint64_t left_ns = look_ns - now_ns if look_ns > now_ns else 0
    if left_ns == 0 or (timeout_ms >= 0 and <uint64_t> timeout_ms * 1000000 <= left_ns):
        return poller_wait(&core.poller, timeout_ms if left_ns else 0)
    return poller_wait_ns(&core.poller, left_ns)


cdef int wait_for_events(Core* core, int timeout_ms) noexcept nogil:
    """How many events there are. Where one or two peers answer each other at once, wait awake:
    to fall asleep and be woken takes longer than their answers."""
    cdef uint64_t begin
    cdef int n
    if unlikely(core.datagrams != NULL and core.datagrams.look_ns != 0):
        return _wait_to_look(core, timeout_ms)
    if not core.busy_poll or timeout_ms == 0 or core.poller.n_ready > SPIN_EVENTS_MAX:
        return poller_wait(&core.poller, timeout_ms)
    begin = clock_ns()
    if core.quick_waits >= SPIN_AFTER:
        while clock_ns() - begin < SPIN_NS:
            n = poller_wait(&core.poller, 0)
            if n:
                return n
        core.quick_waits = -SPIN_PENALTY
        return poller_wait(&core.poller, timeout_ms)
    n = poller_wait(&core.poller, timeout_ms)
    if clock_ns() - begin < SPIN_NS:
        core.quick_waits += 1
    elif core.quick_waits > 0:
        core.quick_waits = 0
    return n
