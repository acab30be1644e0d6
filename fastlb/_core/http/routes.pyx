# Which route a request takes. Patterns of one form (so many segments, the same ones literal) share
# a hash table, so that a request costs a look per form and not per route: tuple space search
# (Srinivasan, Suri, Varghese: Packet Classification using Tuple Space Search, 1999).
from libc.stdint cimport uint32_t, uint64_t, uint8_t
from libc.string cimport memcmp

from fastlb._core.base.head cimport FIELD_COOKIE, FIELD_OTHER, Field, Head, Member, Text
from fastlb._core.base.limits cimport SEGMENTS_MAX
from fastlb._core.base.proxyfacts cimport proxy_fact
from fastlb._core.base.routing cimport (
    CONTENT_FORM, CONTENT_JSON, HASH_COOKIE, HASH_HEADER, HASH_PATH, HASH_PROXY, HASH_QUERY,
    HASH_TLS, MATCH_CLIENT, MATCH_COOKIE, MATCH_HEADER, MATCH_HOST, MATCH_JSON, MATCH_METHOD,
    MATCH_PATH, MATCH_PROXY, MATCH_QUERY, MATCH_TLS, OP_EQUALS, OP_NAMES, OP_ONE_OF, OP_PREFIX,
    OP_PRESENT, OP_REGEX, OP_SUFFIX, SEGMENT_BY_NAME, Condition, Dfa, HashKey, HostEntry,
    HttpEntry, Match, Pattern, Route, Shape,
)
from fastlb._core.base.text cimport equal, equal_nocase, hash_bytes, hash_seed, lower, text_of
from fastlb._core.base.tlsfacts cimport tls_fact
from fastlb._core.base.types cimport Stream
from fastlb._core.ext.atomic cimport likely, unlikely
from fastlb._core.ext.linux cimport memmem
from fastlb._core.http.content cimport content_state
from fastlb._core.http.networks cimport text_is_in
from fastlb._core.proto.uri cimport (
    cookie_find, cookie_next, query_decoded, query_find, query_next, uri_rest,
)

cdef enum:
    HOST_BYTES_MAX = 262


cdef void _split(Match* match, Text path) noexcept nogil:
    cdef uint32_t i = 1, start
    match.n_segments = match.n_hashed = 0
    match.rest = text_of(path.at + path.size, 0)
    if path.size == 0 or path.at[0] != 47:
        return
    while True:
        start = i
        while i < path.size and path.at[i] != 47:
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


cdef bint pattern_fits(const Pattern* pattern, Match* match) noexcept nogil:
    """Whether the path is one of the pattern's."""
    cdef uint32_t i
    if match.n_segments < pattern.n_segments or (
            not pattern.open and match.n_segments != pattern.n_segments):
        return False
    for i in range(pattern.n_segments):
        if pattern.literals >> i & 1:
            if not equal(match.segments[i].at, match.segments[i].size,
                         pattern.segments[i].at, pattern.segments[i].size):
                return False
        elif match.segments[i].size == 0:
            return False
    return True


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


cdef bint dfa_matches(const Dfa* dfa, Text text) noexcept nogil:
    cdef uint32_t state = 1, i
    for i in range(text.size):
        state = dfa.table[state * dfa.n_classes + dfa.classes[text.at[i]]]
        if state == 0:
            return False
    return dfa.accepting[state] != 0


cdef bint _is_one_of(Text values, Text value) noexcept nogil:
    cdef uint32_t i = 0, start
    while i < values.size:
        start = i
        while values.at[i] != 10:
            i += 1
        if equal(values.at + start, i - start, value.at, value.size):
            return True
        i += 1
    return False


cdef bint _is_named(Text names, Text value) noexcept nogil:
    """Whether a host is one of these, or below one that begins with a dot."""
    cdef uint32_t i = 0, start, size
    while i < names.size:
        start = i
        while names.at[i] != 10:
            i += 1
        size = i - start
        if names.at[start] == 46:
            if value.size > size and memcmp(
                    value.at + value.size - size, names.at + start, size) == 0:
                return True
        elif equal(names.at + start, size, value.at, value.size):
            return True
        i += 1
    return False


cdef bint value_fits(const Condition* c, Text value) noexcept nogil:
    if c.op == OP_PRESENT:
        return True
    if c.op == OP_EQUALS:
        return equal(value.at, value.size, c.value.at, c.value.size)
    if c.op == OP_REGEX:
        return dfa_matches(&c.dfa, value)
    if c.op == OP_ONE_OF:
        return _is_one_of(c.value, value)
    if c.op == OP_NAMES:
        return _is_named(c.value, value)
    if value.size < c.value.size:
        return False
    if c.op == OP_PREFIX:
        return memcmp(value.at, c.value.at, c.value.size) == 0
    if c.op == OP_SUFFIX:
        return memcmp(value.at + value.size - c.value.size, c.value.at, c.value.size) == 0
    return memmem(value.at, value.size, c.value.at, c.value.size) != NULL      # OP_CONTAINS


