# What a policy decided about a request or a connection.
from libc.stdint cimport uint16_t, uint32_t, uint64_t
from libc.stdlib cimport free

from fastlb._core.base.enums cimport ANSWER, NEXT, REASON_POLICY, REASON_RESPONDED
from fastlb._core.base.head cimport BODY_CHUNKED, BODY_LENGTH, Head, Text
from fastlb._core.base.routing cimport (
    DECISION_CLOSE, DECISION_FAILED, DECISION_MORE, DECISION_POOL, DECISION_REPLY, DECISION_ROUTE,
    Decision, Match, Policy,
)
from fastlb._core.base.text cimport text_of
from fastlb._core.base.types cimport Core, Exchange, Snapshot
from fastlb._core.ext.atomic cimport fl_count, likely

# Those that say nothing more. They have no users: nobody gives them back.
cdef Decision _ROUTE
cdef Decision _FAILED
cdef Decision _CLOSE
cdef Decision _MORE
_ROUTE.kind = DECISION_ROUTE
_FAILED.kind = DECISION_FAILED
_CLOSE.kind = DECISION_CLOSE
_MORE.kind = DECISION_MORE


cdef Decision* as_the_route_says() noexcept nogil:
    return &_ROUTE


cdef Decision* close_it() noexcept nogil:
    return &_CLOSE


cdef Decision* wants_more() noexcept nogil:
    return &_MORE


cdef Decision* failed() noexcept nogil:
    return &_FAILED


cdef void give_decision(Decision* decision) noexcept nogil:
    if decision.users:
        decision.users -= 1
        if decision.users == 0:
            free(decision)


cdef void drop_decision(Exchange* x) noexcept nogil:
    cdef Decision* decision = x.decision
    if likely(decision == NULL):
        return
    x.decision = NULL
    give_decision(decision)


# --- the request at hand ---

cdef Text shown_body(const Policy* policy, const Head* head, const Match* match) noexcept nogil:
    """The part of the body that the policy sees. What follows the body is the next request's."""
    cdef uint64_t size = 0
    if head.body.kind == BODY_CHUNKED:
        return match.shown
    if head.body.kind == BODY_LENGTH:
        size = head.body.left if head.body.left < policy.body_max else policy.body_max
    return text_of(match.after.at, <uint32_t> size if size < match.after.size else match.after.size)


cdef int go_by_decision(Core* core, Exchange* x, const Policy* policy) noexcept nogil:
    """NEXT (to x.pool, if one was named), or ANSWER: as x.status and x.reason say."""
    cdef Decision* decision = x.decision
    cdef Snapshot* snapshot = x.snapshot
    cdef uint32_t i
    if decision.kind == DECISION_ROUTE:
        return NEXT
    if decision.kind == DECISION_REPLY:
        x.status = decision.reply.status
        x.reason = REASON_RESPONDED
        return ANSWER
    if decision.kind == DECISION_POOL:
        for i in range(snapshot.n_pools):
            if snapshot.pools[i].live == decision.pool:
                x.pool = &snapshot.pools[i]
                return NEXT
        fl_count(&policy.live.counters[core.id].failures, 1)    # it is no more
        drop_decision(x)
        x.decision = &_FAILED
    if policy.on_error >= 0:
        x.pool = &snapshot.pools[policy.on_error]
        return NEXT
    x.status = 503
    x.reason = REASON_POLICY
    return ANSWER


cdef void bind_as_decided(Exchange* x) noexcept nogil:
    """The key or the server that the policy named, of the pool that it named."""
    cdef const Decision* decision = x.decision
    cdef uint32_t i
    if decision.kind != DECISION_POOL:
        return
    if decision.is_hashed:
        x.hash = decision.hash
        x.is_hashed = True
    if decision.server != NULL:
        for i in range(x.pool.n_servers):
            if x.pool.servers[i].live == decision.server:
                x.bound_to = <uint16_t> (i + 1)
                return
