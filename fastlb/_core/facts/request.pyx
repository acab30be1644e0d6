# Facts of a request: what its head says, and what its route makes of it.
# Reads core.http.head and core.http.match.
from libc.stdint cimport uint32_t

from fastlb._core.base.facts cimport (
    FACT_AUTHORITY, FACT_CAPTURE, FACT_COOKIE, FACT_FORM, FACT_HEADER, FACT_HOST, FACT_HOST_REST,
    FACT_JSON, FACT_KEPT_QUERY, FACT_METHOD, FACT_NAMED_SEGMENT, FACT_PATH, FACT_PATH_REST,
    FACT_QUERY, FACT_QUERY_STRING, FACT_REQUEST_ID, FACT_ROUTE, FACT_SEGMENT, FACT_SENT_PATH,
    FACT_URI, FactRef,
)
from fastlb._core.base.head cimport FIELD_COOKIE, FIELD_OTHER, Field, Head, Text
from fastlb._core.base.routing cimport CONTENT_FORM, CONTENT_JSON, Match
from fastlb._core.base.text cimport equal, equal_nocase, text_of
from fastlb._core.base.types cimport Core, Exchange
from fastlb._core.ext.atomic cimport likely
from fastlb._core.facts.registry cimport (
    FACT_FITS_PATHS, FACT_IN_TEMPLATES, FACT_IS_NAMED, fact_rows, register_fact,
)
from fastlb._core.proto.uri cimport cookie_find, query_find


# --- by name ---

cdef bint find_header(const Head* head, Text name, Text* value) noexcept nogil:
    """The first field of this name. What isn't passed on isn't seen either, but for what is removed
    by its meaning."""
    cdef uint32_t i
    cdef const Field* field
    for i in range(head.n_fields):
        field = &head.fields[i]
        if field.name_size == name.size and not (field.drop and field.kind == FIELD_OTHER) \
                and equal_nocase(head.bytes + field.name_at, field.name_size, name.at, name.size):
            value[0] = text_of(head.bytes + field.value_at, field.value_size)
            return True
    return False


cdef bint find_cookie(const Head* head, Text name, Text* value) noexcept nogil:
    cdef uint32_t i
    cdef const Field* field
    if likely(head.cookie < 0):
        return False
    for i in range(head.n_fields):
        field = &head.fields[i]
        if field.kind == FIELD_COOKIE and cookie_find(
                text_of(head.bytes + field.value_at, field.value_size), name, value):
            return True
    return False


cdef bint _header(Core* core, Exchange* x, const FactRef* fact, Text* value) noexcept nogil:
    return find_header(&core.http.head, fact.name, value)


cdef bint _cookie(Core* core, Exchange* x, const FactRef* fact, Text* value) noexcept nogil:
    return find_cookie(&core.http.head, fact.name, value)


cdef bint _query(Core* core, Exchange* x, const FactRef* fact, Text* value) noexcept nogil:
    """As it came: percent-encoded."""
    return query_find(core.http.head.query, fact.name, value)


cdef bint _member(Core* core, Exchange* x, const FactRef* fact, Text* value) noexcept nogil:
    """Find a member of a JSON or form body. Only bodies that were read for routing have members."""
    cdef const Match* match = &core.http.match
    cdef uint32_t i
    if match.content != (CONTENT_JSON if fact.fact == FACT_JSON else CONTENT_FORM):
        return False
    for i in range(match.members.n):
        if equal(match.members.all[i].name.at, match.members.all[i].name.size, fact.name.at,
                 fact.name.size):
            value[0] = match.members.all[i].value
            return True
    return False


# --- of the path and the host ---

cdef bint _segment(Core* core, Exchange* x, const FactRef* fact, Text* value) noexcept nogil:
    if fact.index >= core.http.match.n_segments:
        return False
    value[0] = core.http.match.segments[fact.index]
    return True


cdef bint _named_segment(Core* core, Exchange* x, const FactRef* fact, Text* value) noexcept nogil:
    cdef const Match* match = &core.http.match
    cdef uint32_t i
    for i in range(match.n_names):
        if i < match.n_segments and equal(
                match.names[i].at, match.names[i].size, fact.name.at, fact.name.size):
            value[0] = match.segments[i]
            return True
    return False


cdef bint _capture(Core* core, Exchange* x, const FactRef* fact, Text* value) noexcept nogil:
    value[0] = core.http.match.captures[fact.index]
    return True


cdef bint _path_rest(Core* core, Exchange* x, const FactRef* fact, Text* value) noexcept nogil:
    value[0] = core.http.match.rest
    return True


