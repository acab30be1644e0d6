# What a policy decided about a request, and decisions that are kept for a while.
from libc.stdint cimport uint16_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free, malloc
from libc.string cimport memcpy

from fastlb._core.base.enums cimport AGAIN, ANSWER, ASK, NEXT, REASON_POLICY, REASON_RESPONDED
from fastlb._core.base.head cimport BODY_CHUNKED, BODY_LENGTH, Head, Text
from fastlb._core.base.limits cimport CACHED_KEY_MAX, CACHED_MAX, CACHED_WAYS
from fastlb._core.base.questions cimport Cached
from fastlb._core.base.routing cimport (
    DECISION_CLOSE, DECISION_FAILED, DECISION_MORE, DECISION_POOL, DECISION_REPLY, DECISION_ROUTE,
    Decision, Match, Policy, Route,
)
from fastlb._core.base.text cimport equal, hash_bytes, hash_seed, mix64, text_of
from fastlb._core.base.types cimport Core, Exchange, Snapshot
from fastlb._core.ext.atomic cimport fl_count, likely
from fastlb._core.facts.registry cimport fact_find
from fastlb._core.http.content cimport content_begin

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


# --- decisions that hold for a while: in sets of CACHED_WAYS, by their key's hash ---

cdef uint64_t _hash(const Policy* policy, Text key) noexcept nogil:
    return mix64(hash_bytes(hash_seed(), key.at, key.size) + policy.id)


cdef bint _is(const Cached* cached, const Policy* policy, uint64_t hash, Text key) noexcept nogil:
    return (cached.decision != NULL and cached.hash == hash and cached.policy == policy.id
            and equal(cached.key, cached.key_size, key.at, key.size))


cdef Decision* _find(Core* core, const Policy* policy, Text key) noexcept nogil:
    cdef uint64_t hash = _hash(policy, key)
    cdef Cached* cached
    cdef uint32_t i
    if core.cached == NULL:
        return NULL
    cached = &core.cached[hash % (CACHED_MAX // CACHED_WAYS) * CACHED_WAYS]
    for i in range(<uint32_t> CACHED_WAYS):
        if _is(&cached[i], policy, hash, key):
            if core.now_ms >= cached[i].expires_ms:
                return NULL
            fl_count(&policy.live.counters[core.id].cached, 1)
            if cached[i].decision.users:
                cached[i].decision.users += 1
            return cached[i].decision
    return NULL


cdef void _forget(Cached* cached) noexcept nogil:
    if cached.decision != NULL:
        give_decision(cached.decision)
        free(cached.key)
        cached.decision = NULL
        cached.key = NULL


cdef void _keep(Core* core, const Policy* policy, Text key, Decision* decision) noexcept nogil:
    """In the place of the same key, of none, or of the one that ends first."""
    cdef uint64_t hash = _hash(policy, key)
    cdef Cached* cached
    cdef Cached* place
    cdef uint32_t i
    if core.cached == NULL:
        core.cached = <Cached*> calloc(CACHED_MAX, sizeof(Cached))
        if core.cached == NULL:
            return
    cached = &core.cached[hash % (CACHED_MAX // CACHED_WAYS) * CACHED_WAYS]
    place = cached
    for i in range(<uint32_t> CACHED_WAYS):
        if _is(&cached[i], policy, hash, key):
            place = &cached[i]
            break
        if place.decision != NULL and (
                cached[i].decision == NULL or cached[i].expires_ms < place.expires_ms):
            place = &cached[i]
    _forget(place)
    place.key = <unsigned char*> malloc(key.size)
    if place.key == NULL:
        return
    memcpy(place.key, key.at, key.size)
    place.key_size = key.size
    place.hash = hash
    place.policy = policy.id
    place.expires_ms = core.now_ms + policy.cache_ms
    place.decision = decision
    if decision.users:
        decision.users += 1


cdef void drop_cached(Core* core) noexcept nogil:
    """All: another configuration may mean something else by the same names."""
    cdef uint32_t i
    if core.cached == NULL:
        return
    for i in range(<uint32_t> CACHED_MAX):
        _forget(&core.cached[i])
    free(core.cached)
    core.cached = NULL


# --- the request at hand ---

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


cdef int consult(Core* core, Exchange* x, Route* route) noexcept nogil:
    """What the route's policy says: NEXT (to x.pool; NULL: as the route says), ANSWER, ASK (it has
    to be asked) or AGAIN (once more of the body is here)."""
    cdef Policy* policy = route.policy
    cdef Match* match = &core.http.match
    cdef Text key
    cdef bint keeps = (policy.cache_on.fact and fact_find(core, x, &policy.cache_on, &key)
                       and key.size <= CACHED_KEY_MAX)
    x.pool = NULL
    if x.decision != NULL:
        if keeps and x.decision.kind != DECISION_FAILED:
            _keep(core, policy, key, x.decision)
        return go_by_decision(core, x, policy)
    if keeps:
        x.decision = _find(core, policy, key)
        if x.decision != NULL:
            return go_by_decision(core, x, policy)
    if not _body_is_here(policy, &core.http.head, match):
        return AGAIN
    x.policy = policy
    return ASK


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
