# Heads that are passed on: what is ours to change is changed, the rest is copied.
# Reads core.http.head, the route and the listener; writes x.attempt.head, and heads of responses.
from libc.stdint cimport uint32_t, uint8_t
from libc.string cimport memcpy

from fastlb._core.base.enums cimport (
    EXCHANGE_CLOSE, EXCHANGE_TRUSTED, FAIL, HTTP_BINDS, HTTP_FILTERED, HTTP_OLD_CLIENT, HTTP_WHOLE,
    LAYER_H2,
)
from fastlb._core.base.filters cimport Sent
from fastlb._core.base.head cimport (
    BODY_CHUNKED, BODY_LENGTH, FIELD_CONTENT_LENGTH, FIELD_FORWARDED, FIELD_HOST, FIELD_OTHER,
    FIELD_TRACEPARENT, FIELD_X_FORWARDED_FOR, FIELD_X_FORWARDED_HOST, FIELD_X_FORWARDED_PROTO,
    FIELD_X_REQUEST_ID, HEAD_UPGRADE, HEAD_ZEROS, Field, Head, Text,
)
from fastlb._core.base.mem cimport chunk_bytes, chunk_class, chunk_size, give_held, take_held
from fastlb._core.base.routing cimport HttpEntry, Route
from fastlb._core.base.text cimport Writer, put, put_literal, put_text, text_of
from fastlb._core.base.types cimport Chunk, Core, Exchange, Http
from fastlb._core.ext.atomic cimport likely, unlikely
from fastlb._core.http.attachment cimport take_chunks
from fastlb._core.http.edits cimport (
    Edits, field_is_edited, made_edits, make_lines, name_is_edited, put_edits, request_edits,
    response_edits,
)
from fastlb._core.http.filters cimport filter_upload
from fastlb._core.http.forwarded cimport has_field, put_forwarded
from fastlb._core.http.identity cimport make_trace, name_request
from fastlb._core.http.normalization cimport put_length, put_upgrade
from fastlb._core.http.ntlm cimport has_binding_credentials
from fastlb._core.http.templates cimport put_path, put_template
from fastlb._core.proto.http1 cimport valid_host
from fastlb._core.proto.uri cimport uri_rewritten

cdef enum:
    OWN_BYTES = 1024            # of the fields that we add, but for configured ones
    HEAD_BYTES_MAX = 524288     # of a request with them
    PATH_BYTES_MAX = 65535      # of one that a route makes
    VERSION_AT = 5              # in the line of Via


cdef uint32_t _line_end(Head* head, uint32_t i) noexcept nogil:
    """Where the line of field i ends, after its CRLF."""
    return head.fields[i + 1].name_at if i + 1 < head.n_fields else head.size - 2


cdef void _put_fields(Head* head, Writer* w) noexcept nogil:
    """Those that are not dropped, in runs, as they came."""
    cdef uint32_t i, start
    i = 0
    while i < head.n_fields:
        if head.fields[i].drop:
            i += 1
            continue
        start = head.fields[i].name_at
        while i < head.n_fields and not head.fields[i].drop:
            i += 1
        put(w, head.bytes + start, _line_end(head, i - 1) - start)


cdef void _drop_request_fields(Core* core, Exchange* x, const Edits* edits) noexcept nogil:
    """What the client may not say about itself, and what the route replaces."""
    cdef Head* head = &core.http.head
    cdef bint edited = edits.n != 0
    cdef bint trusted = x.flags & EXCHANGE_TRUSTED
    cdef uint32_t i
    cdef Field* field
    cdef int kind
    for i in range(head.n_fields):
        field = &head.fields[i]
        kind = field.kind
        if kind == FIELD_OTHER:
            if edited and field_is_edited(edits, head, field):
                field.drop = True
        elif kind == FIELD_HOST:
            if x.http.route.rewrite_host.n_parts:
                field.drop = True
        elif kind == FIELD_X_FORWARDED_FOR or kind == FIELD_FORWARDED:
            field.drop = True               # written again, with what was there if it is trusted
        elif kind == FIELD_X_FORWARDED_PROTO or kind == FIELD_X_FORWARDED_HOST:
            if not trusted or (edited and field_is_edited(edits, head, field)):
                field.drop = True
        elif edited and field_is_edited(edits, head, field):
            field.drop = True
            if kind == FIELD_X_REQUEST_ID:
                head.request_id = -1


