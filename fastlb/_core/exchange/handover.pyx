# A connection that goes from one listener to another, as if that one had accepted it.
from fastlb._core.base.enums cimport (
    LAYER_NONE, PROTOCOL_H2, REASON_LISTENER_FULL, REASON_NO_MEMORY,
)
from fastlb._core.base.gate cimport gate_give, gate_take
from fastlb._core.base.tlsfacts cimport drop_told
from fastlb._core.base.types cimport BindEntry, Core, Exchange
from fastlb._core.exchange.h2connection cimport begin_carrier
from fastlb._core.exchange.lifecycle cimport leave_source
from fastlb._core.ext.atomic cimport fl_count
from fastlb._core.stages.accept cimport (
    begin, belong, have_scratch, is_let_in, secure_or_begin,
)
from fastlb._core.stages.record cimport record_handed
from fastlb._core.stages.tarpit cimport hold
from fastlb._core.tables.live cimport live_wake_engines


cdef bint hand_over(Core* core, Exchange* x) noexcept nogil:
    """To the listener that its route names; False: x.reason."""
    cdef BindEntry* bind = &x.snapshot.binds[x.opening.route.bind]
    x.pool = NULL
    if not have_scratch(core, bind):
        x.reason = REASON_NO_MEMORY
        return False
    if not gate_take(&bind.listener.connections, bind.max_connections):
        x.reason = REASON_LISTENER_FULL
        return False
    record_handed(core, x)
    if gate_give(&x.listener.connections):
        live_wake_engines(core.live)
    fl_count(&bind.listener.counters[core.id].accepted, 1)
    drop_told(&x.client)
    leave_source(x)
    belong(x, bind)
    x.books.begin_ns = 0
    x.opening.route = NULL
    x.client_ip_size = 0
    if not is_let_in(core, x):
        return hold(core, x)
    if x.client.layer != LAYER_NONE:
        if x.opening.protocol == PROTOCOL_H2:
            return begin_carrier(core, x)
        begin(core, x)
        return True
    if bind.tls == NULL and x.opening.protocol == PROTOCOL_H2:
        return begin_carrier(core, x)
    return secure_or_begin(core, x)
