# Decisions of policies that an engine keeps for a while, in sets of CACHED_WAYS, by the hash of
# their key.
from libc.stdint cimport uint32_t, uint64_t
from libc.stdlib cimport calloc, free, malloc
from libc.string cimport memcpy

from fastlb._core.base.head cimport Text
from fastlb._core.base.limits cimport CACHED_MAX, CACHED_WAYS
from fastlb._core.base.questions cimport Cached
from fastlb._core.base.routing cimport Decision, Policy
from fastlb._core.base.text cimport equal, hash_bytes, hash_seed, mix64
from fastlb._core.base.types cimport Core
from fastlb._core.ext.atomic cimport fl_count
from fastlb._core.http.decision cimport give_decision


cdef uint64_t _hash(const Policy* policy, Text key) noexcept nogil:
    return mix64(hash_bytes(hash_seed(), key.at, key.size) + policy.id)


cdef bint _is(const Cached* cached, const Policy* policy, uint64_t hash, Text key) noexcept nogil:
    return (cached.decision != NULL and cached.hash == hash and cached.policy == policy.id
            and equal(cached.key, cached.key_size, key.at, key.size))


cdef Decision* find_kept(Core* core, const Policy* policy, Text key) noexcept nogil:
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


cdef void keep_decision(Core* core, const Policy* policy, Text key,
                        Decision* decision) noexcept nogil:
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


cdef void drop_kept(Core* core) noexcept nogil:
    """All: another configuration may mean something else by the same names."""
    cdef uint32_t i
    if core.cached == NULL:
        return
    for i in range(<uint32_t> CACHED_MAX):
        _forget(&core.cached[i])
    free(core.cached)
    core.cached = NULL
