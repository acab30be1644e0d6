# What speaks for and against each route of a listener. routes.route_find decides, and ends with the
# first that fits; here all are looked at.
from libc.stdint cimport uint32_t, uint8_t

from fastlb._core.base.head cimport Head, Text
from fastlb._core.base.routing cimport HostEntry, HttpEntry, Match, Pattern, Shape
from fastlb._core.base.text cimport equal_nocase
from fastlb._core.http.conditions cimport dfa_matches, pattern_fits


cdef bint _has_host(const HostEntry* host, const Head* head) noexcept nogil:
    cdef Text name = head.host
    cdef Text own = host.host
    if own.size == 0:
        return True
    if name.size and name.at[name.size - 1] == c'.':      # the root's dot names the same host
        name.size -= 1
    if own.at[0] == c'.':
        return name.size > own.size and equal_nocase(
            name.at + name.size - own.size, own.size, own.at, own.size)
    return equal_nocase(name.at, name.size, own.at, own.size)


cdef void _in_shape(HttpEntry* entry, const Shape* shape, Match* match, uint8_t host,
                    uint8_t* tried) noexcept nogil:
    cdef uint32_t i, k
    cdef Pattern* pattern
    for i in range(shape.mask + 1):
        pattern = shape.slots[i]
        if pattern == NULL:
            continue
        for k in range(pattern.n_routes):
            tried[pattern.routes[k] - entry.routes] = host | (
                TRIED_PATH if pattern_fits(pattern, match) else 0)


cdef void _in_host(HttpEntry* entry, const HostEntry* host, Head* head, Match* match,
                   uint8_t* tried) noexcept nogil:
    cdef uint8_t bits = TRIED_HOST if _has_host(host, head) else 0
    cdef uint32_t i
    for i in range(host.n_shapes):
        _in_shape(entry, &host.shapes[i], match, bits, tried)
    for i in range(host.n_regexes):
        tried[host.regexes[i].route - entry.routes] = bits | (
            TRIED_PATH if dfa_matches(&host.regexes[i].dfa, head.path) else 0)
    for i in range(host.n_any):
        tried[host.any[i] - entry.routes] = bits | TRIED_PATH


cdef void look_at_routes(HttpEntry* entry, Head* head, Match* match,
                         unsigned char* tried) noexcept nogil:
    """Fill in TriedBits for each route; `match` is of route_find."""
    cdef uint32_t i
    if entry.hosts != NULL:
        for i in range(entry.host_mask + 1):
            if entry.hosts[i] != NULL:
                _in_host(entry, entry.hosts[i], head, match, tried)
    if entry.any_host != NULL:
        _in_host(entry, entry.any_host, head, match, tried)
