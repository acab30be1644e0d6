# The policy of a TCP listener or route, and the first bytes that it may see. The bytes go on to the
# server as they came.
from libc.errno cimport EAGAIN
from libc.stdint cimport uint32_t
from libc.string cimport memcpy

from fastlb._core.base.enums cimport (
    AGAIN, ERROR, EXCHANGE_HAS_MORE, FAIL, NEXT, READABLE, REASON_CLIENT_RESET, REASON_NO_MEMORY,
    REASON_NO_ROUTE, REASON_POLICY, REASON_RESPONDED, STAGE_POLICY, STREAM_EOF,
)
from fastlb._core.base.flow cimport count_bytes, flow_read
from fastlb._core.base.mem cimport chunk_bytes, chunk_class, chunk_size, give_input, take_held
from fastlb._core.base.net cimport address_text
from fastlb._core.base.routing cimport DECISION_CLOSE, DECISION_MORE, Policy
from fastlb._core.base.timers cimport timer_cancel, timer_start
from fastlb._core.base.types cimport Chunk, Core, Exchange
from fastlb._core.ext.atomic cimport fl_count
from fastlb._core.http.decision cimport bind_as_decided, drop_decision, failed, go_by_decision
from fastlb._core.policy.call cimport ask, has_left


cdef uint32_t _size(const Exchange* x) noexcept nogil:
    return x.input.end if x.input != NULL else 0


cdef bint _have_room(Core* core, Exchange* x, const Policy* policy) noexcept nogil:
    """For all that it may see; what was read before may lie in a smaller chunk."""
    cdef Chunk* bigger
    if x.input != NULL and chunk_size(x.input.klass) >= policy.body_max:
        return True
    bigger = take_held(core, chunk_class(policy.body_max))
    if bigger == NULL:
        return False
    if x.input != NULL:
        memcpy(chunk_bytes(bigger), chunk_bytes(x.input), x.input.end)
        bigger.end = x.input.end
        give_input(core, x)
    x.input = bigger
    return True


cdef bint _read(Core* core, Exchange* x, const Policy* policy) noexcept nogil:
    """As much as the policy may see and is here; False: the connection has ended, as x.reason
    says."""
    cdef ssize_t n
    while x.client.ready & READABLE and not x.client.flags & STREAM_EOF \
            and _size(x) < policy.body_max:
        if not _have_room(core, x, policy):
            x.reason = REASON_NO_MEMORY
            return False
        n = flow_read(&x.client, chunk_bytes(x.input) + x.input.end,
                      policy.body_max - x.input.end)
        if n < 0 and n != -EAGAIN:
            x.reason = REASON_CLIENT_RESET
            return False
        if n > 0:
            x.input.end += <uint32_t> n
    if x.client.flags & STREAM_EOF or _size(x) >= policy.body_max:
        x.opening.all_seen = True
    return True


cdef int _go(Core* core, Exchange* x, const Policy* policy) noexcept nogil:
    """As it decided."""
    if x.decision.kind == DECISION_MORE:
        drop_decision(x)
        if not x.opening.all_seen:
            x.wanted = _size(x)
            timer_start(core, &x.timer, policy.first_timer)
            if x.client.ready & READABLE:
                x.flags |= EXCHANGE_HAS_MORE
            return AGAIN
        fl_count(&policy.live.counters[core.id].failures, 1)
        x.decision = failed()
    if x.decision.kind == DECISION_CLOSE:
        x.reason = REASON_RESPONDED
        return FAIL
    if go_by_decision(core, x, policy) != NEXT:
        x.reason = REASON_POLICY
        return FAIL
    if x.pool == NULL:
        x.reason = REASON_NO_ROUTE
        return FAIL
    bind_as_decided(x)
    drop_decision(x)
    timer_cancel(&x.timer)
    return NEXT


cdef int first_step(Core* core, Exchange* x) noexcept nogil:
    """NEXT (to x.pool), AGAIN, or FAIL (x.reason; it may be that the policy wants it closed)."""
    cdef int verdict = _step(core, x)
    if verdict == FAIL:
        x.pool = NULL               # (it went to none)
    return verdict


cdef int _step(Core* core, Exchange* x) noexcept nogil:
    cdef Policy* policy = x.policy
    if x.stage == STAGE_POLICY:
        return FAIL if has_left(x) else AGAIN
    if x.client.ready & ERROR:
        x.reason = REASON_CLIENT_RESET
        return FAIL
    if x.decision != NULL:
        return _go(core, x, policy)
    if not _read(core, x, policy):
        return FAIL
    if not x.opening.all_seen and _size(x) <= x.wanted:
        return AGAIN
    if x.client_ip_size == 0:
        x.client_ip_size = address_text(&x.peer, x.client_ip)
    return _go(core, x, policy) if ask(core, x) else AGAIN


cdef void pass_on_first(Core* core, Exchange* x) noexcept nogil:
    """A server is there: what was read goes to it before all else."""
    count_bytes(x, &x.server, x.input.end - x.input.start)
    fl_count(&core.counters.chunk_bytes, chunk_size(x.input.klass))
    x.server.pending = x.input
    x.input = NULL
