# Hold a client that isn't let in: it gets no answer, and nothing of what it sends is read, so that
# it waits while others are served. It has no place among the connections of its listener, and is
# released when the snapshot that it was held by is no more the latest.
# Reads the bind's access and what the client's socket tells of; writes the gates of connections.
# Ends: AGAIN (it is held), END (the client has left).
from fastlb._core.base.access cimport Access
from fastlb._core.base.enums cimport (
    AGAIN, END, ERROR, HANGUP, PEER_SHUT, REASON_DENIED, REASON_SOURCE_RATE, STAGE_TARPIT, STOP_NO,
)
from fastlb._core.base.gate cimport gate_give, gate_take
from fastlb._core.base.net cimport net_shrink
from fastlb._core.base.parts cimport ListenerCounters
from fastlb._core.base.sys cimport is_low_descriptor
from fastlb._core.base.timers cimport timer_start
from fastlb._core.base.types cimport Core, Exchange
from fastlb._core.ext.atomic cimport fl_count, fl_load32
from fastlb._core.tables.live cimport live_wake_engines


cdef bint hold(Core* core, Exchange* x) noexcept nogil:
    """Hold a client that isn't let in, if its listener wants that and there is a place; False: it
    is to be closed."""
    cdef const Access* access = x.bind.access
    cdef ListenerCounters* counters = &x.listener.counters[core.id]
    if access == NULL or access.tarpit_timer == 0 or fl_load32(&core.stop) != STOP_NO \
            or (x.reason != REASON_DENIED and x.reason != REASON_SOURCE_RATE):
        return False
    if access.tarpit_reports:
        fl_count(&counters.held_reported, 1)
        return False
    # (those that are held leave half of the descriptors to others)
    if not is_low_descriptor(x.client.fd) or not gate_take(&x.listener.held, access.tarpit_max):
        fl_count(&counters.not_held, 1)
        return False
    fl_count(&counters.held, 1)
    x.stage = STAGE_TARPIT
    timer_start(core, &x.timer, access.tarpit_timer)
    net_shrink(x.client.fd)
    if gate_give(&core.live.connections) | gate_give(&x.listener.connections):
        live_wake_engines(core.live)
    return True


cdef int tarpit_step(Core* core, Exchange* x) noexcept nogil:
    return END if x.client.ready & (PEER_SHUT | ERROR | HANGUP) else AGAIN
