# What differs when a request is a gRPC call (gRPC's PROTOCOL-HTTP2.md).
# Its time limit is in its head and its outcome in the trailers; errors are answers with status 200.
from libc.stdint cimport uint16_t, uint32_t, uint64_t, uint8_t

from fastlb._core.base.enums cimport REASON_DONE
from fastlb._core.base.head cimport FIELD_OTHER, Field, Head
from fastlb._core.base.limits cimport DEADLINES
from fastlb._core.base.reasons cimport (
    GRPC_INTERNAL, GRPC_PERMISSION_DENIED, GRPC_UNAUTHENTICATED, GRPC_UNAVAILABLE,
    GRPC_UNIMPLEMENTED, GRPC_UNKNOWN, end_reason, is_of_client,
)
from fastlb._core.base.routing cimport HttpEntry
from fastlb._core.base.text cimport (
    Text, Writer, is_literal_nocase, put, put_literal, put_number, text_of,
)
from fastlb._core.base.types cimport Core, Exchange, Http
from fastlb._core.http.date cimport put_date
from fastlb._core.http.edits cimport name_is_edited
from fastlb._core.proto.http1 cimport field_value


cdef bint is_grpc(Text content_type) noexcept nogil:
    """application/grpc, perhaps with what messages are written in; grpc-web is something else."""
    return (content_type.size >= 16
            and is_literal_nocase(content_type.at, 16, b"application/grpc")
            and (content_type.size == 16 or content_type.at[16] == c'+'
                 or content_type.at[16] == c';' or content_type.at[16] == c' '))


# --- how long it may take ---

cdef uint64_t _timeout_ms(Text value) noexcept nogil:
    """Up to 8 digits and a unit, rounded up; 0: it isn't one, which is for the server to say."""
    cdef uint64_t n = 0
    cdef uint32_t i
    if not 2 <= value.size <= 9:
        return 0
    for i in range(value.size - 1):
        if not c'0' <= value.at[i] <= c'9':
            return 0
        n = n * 10 + value.at[i] - 48
    i = value.at[value.size - 1]
    if i == 72:                                     # H
        return n * 3600000
    if i == 77:                                     # M
        return n * 60000
    if i == 83:                                     # S
        return n * 1000
    if i == 109:                                    # m
        return n
    if i == 117:                                    # u
        return (n + 999) // 1000
    if i == 110:                                    # n
        return (n + 999999) // 1000000
    return 0


cdef inline bint _is(Head* head, Field* field, const char* name) noexcept nogil:
    return field.kind == FIELD_OTHER and is_literal_nocase(
        head.bytes + field.name_at, field.name_size, name)


cdef uint16_t grpc_timer(Core* core, const HttpEntry* entry) noexcept nogil:
    """The slot of the shortest time that is as long as the call at hand may take; 0: it says
    nothing of that."""
    cdef Head* head = &core.http.head
    cdef uint64_t ms = 0
    cdef uint32_t i
    for i in range(head.n_fields):
        if _is(head, &head.fields[i], b"grpc-timeout"):
            ms = _timeout_ms(field_value(head, &head.fields[i]))
            break
    if ms == 0:
        return 0
    for i in range(<uint32_t> DEADLINES):
        if core.timers[entry.deadlines[i]].length_ms >= ms:
            return entry.deadlines[i]
    return 0


# --- how it went ---

cdef void _note(Http* http, Text value) noexcept nogil:
    cdef uint32_t n = GRPC_UNKNOWN
    if value.size == 1 and c'0' <= value.at[0] <= c'9':
        n = value.at[0] - 48
    elif value.size == 2 and value.at[0] == c'1' and c'0' <= value.at[1] <= c'6':
        n = value.at[1] - 38
    http.grpc = <uint8_t> (n + 1)


cdef void note_grpc_head(Core* core, Http* http) noexcept nogil:
    """Of an answer that is nothing but a head."""
    cdef Head* head = &core.http.head
    cdef uint32_t i
    for i in range(head.n_fields):
        if _is(head, &head.fields[i], b"grpc-status"):
            _note(http, field_value(head, &head.fields[i]))


cdef void note_grpc_trailers(Http* http, const uint8_t* section, uint32_t size) noexcept nogil:
    """Whole lines, which were checked as they were read."""
    cdef uint32_t i = 0, start, stop
    while i < size:
        start = i
        while i < size and section[i] != 10:
            i += 1
        stop = i
        i += 1
        if stop - start > 12 and section[start + 11] == 58 and is_literal_nocase(
                section + start, 11, b"grpc-status"):
            start += 12
            while start < stop and (section[start] == 32 or section[start] == 9):
                start += 1
            while stop > start and (section[stop - 1] == 13 or section[stop - 1] == 32
                                    or section[stop - 1] == 9):
                stop -= 1
            _note(http, text_of(section + start, stop - start))


cdef uint32_t _of_http(int status, int reason) noexcept nogil:
    """What a status of HTTP says (grpc's http-grpc-status-mapping.md); of ours, that it took too
    long, is told apart."""
    if end_reason(reason).grpc:
        return end_reason(reason).grpc
    if status == 400:
        return GRPC_INTERNAL
    if status == 401:
        return GRPC_UNAUTHENTICATED
    if status == 403:
        return GRPC_PERMISSION_DENIED
    if status == 404:
        return GRPC_UNIMPLEMENTED
    if status == 429 or status == 502 or status == 503 or status == 504:
        return GRPC_UNAVAILABLE
    return GRPC_UNKNOWN


cdef uint32_t grpc_status(const Exchange* x, int reason) noexcept nogil:
    """How a call ended, as its client knows it."""
    if is_of_client(reason):
        return end_reason(reason).grpc
    if x.http.grpc and (reason == REASON_DONE or x.books.answered):
        return x.http.grpc - 1
    if x.http.status == 0:
        return end_reason(reason).grpc or GRPC_UNAVAILABLE      # cut
    return GRPC_UNKNOWN if x.http.status == 200 else _of_http(x.http.status, reason)


cdef void put_grpc_error(Core* core, Exchange* x, const char* phrase, const Edits* edits,
                         Writer* w) noexcept nogil:
    """An answer of our own, which says in gRPC's words what x.status does; without a body."""
    cdef uint8_t[20] digits
    cdef uint32_t n = _of_http(x.status, x.reason)
    cdef uint32_t size = 0
    x.http.grpc = <uint8_t> (n + 1)
    while phrase[size]:
        size += 1
    put_literal(w, b"HTTP/1.1 200 OK\r\n")
    if not name_is_edited(edits, b"Date"):
        put_date(core, w)
    if not name_is_edited(edits, b"Content-Type"):
        put_literal(w, b"Content-Type: application/grpc\r\n")
    put_literal(w, b"Content-Length: 0\r\n")
    if not name_is_edited(edits, b"grpc-status"):
        put_literal(w, b"grpc-status: ")
        put(w, digits, put_number(digits, n))
        put_literal(w, b"\r\n")
    if not name_is_edited(edits, b"grpc-message"):
        put_literal(w, b"grpc-message: ")
        put(w, phrase, size)
        put_literal(w, b"\r\n")
