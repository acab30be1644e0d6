# Answer a client ourselves: what a route says, or an error.
# Reads x.status, x.reason and the route; writes the client's stream.
# Ends: NEXT (written), AGAIN (some of it waits), FAIL (the client is gone).
from libc.stdint cimport uint32_t, uint8_t

from fastlb._core.base.enums cimport (
    EXCHANGE_CLOSE, HTTP_FILTERED, HTTP_GRPC, HTTP_JSON, HTTP_OLD_CLIENT, NEXT, REASON_RESPONDED,
)
from fastlb._core.base.flow cimport flow_flush, flow_write
from fastlb._core.base.head cimport METHOD_HEAD, Text
from fastlb._core.base.mem cimport chunk_bytes, chunk_size
from fastlb._core.base.reasons cimport end_reason
from fastlb._core.base.routing cimport (
    ACTION_REDIRECT, ACTION_RESPOND, DECISION_REPLY, ErrorPage, HttpEntry, PageList, Reply,
)
from fastlb._core.base.text cimport (
    Writer, put, put_literal, put_number, put_text, text_of, text_of_literal,
)
from fastlb._core.base.types cimport Core, Exchange, Http
from fastlb._core.ext.atomic cimport likely, unlikely
from fastlb._core.http.date cimport put_date
from fastlb._core.http.edits cimport (
    Edits, constant_edits, is_edited, made_edits, put_constants, put_edits, response_edits,
)
from fastlb._core.http.filters cimport filter_answer
from fastlb._core.http.grpc cimport put_grpc_error
from fastlb._core.http.identity cimport name_request
from fastlb._core.http.templates cimport put_location


cdef const char* _phrase(int status) noexcept nogil:
    """RFC 9110, 15."""
    if status == 200:
        return b"OK"
    if status == 201:
        return b"Created"
    if status == 202:
        return b"Accepted"
    if status == 204:
        return b"No Content"
    if status == 301:
        return b"Moved Permanently"
    if status == 302:
        return b"Found"
    if status == 303:
        return b"See Other"
    if status == 307:
        return b"Temporary Redirect"
    if status == 308:
        return b"Permanent Redirect"
    if status == 400:
        return b"Bad Request"
    if status == 401:
        return b"Unauthorized"
    if status == 403:
        return b"Forbidden"
    if status == 404:
        return b"Not Found"
    if status == 405:
        return b"Method Not Allowed"
    if status == 408:
        return b"Request Timeout"
    if status == 410:
        return b"Gone"
    if status == 413:
        return b"Content Too Large"
    if status == 414:
        return b"URI Too Long"
    if status == 417:
        return b"Expectation Failed"
    if status == 429:
        return b"Too Many Requests"
    if status == 431:
        return b"Request Header Fields Too Large"
    if status == 500:
        return b"Internal Server Error"
    if status == 501:
        return b"Not Implemented"
    if status == 502:
        return b"Bad Gateway"
    if status == 503:
        return b"Service Unavailable"
    if status == 504:
        return b"Gateway Timeout"
    if status == 505:
        return b"HTTP Version Not Supported"
    return b"Status"


cdef inline bint _has_nobody(const Exchange* x) noexcept nogil:
    """Whether no server of the pool could be had."""
    return x.pool != NULL and x.pool.unavailable != NULL and end_reason(x.reason).nobody


cdef void _put_content(int status, bint json, Writer* w) noexcept nogil:
    cdef uint8_t[20] digits
    cdef uint32_t n = put_number(digits, status)
    if json:
        put_literal(w, b'{"status":')
        put(w, digits, n)
        put_literal(w, b',"error":"')
        put_literal(w, _phrase(status))
        put_literal(w, b'"}\n')
        return
    put(w, digits, n)
    put_literal(w, b" ")
    put_literal(w, _phrase(status))
    put_literal(w, b"\n")


cdef const Reply* _reply(const Exchange* x, bint own) noexcept nogil:
    """What somebody wrote down for this; NULL if nobody did."""
    if own and x.decision != NULL and x.decision.kind == DECISION_REPLY:
        return &x.decision.reply
    if own:
        return &x.http.route.reply if x.http.route.action == ACTION_RESPOND else NULL
    return x.pool.unavailable if _has_nobody(x) else NULL