cdef void _put_via(Writer* w, HttpEntry* entry, const Edits* edits, bint was_h2) noexcept nogil:
    """The line, which says by which version we have got the message (RFC 9110, 7.6.3)."""
    if name_is_edited(edits, b"Via"):
        return
    put_text(w, entry.via)
    if was_h2 and entry.via.size and not w.full:
        memcpy(w.at - entry.via.size + VERSION_AT, b"2.0", 3)


cdef bint _put_path(Core* core, Exchange* x, Route* route, Writer* w) noexcept nogil:
    """The path that the route makes; False if it is none that may be sent."""
    cdef Writer made
    cdef int n
    made.at = chunk_bytes(core.http.output) + chunk_size(core.http.output.klass) // 2
    made.end = made.at + PATH_BYTES_MAX
    made.full = False
    put_path(core, x, &route.rewrite_path, &made)
    n = uri_rewritten(text_of(made.end - PATH_BYTES_MAX, <uint32_t> (
        made.at - (made.end - PATH_BYTES_MAX))), made.end)
    if n < 0 or made.full:
        return False
    put(w, made.end, n)
    return True


cdef bint _put_host(Core* core, Exchange* x, Route* route, Writer* w) noexcept nogil:
    cdef uint8_t* start = w.at
    cdef Text name
    put_template(core, x, &route.rewrite_host, w)
    return w.full or valid_host(text_of(start, <uint32_t> (w.at - start)), &name)


cdef int _write(Core* core, Exchange* x, Writer* w) noexcept nogil:
    """0, or the status to refuse the request with; 431 if there is too little room."""
    cdef Http* http = x.http
    cdef Head* head = &core.http.head
    cdef HttpEntry* entry = http.entry
    cdef Route* route = http.route
    cdef Edits edits = request_edits(x)
    cdef Edits later = response_edits(x, x.pool)
    cdef const uint8_t* made
    if entry.request_id or edits.n or later.n:
        name_request(core)
    put(w, head.bytes + head.method_at, head.method_size)
    put_literal(w, b" ")
    if unlikely(route.rewrite_path.n_parts):
        if not _put_path(core, x, route, w):
            return 400
    else:
        put_text(w, head.sent)
    if head.query.at != NULL:
        put_literal(w, b"?")
        put_text(w, head.query)
    put_literal(w, b" HTTP/1.1\r\n")
    if unlikely(route.rewrite_host.n_parts):
        put_literal(w, b"Host: ")
        if not _put_host(core, x, route, w):
            return 400
        put_literal(w, b"\r\n")
    elif not has_field(head, FIELD_HOST):    # RFC 9112, 3.2: empty where nobody named one
        put_literal(w, b"Host: ")
        put_text(w, head.authority)
        put_literal(w, b"\r\n")
    _drop_request_fields(core, x, &edits)
    _put_fields(head, w)
    if unlikely(head.flags & HEAD_ZEROS):
        put_length(head, w)
    if http.request.kind == BODY_CHUNKED:
        put_literal(w, b"Transfer-Encoding: chunked\r\n")
    if unlikely(head.flags & HEAD_UPGRADE):
        put_upgrade(head, w)
    put_forwarded(core, x, entry, &edits, w)
    if entry.request_id and (head.request_id < 0 or head.fields[head.request_id].drop) \
            and not name_is_edited(&edits, b"X-Request-Id"):
        put_literal(w, b"X-Request-Id: ")
        put_text(w, core.http.match.request_id)
        put_literal(w, b"\r\n")
    if entry.traceparent and core.http.match.trace.size == 0 \
            and not has_field(head, FIELD_TRACEPARENT):
        make_trace(core, text_of(NULL, 0), True)
    if core.http.match.trace.size and not name_is_edited(&edits, b"traceparent"):
        put_literal(w, b"traceparent: ")
        put_text(w, core.http.match.trace)
        put_literal(w, b"\r\n")
    _put_via(w, entry, &edits, x.carrier != NULL)
    made = w.at
    if unlikely(edits.n != 0):
        put_edits(core, x, &edits, w)
        if has_binding_credentials(made, w.at):
            http.flags |= HTTP_BINDS
    put_literal(w, b"\r\n")
    if w.full or (unlikely(later.n != 0) and not make_lines(core, x, &later)):
        return 431
    return 0


