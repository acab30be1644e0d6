# The policy of a listener of udp: it sees a datagram, the first of its session or each one, and
# says where it goes. One that runs on the control plane is waited for by the session, with that
# datagram; what its client sends meanwhile is dropped.
from libc.stdint cimport uint32_t

from fastlb._core.ask cimport ask
from fastlb._core.base.enums cimport NEXT, REASON_POLICY, REASON_RESPONDED, STAGE_SESSION
from fastlb._core.base.batch cimport batch_bytes
from fastlb._core.base.mem cimport chunk_bytes, give_input, take_input
from fastlb._core.base.net cimport address_text, net_write_datagram, net_write_parts
from fastlb._core.base.routing cimport DECISION_CLOSE, DECISION_MORE, Policy
from fastlb._core.base.sessions cimport DROP_NO_SERVER, DROP_POLICY, DROP_TO_SERVER, Datagrams
from fastlb._core.base.timers cimport timer_start
from fastlb._core.base.types cimport Acceptor, Core, Exchange
from fastlb._core.ext.atomic cimport fl_count, unlikely
from fastlb._core.http.decided cimport bind_as_decided, drop_decision, failed, go_by_decision
from fastlb._core.lifecycle cimport finish
from fastlb._core.sessions cimport (
    await_answer, choose_server, connect_session, drop, hold_session,
)


cdef int _go(Core* core, Exchange* x) noexcept nogil:
    """As it decided."""
    cdef const Policy* policy = x.policy
    if x.decision.kind == DECISION_MORE:        # (there is no more of a datagram)
        fl_count(&policy.live.counters[core.id].failures, 1)
        drop_decision(x)
        x.decision = failed()
    if x.decision.kind == DECISION_CLOSE:
        drop_decision(x)
        x.reason = REASON_RESPONDED
        return CONSULTED_NO
    if go_by_decision(core, x, policy) != NEXT:
        drop_decision(x)
        x.reason = REASON_POLICY
        return CONSULTED_NO
    bind_as_decided(x)
    drop_decision(x)
    return CONSULTED_GO


cdef int consult_session(Core* core, Acceptor* acceptor, Exchange* x, uint32_t slot) noexcept nogil:
    """Ask about what is in a slot: Consulted. x.pool is its listener's, until it says otherwise."""
    cdef Datagrams* datagrams = core.datagrams
    cdef int said
    x.policy = acceptor.bind.policy
    if unlikely(x.session == NULL and not x.policy.is_sync):
        # (who is only looked at for one datagram can't wait; the control plane has said so)
        fl_count(&x.policy.live.counters[core.id].failures, 1)
        x.reason = REASON_POLICY
        return CONSULTED_NO
    x.client_ip_size = address_text(&x.peer, x.client_ip)
    if not take_input(core, x, batch_bytes(&datagrams.incoming, slot),
                      datagrams.incoming.sizes[slot]):
        x.reason = REASON_POLICY
        return CONSULTED_NO
    if not ask(core, x):
        return CONSULTED_WAIT
    said = _go(core, x)
    give_input(core, x)
    return said


cdef void resume_session(Core* core, Exchange* x) noexcept nogil:
    """It has decided, or its time is over: send the datagram that waited."""
    cdef Acceptor* acceptor = <Acceptor*> x.session.acceptor
    cdef long n
    x.stage = STAGE_SESSION
    if not hold_session(core, x) or _go(core, x) != CONSULTED_GO:
        drop(core, acceptor, DROP_POLICY, 1)
        finish(core, x)
        return
    if not choose_server(core, x) or not connect_session(core, x):
        drop(core, acceptor, DROP_NO_SERVER, 1)
        finish(core, x)
        return
    if x.session.header != NULL:
        n = net_write_parts(x.server.fd, x.session.header, x.session.header_size,
                            chunk_bytes(x.input), x.input.end)
    else:
        n = net_write_datagram(x.server.fd, chunk_bytes(x.input), x.input.end)
    if n < 0:
        drop(core, acceptor, DROP_TO_SERVER, 1)
    else:
        x.bytes_in += x.input.end
        fl_count(&x.counters.bytes_to_server, x.input.end)
        fl_count(&x.listener.counters[core.id].datagrams_in, 1)
    give_input(core, x)
    timer_start(core, &x.timer, x.idle_timer)
    await_answer(core, x)
