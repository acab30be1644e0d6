# What speaks for and against each route of a listener. routes.route_find decides, and ends with the
# first that fits; here all are looked at.
from libc.stdint cimport uint32_t, uint8_t

from fastlb._core.base.head cimport Head, Member, Text
from fastlb._core.base.proxyfacts cimport proxy_fact
from fastlb._core.base.routing cimport (
    CONTENT_FORM, CONTENT_JSON, MATCH_CLIENT, MATCH_COOKIE, MATCH_HEADER, MATCH_HOST, MATCH_JSON,
    MATCH_METHOD, MATCH_PATH, MATCH_PROXY, MATCH_QUERY, MATCH_TLS, Condition, HostEntry, HttpEntry,
    Match, Pattern, Shape,
)
from fastlb._core.base.text cimport equal, equal_nocase, text_of
from fastlb._core.base.tlsfacts cimport tls_fact
from fastlb._core.base.types cimport Stream
from fastlb._core.http.content cimport content_state
from fastlb._core.http.routes cimport (
    dfa_matches, find_cookie, find_header, pattern_fits, query_observed,
)


cdef bint _has_host(const HostEntry* host, const Head* head) noexcept nogil:
    cdef Text name = head.host
    cdef Text own = host.host
    if own.size == 0:
        return True
    if name.size and name.at[name.size - 1] == 46:      # the root's dot names the same host
        name.size -= 1
    if own.at[0] == 46:
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


cdef bint _member(const Condition* c, Head* head, Match* match, Text* value) noexcept nogil:
    cdef int wanted = CONTENT_JSON if c.kind == MATCH_JSON else CONTENT_FORM
    cdef uint32_t i
    cdef Member* member
    if content_state(head, match) != wanted:
        return False
    for i in range(match.members.n):
        member = &match.members.all[i]
        if equal(member.name.at, member.name.size, c.name.at, c.name.size):
            value[0] = member.value
            return True
    return False


cdef bint observed(const Condition* c, Head* head, Match* match, Text* value) noexcept nogil:
    """What the request has where a condition looks; False if nothing."""
    if c.kind == MATCH_HEADER:
        return find_header(head, c.name, value)
    if c.kind == MATCH_QUERY:
        return query_observed(head, match, c.name, value)
    if c.kind == MATCH_COOKIE:
        return find_cookie(head, c.name, value)
    if c.kind == MATCH_METHOD:
        value[0] = text_of(head.bytes + head.method_at, head.method_size)
    elif c.kind == MATCH_HOST:
        value[0] = head.host
    elif c.kind == MATCH_PATH:
        value[0] = head.path
    elif c.kind == MATCH_CLIENT:
        value[0] = match.client_ip
    elif c.kind == MATCH_TLS:
        value[0] = tls_fact(<const Stream*> match.secured, c.fact)
        return value.size > 0
    elif c.kind == MATCH_PROXY:
        value[0] = proxy_fact(<const Stream*> match.secured, c.fact)
        return value.size > 0
    else:
        return _member(c, head, match, value)
    return True