cdef int write_request(Core* core, Exchange* x, uint32_t available) noexcept nogil:
    """Make x.attempt.head of core.http.head. What is `available` of the body after it goes with
    it as far as there is room, and of a chunked one all or nothing: so many bytes as x.http.taken
    says. Returns 0, the status to refuse the request with, or -1 where a filter refuses it, as
    x.reason says."""
    cdef Http* http = x.http
    cdef Head* head = &core.http.head
    cdef Writer w
    cdef Sent sent
    cdef Chunk* chunk
    cdef uint32_t body = 0
    cdef int klass, status
    if http.request.kind == BODY_LENGTH:
        body = available if available < http.request.left else <uint32_t> http.request.left
    # (of a chunked one there may be less than what is here)
    klass = chunk_class(head.size + (body if http.request.kind == BODY_LENGTH else available)
                        + OWN_BYTES + x.http.route.request_edits.n * 128)
    while True:
        chunk = take_held(core, klass)
        if unlikely(chunk == NULL):
            return 503
        w.at = chunk_bytes(chunk)
        w.end = w.at + chunk_size(klass)
        w.full = False
        status = _write(core, x, &w)
        if likely(status == 0):
            break
        give_held(core, chunk)
        if not w.full or chunk_size(klass) >= HEAD_BYTES_MAX:
            return status
        klass += 1
    if body > w.end - w.at:
        body = <uint32_t> (w.end - w.at)
    sent.framed_size = 0
    if body:
        sent.content = sent.framed = w.at
        sent.size = sent.framed_size = body
        put(&w, head.bytes + head.size, body)
        http.taken = body
        http.request.left -= body
        http.request.total += body
        http.request.done = http.request.left == 0
    elif http.request.kind == BODY_CHUNKED and available:
        status = take_chunks(core, http, available, &w, &sent)
        if unlikely(status != 0):
            give_held(core, chunk)
            return status
    if http.request.done:
        http.flags |= HTTP_WHOLE
    chunk.end = <uint32_t> (w.at - chunk_bytes(chunk))
    sent.is_last = http.request.done
    if unlikely(http.uploads != 0) and sent.framed_size \
            and filter_upload(core, x, &sent) == FAIL:
        give_held(core, chunk)
        return -1
    x.attempt.head = chunk
    return 0


# --- responses ---

cdef bint write_response(Core* core, Exchange* x, Writer* w) noexcept nogil:
    """The head of a response as the client gets it; False if its status line can't be passed on."""
    cdef Http* http = x.http
    cdef Head* head = &core.http.head
    cdef Edits edits
    cdef uint32_t line = head.fields[0].name_at if head.n_fields else head.size - 2
    cdef uint32_t i
    cdef Field* field
    if line < 14 or head.bytes[0] != c'H':
        return False
    edits.n = 0
    if unlikely(http.lines != NULL):
        edits = made_edits(x)
    for i in range(12, line - 2):
        if (head.bytes[i] < 32 and head.bytes[i] != c'\t') or head.bytes[i] == 127:
            return False
    put_literal(w, b"HTTP/1.1")
    if unlikely(line == 14):            # no reason phrase, and no space that it has to have then
        put(w, head.bytes + 8, 4)
        put_literal(w, b" \r\n")
    else:
        put(w, head.bytes + 8, line - 8)
    for i in range(head.n_fields):
        field = &head.fields[i]
        if field.kind == FIELD_CONTENT_LENGTH and (head.status < 200 or head.status == 204):
            field.drop = True           # RFC 9110, 8.6
        elif unlikely(edits.n != 0) and field_is_edited(&edits, head, field):
            field.drop = True
    _put_fields(head, w)
    if unlikely(head.flags & HEAD_ZEROS) and head.status >= 200 and head.status != 204:
        put_length(head, w)
    if head.status >= 200:
        if http.lines != NULL:
            put(w, chunk_bytes(http.lines), http.lines.end)
        if unlikely(http.flags & HTTP_FILTERED):
            put(w, core.http.filtering.fields, core.http.filtering.fields_size)
        _put_via(w, http.entry, &edits, x.to_server.layer == LAYER_H2)
        if head.body.kind == BODY_CHUNKED and not http.flags & HTTP_OLD_CLIENT:
            put_literal(w, b"Transfer-Encoding: chunked\r\n")
        if unlikely(head.status == 426) and head.upgrade >= 0 and x.carrier == NULL:
            put_upgrade(head, w)       # RFC 9110, 15.5.22
        if x.flags & EXCHANGE_CLOSE:
            put_literal(w, b"Connection: close\r\n")
        elif http.flags & HTTP_OLD_CLIENT:
            put_literal(w, b"Connection: keep-alive\r\n")
    elif head.status == 101:
        put_upgrade(head, w)
    if unlikely(x.pool.sticky != NULL) and (head.status >= 200 or head.status == 101) \
            and x.attempt.entry - x.pool.servers != <int> x.bound_to - 1:
        put_text(w, x.attempt.entry.set_cookie)
    put_literal(w, b"\r\n")
    return not w.full
