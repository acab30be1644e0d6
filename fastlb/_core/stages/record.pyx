# Count how an exchange ended. Reads it; writes counters, and the pool's state when nobody answered.
from fastlb._core.base.enums cimport (
    EXCHANGE_HOLDS_SERVER, EXCHANGE_HOLDS_SNAPSHOT, EXCHANGE_HTTP, REASON_NO_SERVER,
)
from fastlb._core.base.types cimport Core, Exchange
from fastlb._core.ext.atomic cimport fl_count, fl_exchange32, unlikely
from fastlb._core.tables.live cimport live_notify


cdef void record_step(Core* core, Exchange* x) noexcept nogil:
    fl_count(&core.counters.ended[x.reason], 1)
    fl_count(&x.listener.counters[core.id].closed, 1)
    if x.flags & EXCHANGE_HTTP:
        return
    if unlikely(x.flags & EXCHANGE_HOLDS_SNAPSHOT):
        # It never got as far as the relay.
        fl_count(&x.listener.counters[core.id].refused, 1)
        note_down(core, x)


cdef void note_down(Core* core, Exchange* x) noexcept nogil:
    """Nobody answered: said once, by the control plane."""
    if x.reason == REASON_NO_SERVER and fl_exchange32(&x.pool.live.down, 1) == 0:
        live_notify(core.live)


cdef void record_http(Core* core, Exchange* x) noexcept nogil:
    """Count one request's answer, or that it got none."""
    cdef int status = x.http.status if x.http != NULL else 400
    fl_count(&x.listener.counters[core.id].statuses[status // 100 if status < 600 else 0], 1)
    if x.flags & EXCHANGE_HOLDS_SERVER and (status >= 500 or status == 0):
        fl_count(&x.counters.errors, 1)