cdef bint _host_rest(Core* core, Exchange* x, const FactRef* fact, Text* value) noexcept nogil:
    value[0] = core.http.head.host
    if value.size and value.at[value.size - 1] == c'.':     # the root's dot names the same host
        value.size -= 1
    value.size = value.size - fact.index if value.size > fact.index else 0
    return True


cdef bint _sent_path(Core* core, Exchange* x, const FactRef* fact, Text* value) noexcept nogil:
    """Without slashes at its begin: "//host/" would name another host."""
    value[0] = core.http.head.sent
    while value.size > 1 and value.at[0] == c'/' and value.at[1] == c'/':
        value.at += 1
        value.size -= 1
    return True


cdef bint _path(Core* core, Exchange* x, const FactRef* fact, Text* value) noexcept nogil:
    value[0] = core.http.head.path
    return True


# --- the rest of the head ---

cdef bint _method(Core* core, Exchange* x, const FactRef* fact, Text* value) noexcept nogil:
    cdef const Head* head = &core.http.head
    value[0] = text_of(head.bytes + head.method_at, head.method_size)
    return True


cdef bint _host(Core* core, Exchange* x, const FactRef* fact, Text* value) noexcept nogil:
    value[0] = core.http.head.host
    return True


cdef bint _authority(Core* core, Exchange* x, const FactRef* fact, Text* value) noexcept nogil:
    value[0] = core.http.head.authority
    return True


cdef bint _query_string(Core* core, Exchange* x, const FactRef* fact, Text* value) noexcept nogil:
    value[0] = core.http.head.query
    return True


cdef bint _request_id(Core* core, Exchange* x, const FactRef* fact, Text* value) noexcept nogil:
    value[0] = core.http.match.request_id
    return True


cdef bint _route(Core* core, Exchange* x, const FactRef* fact, Text* value) noexcept nogil:
    if x.http == NULL or x.http.route == NULL:
        return False
    value[0] = x.http.route.name
    return True


register_fact(FACT_METHOD, "request.method", FACT_FITS_PATHS, _method, "The method: `GET`.")
register_fact(FACT_AUTHORITY, "request.host", FACT_FITS_PATHS, _authority,
              "The host that was asked, with its port if that was named.")
register_fact(FACT_HOST, "request.hostname", FACT_FITS_PATHS, _host, "The host without a port.")
register_fact(FACT_SENT_PATH, "request.path", FACT_FITS_PATHS, _sent_path,
              "The path, normalised.")
register_fact(FACT_QUERY_STRING, "request.query", 0, _query_string,
              "The whole query, without its `?`.")
register_fact(FACT_URI, "request.uri", FACT_IN_TEMPLATES, NULL,
              "Path and query, as in a request line.")
register_fact(FACT_REQUEST_ID, "request.id", FACT_IN_TEMPLATES, _request_id,
              "The request's id (`request_id`), which it gets after it was routed.")
register_fact(FACT_ROUTE, "route", FACT_FITS_PATHS, _route, "The name of the route.")
register_fact(FACT_PATH_REST, "path.rest", FACT_FITS_PATHS, _path_rest,
              "What the star at the end of the route's path stands for.")
register_fact(FACT_HOST_REST, "host.rest", FACT_FITS_PATHS | FACT_IN_TEMPLATES, _host_rest,
              "What the star of the route's host stands for.")
register_fact(FACT_NAMED_SEGMENT, "path", FACT_FITS_PATHS | FACT_IS_NAMED, _named_segment,
              "A named segment of the route's path, or a group of its regular expression.")
register_fact(FACT_QUERY, "query", FACT_IS_NAMED, _query, "A parameter of the query.")
register_fact(FACT_HEADER, "header", FACT_IS_NAMED, _header, "A header field of the request.")
register_fact(FACT_COOKIE, "cookie", FACT_IS_NAMED, _cookie, "A cookie.")
# Other forms of "path.NAME", and what `match` has tables for, have no names of their own.
fact_rows[<int> FACT_SEGMENT].find = _segment
fact_rows[<int> FACT_SEGMENT].flags = FACT_FITS_PATHS
fact_rows[<int> FACT_CAPTURE].find = _capture
fact_rows[<int> FACT_CAPTURE].flags = FACT_FITS_PATHS
fact_rows[<int> FACT_PATH].find = _path
fact_rows[<int> FACT_JSON].find = fact_rows[<int> FACT_FORM].find = _member
fact_rows[<int> FACT_KEPT_QUERY].flags = FACT_IN_TEMPLATES
