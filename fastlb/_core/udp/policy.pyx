# The policy of a UDP listener: it sees a datagram and says where it goes. It sees the first
# datagram of its session, or each one. One that runs on the control plane is waited for by the
# session, with that datagram; what its client sends meanwhile is dropped.
from libc.stdint cimport uint32_t

from fastlb._core.base.batch cimport batch_bytes
from fastlb._core.base.enums cimport NEXT, REASON_POLICY, REASON_RESPONDED
from fastlb._core.base.mem cimport give_input, take_input
from fastlb._core.base.net cimport address_text
from fastlb._core.base.routing cimport DECISION_CLOSE, DECISION_MORE, Policy
from fastlb._core.base.sessions cimport Datagrams
from fastlb._core.base.types cimport Acceptor, Core, Exchange
from fastlb._core.ext.atomic cimport fl_count, unlikely
from fastlb._core.http.decision cimport bind_as_decided, drop_decision, failed, go_by_decision
from fastlb._core.policy.call cimport ask


cdef int go_by_policy(Core* core, Exchange* x) noexcept nogil:
    """Go by x.decision: CONSULTED_GO (to x.pool), or CONSULTED_NO, as x.reason says."""
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
    said = go_by_policy(core, x)
    give_input(core, x)
    return said
