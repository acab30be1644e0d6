# A request's id, and its place in a trace (W3C Trace Context).
from libc.stdint cimport uint32_t, uint64_t, uint8_t

from fastlb._core.base.head cimport FIELD_TRACEPARENT, Head, Text
from fastlb._core.base.random cimport random64
from fastlb._core.base.text cimport Writer, put, put_literal, text_of
from fastlb._core.base.types cimport Core
from fastlb._core.proto.http1 cimport field_value


cdef void _put_random(Core* core, Writer* w, int words) noexcept nogil:
    """16 hexadecimal digits a word."""
    cdef const char* hexadecimal = "0123456789abcdef"
    cdef uint8_t[16] digits
    cdef uint64_t word
    cdef int i, k
    for i in range(words):
        word = random64(core)
        for k in range(16):
            digits[k] = hexadecimal[word >> (4 * k) & 15]
        put(w, digits, 16)


cdef void name_request(Core* core) noexcept nogil:
    """The id that it came with, or 32 digits of ours."""
    cdef Head* head = &core.http.head
    cdef Writer w
    if head.request_id >= 0 and 0 < head.fields[head.request_id].value_size <= 128:
        core.http.match.request_id = field_value(head, &head.fields[head.request_id])
        return
    w.at = core.http.id
    w.end = w.at + 32
    w.full = False
    _put_random(core, &w, 2)
    core.http.match.request_id = text_of(core.http.id, 32)


cdef void make_trace(Core* core, Text came, bint sampled) noexcept nogil:
    """A traceparent with a new span: of the trace that came with the request, or of a new one."""
    cdef Writer w
    w.at = core.http.trace
    w.end = w.at + sizeof(core.http.trace)
    w.full = False
    if came.size:
        put(&w, came.at, 36)
    else:
        put_literal(&w, b"00-")
        _put_random(core, &w, 2)
        put_literal(&w, b"-")
    _put_random(core, &w, 1)
    if came.size:
        put(&w, came.at + 52, 3)
    else:
        put_literal(&w, b"-01" if sampled else b"-00")
    core.http.match.trace = text_of(core.http.trace, sizeof(core.http.trace))


cdef bint _is_traceparent(Text text) noexcept nogil:
    """Version 00 (W3C Trace Context, 3.2.2): hexadecimal in lower case, and no id all zeros."""
    cdef uint32_t i
    cdef bint trace = False, span = False
    cdef uint8_t c
    if text.size != 55 or text.at[0] != c'0' or text.at[1] != c'0':
        return False
    for i in range(55):
        c = text.at[i]
        if i == 2 or i == 35 or i == 52:
            if c != c'-':
                return False
        elif not (c'0' <= c <= c'9' or c'a' <= c <= c'f'):
            return False
        elif 2 < i < 35:
            trace |= c != c'0'
        elif 35 < i < 52:
            span |= c != c'0'
    return trace and span


cdef void trace_request(Core* core) noexcept nogil:
    """Give the request at hand a span of ours, which is what its server sees."""
    cdef Head* head = &core.http.head
    cdef Text came = text_of(NULL, 0)
    cdef uint32_t i
    for i in range(head.n_fields):
        if head.fields[i].kind == FIELD_TRACEPARENT:
            head.fields[i].drop = True
            if came.size == 0 and _is_traceparent(field_value(head, &head.fields[i])):
                came = field_value(head, &head.fields[i])
    make_trace(core, came, random64(core) >> 32 < core.live.traced_share)
    if came.size:
        core.http.match.parent = text_of(came.at + 36, 16)