cdef bint _header_fits(const Condition* c, Head* head) noexcept nogil:
    cdef uint32_t i
    cdef Field* field
    for i in range(head.n_fields):
        field = &head.fields[i]
        # What is not passed on is not looked at either, but for what is removed by its meaning.
        if (field.name_size == c.name.size and not (field.drop and field.kind == FIELD_OTHER)
                and equal_nocase(head.bytes + field.name_at, field.name_size, c.name.at,
                                 c.name.size)
                and value_fits(c, text_of(head.bytes + field.value_at, field.value_size))):
            return True
    return False


cdef bint _query_fits(const Condition* c, Head* head, Match* match) noexcept nogil:
    """Any of several parameters of a name may fit, as servers may take any of them, decoded."""
    cdef Text rest = head.query
    cdef Text name, value
    while query_next(&rest, &name, &value):
        name = query_decoded(name, match.decoded)
        if equal(name.at, name.size, c.name.at, c.name.size) and value_fits(
                c, query_decoded(value, match.decoded)):
            return True
    return False


cdef bint query_observed(Head* head, Match* match, Text wanted, Text* value) noexcept nogil:
    """The first of what _query_fits looks at."""
    cdef Text rest = head.query
    cdef Text name
    while query_next(&rest, &name, value):
        name = query_decoded(name, match.decoded)
        if equal(name.at, name.size, wanted.at, wanted.size):
            value[0] = query_decoded(value[0], match.decoded)
            return True
    return False


cdef bint _cookie_fits(const Condition* c, Head* head) noexcept nogil:
    """Whether any cookie of this name has a value that is asked for."""
    cdef Text rest, name, value
    cdef uint32_t i
    if likely(head.cookie < 0):
        return False
    for i in range(head.n_fields):
        if head.fields[i].kind != FIELD_COOKIE:
            continue
        rest = text_of(head.bytes + head.fields[i].value_at, head.fields[i].value_size)
        while cookie_next(&rest, &name, &value):
            if equal(name.at, name.size, c.name.at, c.name.size) and value_fits(c, value):
                return True
    return False


cdef bint find_cookie(Head* head, Text name, Text* value) noexcept nogil:
    cdef uint32_t i
    cdef Field* field
    if likely(head.cookie < 0):
        return False
    for i in range(head.n_fields):
        field = &head.fields[i]
        if field.kind == FIELD_COOKIE and cookie_find(
                text_of(head.bytes + field.value_at, field.value_size), name, value):
            return True
    return False


cdef bint find_header(Head* head, Text name, Text* value) noexcept nogil:
    cdef uint32_t i
    cdef Field* field
    for i in range(head.n_fields):
        field = &head.fields[i]
        if field.name_size == name.size and not (field.drop and field.kind == FIELD_OTHER) \
                and equal_nocase(head.bytes + field.name_at, field.name_size, name.at, name.size):
            value[0] = text_of(head.bytes + field.value_at, field.value_size)
            return True
    return False


cdef bint _host_fits(const Condition* c, Text host) noexcept nogil:
    if c.op == OP_EQUALS:
        return equal_nocase(host.at, host.size, c.value.at, c.value.size)
    return host.size > c.value.size and equal_nocase(
        host.at + host.size - c.value.size, c.value.size, c.value.at, c.value.size)


cdef bint condition_fits(const Condition* c, Head* head, Match* match) noexcept nogil:
    cdef Text value
    if c.kind == MATCH_HEADER:
        return _header_fits(c, head)
    if c.kind == MATCH_METHOD:
        return method_is_one_of(c.value, head)
    if c.kind == MATCH_QUERY:
        return _query_fits(c, head, match)
    if c.kind == MATCH_COOKIE:
        return _cookie_fits(c, head)
    if c.kind == MATCH_HOST:
        return _host_fits(c, head.host)
    if c.kind == MATCH_PATH:
        if c.op == OP_REGEX:
            return dfa_matches(&c.dfa, head.path)
        return pattern_fits(c.pattern, match)
    if c.kind == MATCH_CLIENT:
        return text_is_in(c.networks, c.n_networks, match.client_ip)
    if c.kind == MATCH_TLS:
        value = tls_fact(<const Stream*> match.secured, c.fact)
        return value.size and value_fits(c, value)
    if c.kind == MATCH_PROXY:
        value = proxy_fact(<const Stream*> match.secured, c.fact)
        return value.size and value_fits(c, value)
    return _member_fits(c, match)


cdef bint _member_fits(const Condition* c, Match* match) noexcept nogil:
    cdef uint32_t i
    cdef Member* member
    if match.content != (CONTENT_JSON if c.kind == MATCH_JSON else CONTENT_FORM):
        return False
    for i in range(match.members.n):
        member = &match.members.all[i]
        if equal(member.name.at, member.name.size, c.name.at, c.name.size):
            return c.op == OP_PRESENT or (member.is_plain and value_fits(c, member.value))
    return False


