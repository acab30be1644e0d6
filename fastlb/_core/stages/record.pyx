# Count how an exchange ended. Reads it; writes counters, and the pool's state when nobody answered.
from fastlb._core.base.types cimport (
    EXCHANGE_HOLDS_SNAPSHOT, REASON_NO_SERVER, Core, Exchange,
)
from fastlb._core.ext.atomic cimport fl_count, fl_exchange32, unlikely
from fastlb._core.tables.live cimport live_notify


cdef void record_step(Core* core, Exchange* x) noexcept nogil:
    fl_count(&core.counters.ended[x.reason], 1)
    fl_count(&x.listener.counters[core.id].closed, 1)
    if unlikely(x.flags & EXCHANGE_HOLDS_SNAPSHOT):
        # It never got as far as the relay.
        fl_count(&x.listener.counters[core.id].refused, 1)
        if x.reason == REASON_NO_SERVER and fl_exchange32(&x.bind.pool.live.down, 1) == 0:
            live_notify(core.live)
