# Exchanges that continue after other exchanges had their turn.
from fastlb._core.base.enums cimport EXCHANGE_QUEUED
from fastlb._core.base.types cimport Core, Exchange


cdef inline void queue(Core* core, Exchange* x) noexcept nogil:
    """Let it go on in this turn's second half or the next."""
    if x.flags & EXCHANGE_QUEUED:
        return
    x.flags |= EXCHANGE_QUEUED
    x.next_run = NULL
    if core.run_last == NULL:
        core.run_first = x
    else:
        core.run_last.next_run = x
    core.run_last = x
