# Conditions of routes: whether what a request or a connection has is what a route asks for.
from libc.stdint cimport uint32_t, uint8_t
from libc.string cimport memcmp

from fastlb._core.base.facts cimport (
    FACT_COOKIE, FACT_FORM, FACT_HEADER, FACT_HOST, FACT_JSON, FACT_METHOD, FACT_QUERY,
)
from fastlb._core.base.head cimport FIELD_COOKIE, FIELD_OTHER, Field, Head, Member, Text
from fastlb._core.base.routing cimport (
    CONTENT_FORM, CONTENT_JSON, OP_EQUALS, OP_NAMES, OP_NETWORK, OP_ONE_OF, OP_PATTERN, OP_PREFIX,
    OP_PRESENT, OP_REGEX, OP_SUFFIX, Condition, Dfa, Match, Pattern,
)
from fastlb._core.base.text cimport equal, equal_nocase, text_of
from fastlb._core.base.types cimport Core, Exchange
from fastlb._core.ext.atomic cimport likely
from fastlb._core.ext.linux cimport memmem
from fastlb._core.facts.registry cimport fact_find
from fastlb._core.facts.request cimport find_cookie, find_header
from fastlb._core.http.content cimport content_state
from fastlb._core.http.networks cimport text_is_in
from fastlb._core.proto.uri cimport cookie_next, query_decoded, query_next


cdef bint dfa_matches(const Dfa* dfa, Text text) noexcept nogil:
    cdef uint32_t state = 1, i
    for i in range(text.size):
        state = dfa.table[state * dfa.n_classes + dfa.classes[text.at[i]]]
        if state == 0:
            return False
    return dfa.accepting[state] != 0


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


cdef bint _is_one_of(Text values, Text value) noexcept nogil:
    cdef uint32_t i = 0, start
    while i < values.size:
        start = i
        while values.at[i] != c'\n':
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
        while names.at[i] != c'\n':
            i += 1
        size = i - start
        if names.at[start] == c'.':
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
        if (field.name_size == c.of.name.size and not (field.drop and field.kind == FIELD_OTHER)
                and equal_nocase(head.bytes + field.name_at, field.name_size, c.of.name.at,
                                 c.of.name.size)
                and value_fits(c, text_of(head.bytes + field.value_at, field.value_size))):
            return True
    return False


cdef bint _query_fits(const Condition* c, Head* head, Match* match) noexcept nogil:
    """Any of several parameters of a name may fit, as servers may take any of them, decoded."""
    cdef Text rest = head.query
    cdef Text name, value
    while query_next(&rest, &name, &value):
        name = query_decoded(name, match.decoded)
        if equal(name.at, name.size, c.of.name.at, c.of.name.size) and value_fits(
                c, query_decoded(value, match.decoded)):
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
            if equal(name.at, name.size, c.of.name.at, c.of.name.size) and value_fits(c, value):
                return True
    return False


cdef bint _host_fits(const Condition* c, Text host) noexcept nogil:
    if c.op == OP_EQUALS:
        return equal_nocase(host.at, host.size, c.value.at, c.value.size)
    return host.size > c.value.size and equal_nocase(
        host.at + host.size - c.value.size, c.value.size, c.value.at, c.value.size)


cdef bint method_is_one_of(Text methods, const Head* head) noexcept nogil:
    """Whether the request's method is in `methods`, such as " GET HEAD "."""
    cdef const uint8_t* method = head.bytes + head.method_at
    cdef uint32_t i = 1, start
    while i < methods.size:
        start = i
        while i < methods.size and methods.at[i] != c' ':
            i += 1
        if equal(methods.at + start, i - start, method, head.method_size):
            return True
        i += 1
    return False


cdef bint _member_fits(const Condition* c, const Match* match) noexcept nogil:
    cdef uint32_t i
    cdef const Member* member
    if match.content != (CONTENT_JSON if c.of.fact == FACT_JSON else CONTENT_FORM):
        return False
    for i in range(match.members.n):
        member = &match.members.all[i]
        if equal(member.name.at, member.name.size, c.of.name.at, c.of.name.size):
            return c.op == OP_PRESENT or (member.is_plain and value_fits(c, member.value))
    return False


cdef bint condition_fits(Core* core, Exchange* x, const Condition* c) noexcept nogil:
    """Whether it holds what a condition asks for, be it wanted or not."""
    cdef Head* head = &core.http.head
    cdef int fact = c.of.fact
    cdef Text value
    if fact == FACT_HEADER:
        return _header_fits(c, head)
    if fact == FACT_METHOD:
        return method_is_one_of(c.value, head)
    if fact == FACT_QUERY:
        return _query_fits(c, head, &core.http.match)
    if fact == FACT_COOKIE:
        return _cookie_fits(c, head)
    if fact == FACT_HOST:
        return _host_fits(c, head.host)
    if fact == FACT_JSON or fact == FACT_FORM:
        return _member_fits(c, &core.http.match)
    if c.op == OP_PATTERN:
        return pattern_fits(c.pattern, &core.http.match)
    if not fact_find(core, x, &c.of, &value):
        return False
    if c.op == OP_NETWORK:
        return text_is_in(&c.networks, value)
    return value_fits(c, value)


cdef bint value_seen(Core* core, Exchange* x, const Condition* c, Text* value) noexcept nogil:
    """Find the value that a condition tests. If there are several, take the first."""
    cdef Match* match = &core.http.match
    cdef Text rest = core.http.head.query
    cdef Text name
    if c.of.fact == FACT_JSON or c.of.fact == FACT_FORM:
        content_state(&core.http.head, match)
    elif c.of.fact == FACT_QUERY:       # (as it is compared, and not as it came)
        while query_next(&rest, &name, value):
            name = query_decoded(name, match.decoded)
            if equal(name.at, name.size, c.of.name.at, c.of.name.size):
                value[0] = query_decoded(value[0], match.decoded)
                return True
        return False
    elif c.of.fact == FACT_HEADER:      # (an empty one is there, too)
        return find_header(&core.http.head, c.of.name, value)
    elif c.of.fact == FACT_COOKIE:
        return find_cookie(&core.http.head, c.of.name, value)
    return fact_find(core, x, &c.of, value)