cdef const Reply* _page(const PageList* pages, int status, bint json) noexcept nogil:
    cdef const ErrorPage* page
    cdef uint32_t i
    for i in range(pages.n):
        page = &pages.all[i]
        if (page.status == status or page.status == status // 100) and page.for_json == json:
            return &page.reply
    return NULL


cdef const Reply* _error_page(const Exchange* x, bint json) noexcept nogil:
    """What somebody wrote down for all errors of this status; NULL if nobody did."""
    cdef const Reply* page = NULL
    if x.status < 400:
        return NULL
    if x.http != NULL and x.http.route != NULL:
        page = _page(&x.http.route.errors, x.status, json)
    return page if page != NULL else _page(&x.bind.http.errors, x.status, json)


# --- header fields ---

cdef Edits _edits(const Exchange* x) noexcept nogil:
    """What is to be done to the fields of an answer of ours."""
    if x.http != NULL and x.http.lines != NULL:
        return made_edits(x)
    if _is_at_hand(x):
        return response_edits(x, NULL)
    return constant_edits(x)


cdef inline bint _is_at_hand(const Exchange* x) noexcept nogil:
    """Whether the request is the one that was read last: it never got as far as a pool."""
    return x.http != NULL and x.pool == NULL


cdef void _put_edited(Core* core, Exchange* x, const Edits* edits, Writer* w) noexcept nogil:
    """The fields that are set and added."""
    if x.http != NULL and x.http.lines != NULL:
        put(w, chunk_bytes(x.http.lines), x.http.lines.end)
    elif _is_at_hand(x):
        name_request(core)
        put_edits(core, x, edits, w)
    else:
        put_constants(core, x, edits, w)


cdef bint _begin(const Edits* edits, const char* name, Writer* w) noexcept nogil:
    """Begin a field of ours; False if somebody sets or removes it."""
    cdef uint32_t size = 0
    while name[size]:
        size += 1
    if unlikely(edits.n != 0) and is_edited(edits, text_of(<const uint8_t*> name, size)):
        return False
    put(w, name, size)
    put_literal(w, b": ")
    return True


cdef void _put_lines(const Edits* edits, Text lines, Writer* w) noexcept nogil:
    """Fields that somebody wrote down, but for those that are edited."""
    cdef uint32_t i = 0, start, colon
    if likely(edits.n == 0):
        put_text(w, lines)
        return
    while i < lines.size:
        start = colon = i
        while i < lines.size and lines.at[i] != c'\n':
            if lines.at[i] == c':' and colon == start:
                colon = i
            i += 1
        i += 1
        if i <= lines.size and not is_edited(edits, text_of(lines.at + start, colon - start)):
            put(w, lines.at + start, i - start)


cdef void _put_cause(Exchange* x, const Edits* edits, Writer* w) noexcept nogil:
    cdef HttpEntry* entry = x.bind.http
    if entry.error_header.size and not (edits.n and is_edited(edits, entry.error_header)):
        put_text(w, entry.error_header)
        put_literal(w, b": ")
        put_text(w, end_reason(x.reason).error)
        put_literal(w, b"\r\n")


cdef inline void _put_filtered(Core* core, Exchange* x, const Edits* edits,
                               Writer* w) noexcept nogil:
    """The fields of the route's filters."""
    if unlikely(x.http != NULL and x.http.flags & HTTP_FILTERED):
        _put_lines(edits, text_of(core.http.filtering.fields, core.http.filtering.fields_size), w)


cdef void _write_grpc(Core* core, Exchange* x, bint plain, Writer* w) noexcept nogil:
    cdef Edits edits = _edits(x)
    if plain:
        edits.n = 0
    put_grpc_error(core, x, _phrase(x.status), &edits, w)
    _put_filtered(core, x, &edits, w)
    _put_cause(x, &edits, w)
    if unlikely(edits.n != 0):
        _put_edited(core, x, &edits, w)
    if x.flags & EXCHANGE_CLOSE:
        put_literal(w, b"Connection: close\r\n")
    put_literal(w, b"\r\n")


cdef void _put_own(Core* core, Exchange* x, const Edits* edits, bint own, const Reply* reply,
                   Writer* w) noexcept nogil:
    """What depends on why we answer."""
    cdef uint8_t[20] digits
    if own and reply == NULL and x.http.route.action == ACTION_REDIRECT \
            and _begin(edits, b"Location", w):
        put_location(core, x, &x.http.route.location, w)
        put_literal(w, b"\r\n")
    if reply != NULL:
        _put_lines(edits, reply.lines, w)
    _put_filtered(core, x, edits, w)
    if not own:
        if x.status == 405 and _begin(edits, b"Allow", w):
            put_literal(w, b"GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS\r\n")
        if x.status == 503 and x.pool != NULL and x.pool.retry_after_s \
                and _begin(edits, b"Retry-After", w):
            put(w, digits, put_number(digits, x.pool.retry_after_s))
            put_literal(w, b"\r\n")
        _put_cause(x, edits, w)
    if unlikely(edits.n != 0):
        _put_edited(core, x, edits, w)


cdef void _write(Core* core, Exchange* x, bint plain, Writer* w) noexcept nogil:
    """`plain`: without what somebody configured, as that doesn't fit."""
    cdef Http* http = x.http
    cdef bint own = x.reason == REASON_RESPONDED and http != NULL and http.route != NULL
    cdef bint json = http != NULL and http.flags & HTTP_JSON
    cdef uint8_t[64] generated
    cdef uint8_t[20] digits
    cdef Writer made
    cdef const Reply* reply = _reply(x, own)
    cdef const Reply* page = NULL
    cdef Edits edits = _edits(x)
    cdef Text content, type
    if unlikely(plain):
        edits.n = 0
    elif reply == NULL or reply.content.size == 0:
        page = _error_page(x, json)
    if page == NULL:
        page = reply
    if page != NULL and not plain:
        content, type = page.content, page.content_type
    else:
        made.at = generated
        made.end = generated + sizeof(generated)
        made.full = False
        _put_content(x.status, json, &made)
        content = text_of(generated, <uint32_t> (made.at - generated))
        type = text_of_literal(b"application/json") if json \
            else text_of_literal(b"text/plain; charset=utf-8")
    put_literal(w, b"HTTP/1.1 ")
    put(w, digits, put_number(digits, x.status))
    put_literal(w, b" ")
    put_literal(w, _phrase(x.status))
    put_literal(w, b"\r\n")
    if likely(edits.n == 0) or not is_edited(&edits, text_of_literal(b"Date")):
        put_date(core, w)
    if x.status != 204:
        if _begin(&edits, b"Content-Type", w):
            put_text(w, type)
            put_literal(w, b"\r\n")
        put_literal(w, b"Content-Length: ")
        put(w, digits, put_number(digits, content.size))
        put_literal(w, b"\r\n")
    _put_own(core, x, &edits, own, reply, w)
    if x.flags & EXCHANGE_CLOSE:
        put_literal(w, b"Connection: close\r\n")
    elif http != NULL and http.flags & HTTP_OLD_CLIENT:
        put_literal(w, b"Connection: keep-alive\r\n")
    put_literal(w, b"\r\n")
    if x.status != 204 and (http == NULL or http.method != METHOD_HEAD):
        put_text(w, content)
        x.books.answered_bytes = content.size
        if http != NULL:
            http.response.total = content.size


cdef void _write_as(Core* core, Exchange* x, bint plain, Writer* w) noexcept nogil:
    w.full = False
    if unlikely(x.http != NULL and x.http.flags & HTTP_GRPC and x.reason != REASON_RESPONDED):
        _write_grpc(core, x, plain, w)
    else:
        _write(core, x, plain, w)


cdef void write_answer(Core* core, Exchange* x, Writer* w) noexcept nogil:
    cdef uint8_t* start = w.at
    if unlikely(x.http != NULL and x.http.flags & HTTP_FILTERED):
        filter_answer(core, x)
    _write_as(core, x, False, w)
    if unlikely(w.full):
        w.at = start
        _write_as(core, x, True, w)


cdef int answer_step(Core* core, Exchange* x) noexcept nogil:
    cdef Writer w
    if x.status == 0:                       # written, as far as it could be
        if x.client.pending == NULL and x.client.pipe == NULL:
            return NEXT
        return flow_flush(core, x, &x.client)
    if unlikely(_has_nobody(x)):
        x.status = x.pool.unavailable.status
    w.at = chunk_bytes(core.http.output) + chunk_size(core.http.output.klass) // 2
    w.end = chunk_bytes(core.http.output) + chunk_size(core.http.output.klass)
    write_answer(core, x, &w)
    if x.http != NULL:
        x.http.status = x.status
    x.books.answered = x.status
    x.status = 0
    x.books.bytes_out += w.at - chunk_bytes(core.http.output) \
        - chunk_size(core.http.output.klass) // 2
    return flow_write(core, x, &x.client, &core.http.output,
                      chunk_size(core.http.output.klass) // 2, w.at - chunk_bytes(
                          core.http.output))
