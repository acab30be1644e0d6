# An exact limit that all engines share: a place is taken before use, and given back.
from libc.stdint cimport int32_t

from fastlb._core.ext.atomic cimport fl_add32, fl_cas32, fl_exchange32, fl_load32

cdef enum:
    GATE_TRIES = 1000           # each in vain only when somebody else moved the gate meanwhile

cdef struct Gate:
    int32_t count
    int32_t waiting             # an engine stopped accepting for it and wants to be woken


cdef inline bint gate_take(Gate* gate, int limit) noexcept nogil:
    """Take a place; False when all `limit` are taken. A limit of 0 is none, and only counts."""
    cdef int32_t n
    cdef int i
    if limit <= 0:
        fl_add32(&gate.count, 1)
        return True
    # Not by adding and taking back: what is taken back would look to others as a place taken, and
    # nobody would wake them.
    for i in range(GATE_TRIES):
        n = fl_load32(&gate.count)
        if n >= limit:
            return False
        if fl_cas32(&gate.count, n, n + 1):
            return True
    return False


cdef inline bint gate_give(Gate* gate) noexcept nogil:
    """Give a place back; True if an engine waits for one and must be woken."""
    fl_add32(&gate.count, -1)
    return fl_load32(&gate.waiting) != 0 and fl_exchange32(&gate.waiting, 0) != 0


cdef inline bint gate_wait(Gate* gate, int limit) noexcept nogil:
    """Ask to be woken; False when a place came free meanwhile."""
    fl_exchange32(&gate.waiting, 1)
    return fl_load32(&gate.count) >= limit