cdef bint method_is_one_of(Text methods, Head* head) noexcept nogil:
    """Whether the request's method is in `methods`, such as " GET HEAD "."""
    cdef const uint8_t* method = head.bytes + head.method_at
    cdef uint32_t i = 1, start
    while i < methods.size:
        start = i
        while i < methods.size and methods.at[i] != 32:
            i += 1
        if equal(methods.at + start, i - start, method, head.method_size):
            return True
        i += 1
    return False


cdef bint _route_fits(const Route* route, Head* head, Match* match) noexcept nogil:
    cdef uint32_t i
    for i in range(route.n_conditions):
        if unlikely(route.conditions[i].kind >= MATCH_JSON) \
                and content_state(head, match) > CONTENT_FORM:
            return False                # nothing can be said of it
        if condition_fits(&route.conditions[i], head, match) == route.conditions[i].negate:
            return False
    return True


cdef Route* _in_host(const HostEntry* host, Head* head, Match* match) noexcept nogil:
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
            if _route_fits(pattern.routes[k], head, match):
                best = pattern.routes[k]
                found = pattern
                break
    for i in range(host.n_regexes):
        if best != NULL and host.regexes[i].route > best:
            break
        if dfa_matches(&host.regexes[i].dfa, head.path) and _route_fits(
                host.regexes[i].route, head, match):
            best = host.regexes[i].route
            found = NULL
            break
    for i in range(host.n_any):
        if best != NULL and host.any[i] > best:
            break
        if _route_fits(host.any[i], head, match):
            best = host.any[i]
            found = NULL
            break
    if found != NULL and found.open and match.n_segments > found.n_segments:
        match.rest.at = match.segments[found.n_segments].at
        match.rest.size = <uint32_t> (head.path.at + head.path.size - match.rest.at)
        if unlikely(head.sent.at != head.path.at):
            match.rest = uri_rest(head.sent, found.n_segments)
    return best


cdef Route* _earlier(Route* best, const HostEntry* host, Head* head, Match* match) noexcept nogil:
    """The one of these that is tried first: `best`, or a route of another host's table."""
    cdef Text rest = match.rest
    cdef Route* route
    match.rest = text_of(head.path.at + head.path.size, 0)
    route = _in_host(host, head, match)
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


cdef Route* route_find(HttpEntry* entry, Head* head, Match* match) noexcept nogil:
    """The most specific route that fits, or NULL. Fills `match`; if its content is wanted or has a
    key twice, nothing is decided."""
    cdef uint8_t[HOST_BYTES_MAX] small
    cdef uint32_t i, size = head.host.size
    cdef HostEntry* host
    cdef Route* route = NULL
    _split(match, head.path)
    if entry.hosts != NULL and size and size <= HOST_BYTES_MAX:
        for i in range(size):
            small[i] = lower(head.host.at[i])
        if small[size - 1] == 46:       # the root's dot names the same host
            size -= 1
        host = _find_host(entry, text_of(small, size))
        if host != NULL:
            route = _in_host(host, head, match)
        for i in range(1, size):        # the longest wildcard first
            if route != NULL and likely(not entry.by_hand):
                return route
            if small[i] == 46:
                host = _find_host(entry, text_of(small + i, size - i))
                if host != NULL:
                    route = _earlier(route, host, head, match)
    if entry.any_host != NULL and (route == NULL or unlikely(entry.by_hand)):
        route = _earlier(route, entry.any_host, head, match)
    return route


cdef uint32_t _named_segment(const HashKey* key, const Match* match) noexcept nogil:
    cdef uint32_t i
    for i in range(match.n_names):
        if equal(match.names[i].at, match.names[i].size, key.name.at, key.name.size):
            return i
    return SEGMENT_BY_NAME


cdef bint key_find(const HashKey* key, Head* head, Match* match, Text* value) noexcept nogil:
    """What a request has for a hash key; client.ip and client.address are not looked for here."""
    cdef uint32_t segment
    if key.on == HASH_PATH:
        segment = key.segment if key.segment != SEGMENT_BY_NAME else _named_segment(key, match)
        if segment >= match.n_segments:
            return False
        value[0] = match.segments[segment]
        return value.size > 0
    if key.on == HASH_QUERY:
        return query_find(head.query, key.name, value) and value.size > 0
    if key.on == HASH_HEADER:
        return find_header(head, key.name, value) and value.size > 0
    if key.on == HASH_COOKIE:
        return find_cookie(head, key.name, value) and value.size > 0
    if key.on == HASH_TLS:
        value[0] = tls_fact(<const Stream*> match.secured, key.fact)
        return value.size > 0
    if key.on == HASH_PROXY:
        value[0] = proxy_fact(<const Stream*> match.secured, key.fact)
        return value.size > 0
    return False
