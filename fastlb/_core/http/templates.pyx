# Text with variables of a request: header values, locations, rewritten paths.
from libc.stdint cimport uint32_t, uint8_t
from libc.string cimport memmove

from fastlb._core.base.head cimport Head, Text
from fastlb._core.base.net cimport address_port
from fastlb._core.base.proxyfacts cimport proxy_fact
from fastlb._core.base.routing cimport (
    HASH_COOKIE, HASH_HEADER, HASH_QUERY, HashKey, Match, PART_CAPTURE, PART_CLIENT_IP,
    PART_CLIENT_PORT, PART_COOKIE, PART_HEADER, PART_HOST, PART_HOSTNAME, PART_HOST_REST,
    PART_KEPT_QUERY, PART_METHOD, PART_NAMED, PART_PATH, PART_PROXY, PART_QUERY, PART_REQUEST_ID,
    PART_REST, PART_ROUTE, PART_SEGMENT, PART_TEXT, PART_TLS, PART_URI, PART_WHOLE_QUERY, Part,
    Template,
)
from fastlb._core.base.text cimport Writer, equal, put, put_number, put_text, text_of
from fastlb._core.base.tlsfacts cimport secured_stream, tls_fact
from fastlb._core.base.types cimport Core, Exchange
from fastlb._core.http.routes cimport key_find
from fastlb._core.proto.uri cimport put_escaped


cdef void put_template(Core* core, Exchange* x, const Template* template,
                       Writer* w) noexcept nogil:
    """A variable that the request lacks is nothing."""
    cdef uint32_t i
    for i in range(template.n_parts):
        _put_part(core, x, &template.parts[i], w, False)


cdef void put_path(Core* core, Exchange* x, const Template* template, Writer* w) noexcept nogil:
    """The same for a path: what comes from elsewhere in the request is a part of one segment."""
    cdef uint32_t i
    for i in range(template.n_parts):
        _put_part(core, x, &template.parts[i], w, True)


cdef bint _may_name_hosts(const Part* first) noexcept nogil:
    """Whether a location that begins so is meant to begin with two slashes, if it does."""
    if first.kind == PART_TEXT:
        return first.text.size > 1
    return first.kind == PART_QUERY or first.kind == PART_HEADER or first.kind == PART_COOKIE


cdef void put_location(Core* core, Exchange* x, const Template* template,
                       Writer* w) noexcept nogil:
    """The same for a location. Behind the slash that it begins with, variables begin with none:
    "//host/" would name another host, and so would a backslash (WHATWG URL, 4.4)."""
    cdef uint8_t* start = w.at
    cdef uint32_t n = 1, size
    put_template(core, x, template, w)
    size = <uint32_t> (w.at - start)
    if w.full or size == 0 or start[0] != c'/' or _may_name_hosts(&template.parts[0]):
        return
    while n < size and (start[n] == c'/' or start[n] == c'\\'):
        n += 1
    memmove(start + 1, start + n, size - n)
    w.at -= n - 1


cdef inline void _put_foreign(Writer* w, const Part* part, Text value, bint in_path) noexcept nogil:
    if in_path:
        put_escaped(w, value, part.kind != PART_QUERY)
    else:
        put_text(w, value)


cdef void _put_own_path(Writer* w, const Head* head) noexcept nogil:
    """The path as it came, but for slashes at its begin: "//host/" would name another host."""
    cdef Text path = head.sent
    while path.size > 1 and path.at[0] == c'/' and path.at[1] == c'/':
        path.at += 1
        path.size -= 1
    put_text(w, path)


cdef Text _named(const Match* match, Text name) noexcept nogil:
    """The segment of this name, which the route's path may not have."""
    cdef uint32_t i
    for i in range(match.n_names):
        if i < match.n_segments and equal(
                match.names[i].at, match.names[i].size, name.at, name.size):
            return match.segments[i]
    return text_of(NULL, 0)


cdef Text _host_rest(Text host, uint32_t end) noexcept nogil:
    """The host without its last `end` bytes, which are those of the route's."""
    if host.size and host.at[host.size - 1] == c'.':    # the root's dot names the same host
        host.size -= 1
    host.size = host.size - end if host.size > end else 0
    return host


cdef void _put_part(Core* core, Exchange* x, const Part* part, Writer* w,
                    bint in_path) noexcept nogil:
    cdef Head* head = &core.http.head
    cdef Match* match = &core.http.match
    cdef HashKey key
    cdef Text value
    cdef uint8_t[20] digits
    if part.kind == PART_TEXT:
        put_text(w, part.text)
    elif part.kind == PART_CLIENT_IP:
        put(w, x.client_ip, x.client_ip_size)
    elif part.kind == PART_CLIENT_PORT:
        put(w, digits, put_number(digits, address_port(&x.peer)))
    elif part.kind == PART_REQUEST_ID:
        _put_foreign(w, part, match.request_id, in_path)
    elif part.kind == PART_HOST:
        put_text(w, head.authority)
    elif part.kind == PART_HOSTNAME:
        put_text(w, head.host)
    elif part.kind == PART_PATH:
        _put_own_path(w, head)
    elif part.kind == PART_WHOLE_QUERY:
        _put_foreign(w, part, head.query, in_path)
    elif part.kind == PART_URI:
        _put_own_path(w, head)
        if head.query.at != NULL and not in_path:
            put(w, <const char*> b"?", 1)
            put_text(w, head.query)
    elif part.kind == PART_KEPT_QUERY:
        if head.query.size:
            put(w, <const char*> b"?", 1)
            put_text(w, head.query)
    elif part.kind == PART_METHOD:
        put(w, head.bytes + head.method_at, head.method_size)
    elif part.kind == PART_SEGMENT:
        if part.segment < match.n_segments:
            put_text(w, match.segments[part.segment])
    elif part.kind == PART_REST:
        put_text(w, match.rest)
    elif part.kind == PART_CAPTURE:
        put_text(w, match.captures[part.segment])
    elif part.kind == PART_NAMED:
        put_text(w, _named(match, part.text))
    elif part.kind == PART_HOST_REST:
        put_text(w, _host_rest(head.host, part.segment))
    elif part.kind == PART_ROUTE:
        if x.http.route != NULL:
            put_text(w, x.http.route.name)
    elif part.kind == PART_TLS:
        _put_foreign(w, part, tls_fact(secured_stream(x), part.segment), in_path)
    elif part.kind == PART_PROXY:
        _put_foreign(w, part, proxy_fact(secured_stream(x), part.segment), in_path)
    else:
        key.on = (HASH_QUERY if part.kind == PART_QUERY else
                  HASH_HEADER if part.kind == PART_HEADER else HASH_COOKIE)
        key.name = part.text
        if key_find(&key, head, match, &value):
            _put_foreign(w, part, value, in_path)
