# Ask a Python function where a request goes, on the engine's thread or on the control plane.
# request: asks, and goes by what was decided: ANSWER, ASK, AGAIN (more of the body), or NEXT, to
# x.pool where the function named one.
from libc.stdint cimport uint32_t, uint64_t

from fastlb._core.base.enums cimport AGAIN, ASK
from fastlb._core.base.filters cimport FILTER_POLICY, FilterKind, register_filter
from fastlb._core.base.head cimport BODY_CHUNKED, Head, Text
from fastlb._core.base.limits cimport CACHED_KEY_MAX
from fastlb._core.base.routing cimport DECISION_FAILED, Filter, Match, Policy
from fastlb._core.base.types cimport Core, Exchange
from fastlb._core.facts.registry cimport fact_find
from fastlb._core.http.content cimport content_begin
from fastlb._core.http.decision cimport go_by_decision
from fastlb._core.policy.call cimport ask
from fastlb._core.policy.kept cimport find_kept, keep_decision
from fastlb._core.tables.httptable cimport policy_table


cdef bint _body_is_here(const Policy* policy, const Head* head, Match* match) noexcept nogil:
    """As much of it as the policy wants to see."""
    cdef uint64_t wanted
    match.shown.size = 0
    if policy.body_max == 0 or head.body.done:
        return True
    if head.body.kind == BODY_CHUNKED:
        return content_begin(head, match, policy.body_max, &match.shown)
    wanted = head.body.left if head.body.left < policy.body_max else policy.body_max
    if match.after.size >= wanted:
        return True
    match.wanted = <uint32_t> wanted
    return False


cdef bint _find_key(Core* core, Exchange* x, const Policy* policy, Text* key) noexcept nogil:
    """Whether decisions are kept for requests like this one, and what they have in common."""
    return (policy.cache_on.fact and fact_find(core, x, &policy.cache_on, key)
            and key.size <= CACHED_KEY_MAX)


cdef int _on_request(Core* core, Exchange* x, const Filter* filter, void* state) noexcept nogil:
    cdef Policy* policy = <Policy*> filter.table
    cdef Text key
    if x.decision == NULL:
        if _find_key(core, x, policy, &key):
            x.decision = find_kept(core, policy, key)
            if x.decision != NULL:
                return go_by_decision(core, x, policy)
        if not _body_is_here(policy, &core.http.head, &core.http.match):
            return AGAIN
        x.policy = policy
        if core.rehearses or not ask(core, x):
            return ASK
        x.http.begin_ms = core.now_ms
    if x.decision.kind != DECISION_FAILED and not core.rehearses \
            and _find_key(core, x, policy, &key):
        keep_decision(core, policy, key, x.decision)
    return go_by_decision(core, x, policy)


cdef void* _policy_table(object room, object spec) except? NULL:
    return policy_table(room, spec)


cdef FilterKind _kind
_kind.request = _on_request
register_filter(FILTER_POLICY, "policy", &_kind, _policy_table)
