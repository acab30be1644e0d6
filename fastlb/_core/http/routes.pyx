# Which route a request takes. Patterns of one form (so many segments, the same ones literal) share
# a hash table, so that a request costs a look per form and not per route: tuple space search
# (Srinivasan, Suri, Varghese: Packet Classification using Tuple Space Search, 1999).
from libc.stdint cimport uint32_t, uint64_t, uint8_t

from fastlb._core.base.facts cimport FACT_FORM, FACT_JSON
from fastlb._core.base.head cimport Head, Text
from fastlb._core.base.limits cimport SEGMENTS_MAX
from fastlb._core.base.routing cimport (
    CONTENT_FORM, HostEntry, HttpEntry, Match, Pattern, Route, Shape,
)
from fastlb._core.base.text cimport equal, hash_bytes, hash_seed, lower, text_of
from fastlb._core.base.types cimport Core, Exchange
from fastlb._core.ext.atomic cimport likely, unlikely
from fastlb._core.http.conditions cimport condition_fits, dfa_matches, pattern_fits
from fastlb._core.http.content cimport content_state
from fastlb._core.proto.uri cimport uri_rest

cdef enum:
    HOST_BYTES_MAX = 262


cdef void _split(Match* match, Text path) noexcept nogil:
    cdef uint32_t i = 1, start
    match.n_segments = match.n_hashed = 0
    match.rest = text_of(path.at + path.size, 0)
    if path.size == 0 or path.at[0] != c'/':
        return
    while True:
        start = i
        while i < path.size and path.at[i] != c'/':
            i += 1
        if match.n_segments == SEGMENTS_MAX:
            match.n_segments += 1
            return
        match.segments[match.n_segments] = text_of(path.at + start, i - start)
        match.n_segments += 1
        if i >= path.size:
            return
        i += 1


cdef inline uint64_t _segment_hash(Match* match, uint32_t i) noexcept nogil:
    while match.n_hashed <= i:
        match.hashes[match.n_hashed] = hash_bytes(
            hash_seed(), match.segments[match.n_hashed].at, match.segments[match.n_hashed].size)
        match.n_hashed += 1
    return match.hashes[i]


cdef Pattern* _find_pattern(const Shape* shape, Match* match) noexcept nogil:
    cdef uint64_t hash = hash_seed()
    cdef uint32_t i, slot
    cdef Pattern* pattern
    if match.n_segments < shape.n_segments or (
            not shape.open and match.n_segments != shape.n_segments):
        return NULL
    for i in range(shape.n_segments):
        if shape.literals >> i & 1:
            hash = (hash ^ _segment_hash(match, i)) * <uint64_t> 1099511628211u
    slot = <uint32_t> (hash ^ hash >> 32) & shape.mask
    while True:                     # ends: a table is never full
        pattern = shape.slots[slot]
        if pattern == NULL:
            return NULL
        if pattern.hash == hash and pattern_fits(pattern, match):
            return pattern
        slot = (slot + 1) & shape.mask


cdef bint _route_fits(Core* core, Exchange* x, const Route* route) noexcept nogil:
    cdef uint32_t i, fact
    for i in range(route.n_conditions):
        fact = route.conditions[i].of.fact
        if unlikely(fact == FACT_JSON or fact == FACT_FORM) \
                and content_state(&core.http.head, &core.http.match) > CONTENT_FORM:
            return False                # nothing can be said of it
        if condition_fits(core, x, &route.conditions[i]) == route.conditions[i].negate:
            return False
    return True


cdef Route* _in_host(Core* core, Exchange* x, const HostEntry* host) noexcept nogil:
    cdef Head* head = &core.http.head
    cdef Match* match = &core.http.match
    cdef uint32_t i, k
    cdef Pattern* pattern
    cdef Pattern* found = NULL
    cdef Route* best = NULL
    # (routes lie in the order in which they are tried, and shapes in that of their first routes)
    for i in range(host.n_shapes):
        if best != NULL and host.shapes[i].first > best:
            break
        pattern = _find_pattern(&host.shapes[i], match)
        if pattern == NULL:
            continue
        for k in range(pattern.n_routes):
            if best != NULL and pattern.routes[k] > best:
                break
            if _route_fits(core, x, pattern.routes[k]):
                best = pattern.routes[k]
                found = pattern
                break
    for i in range(host.n_regexes):
        if best != NULL and host.regexes[i].route > best:
            break
        if dfa_matches(&host.regexes[i].dfa, head.path) and _route_fits(
                core, x, host.regexes[i].route):
            best = host.regexes[i].route
            found = NULL
            break
    for i in range(host.n_any):
        if best != NULL and host.any[i] > best:
            break
        if _route_fits(core, x, host.any[i]):
            best = host.any[i]
            found = NULL
            break
    if found != NULL and found.open and match.n_segments > found.n_segments:
        match.rest.at = match.segments[found.n_segments].at
        match.rest.size = <uint32_t> (head.path.at + head.path.size - match.rest.at)
        if unlikely(head.sent.at != head.path.at):
            match.rest = uri_rest(head.sent, found.n_segments)
    return best


cdef Route* _earlier(Core* core, Exchange* x, Route* best, const HostEntry* host) noexcept nogil:
    """The one of these that is tried first: `best`, or a route of another host's table."""
    cdef Head* head = &core.http.head
    cdef Match* match = &core.http.match
    cdef Text rest = match.rest
    cdef Route* route
    match.rest = text_of(head.path.at + head.path.size, 0)
    route = _in_host(core, x, host)
    if route == NULL or (best != NULL and best < route):
        match.rest = rest
        return best
    return route


cdef HostEntry* _find_host(HttpEntry* entry, Text host) noexcept nogil:
    cdef uint64_t hash = hash_bytes(hash_seed(), host.at, host.size)
    cdef uint32_t slot = <uint32_t> (hash ^ hash >> 32) & entry.host_mask
    cdef HostEntry* found
    while True:
        found = entry.hosts[slot]
        if found == NULL:
            return NULL
        if equal(found.host.at, found.host.size, host.at, host.size):
            return found
        slot = (slot + 1) & entry.host_mask


cdef Route* route_find(Core* core, Exchange* x, HttpEntry* entry) noexcept nogil:
    """The most specific route that fits core.http.head, or NULL. Fills core.http.match; if its
    content is wanted or has a key twice, nothing is decided."""
    cdef Head* head = &core.http.head
    cdef uint8_t[HOST_BYTES_MAX] small
    cdef uint32_t i, size = head.host.size
    cdef HostEntry* host
    cdef Route* route = NULL
    _split(&core.http.match, head.path)
    if entry.hosts != NULL and size and size <= HOST_BYTES_MAX:
        for i in range(size):
            small[i] = lower(head.host.at[i])
        if small[size - 1] == c'.':       # the root's dot names the same host
            size -= 1
        host = _find_host(entry, text_of(small, size))
        if host != NULL:
            route = _in_host(core, x, host)
        for i in range(1, size):        # the longest wildcard first
            if route != NULL and likely(not entry.by_hand):
                return route
            if small[i] == c'.':
                host = _find_host(entry, text_of(small + i, size - i))
                if host != NULL:
                    route = _earlier(core, x, route, host)
    if entry.any_host != NULL and (route == NULL or unlikely(entry.by_hand)):
        route = _earlier(core, x, route, entry.any_host)
    return route
