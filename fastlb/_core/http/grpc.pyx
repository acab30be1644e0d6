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
from fastlb._core.base.text cimport Text, Writer, equal_nocase, put, put_number, text_of
from fastlb._core.base.types cimport Core, Exchange, Http
from fastlb._core.http.date cimport put_date
from fastlb._core.http.edits cimport name_is_edited
from fastlb._core.proto.http1 cimport field_value


cdef bint is_grpc(Text content_type) noexcept nogil:
    """application/grpc, perhaps with what messages are written in; grpc-web is something else."""
    return (content_type.size >= 16
            and equal_nocase(content_type.at, 16, <const uint8_t*> b"application/grpc", 16)
            and (content_type.size == 16 or content_type.at[16] == 43 or content_type.at[16] == 59
                 or content_type.at[16] == 32))


# --- how long it may take ---

cdef uint64_t _timeout_ms(Text value) noexcept nogil:
    """Up to 8 digits and a unit, rounded up; 0: it isn't one, which is for the server to say."""
    cdef uint64_t n = 0
    cdef uint32_t i
    if not 2 <= value.size <= 9:
        return 0
    for i in range(value.size - 1):
        if not 48 <= value.at[i] <= 57:
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


cdef bint _is(Head* head, Field* field, const char* name, uint32_t size) noexcept nogil:
    return field.kind == FIELD_OTHER and equal_nocase(
        head.bytes + field.name_at, field.name_size, <const uint8_t*> name, size)


cdef uint16_t grpc_timer(Core* core, const HttpEntry* entry) noexcept nogil:
    """The slot of the shortest time that is as long as the call at hand may take; 0: it says
    nothing of that."""
    cdef Head* head = &core.http.head
    cdef uint64_t ms = 0
    cdef uint32_t i
    for i in range(head.n_fields):
        if _is(head, &head.fields[i], b"grpc-timeout", 12):
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
    if value.size == 1 and 48 <= value.at[0] <= 57:
        n = value.at[0] - 48
    elif value.size == 2 and value.at[0] == 49 and 48 <= value.at[1] <= 54:
        n = value.at[1] - 38
    http.grpc = <uint8_t> (n + 1)


cdef void note_grpc_head(Core* core, Http* http) noexcept nogil:
    """Of an answer that is nothing but a head."""
    cdef Head* head = &core.http.head
    cdef uint32_t i
    for i in range(head.n_fields):
        if _is(head, &head.fields[i], b"grpc-status", 11):
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
        if stop - start > 12 and section[start + 11] == 58 and equal_nocase(
                section + start, 11, <const uint8_t*> b"grpc-status", 11):
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
    put(w, b"HTTP/1.1 200 OK\r\n", 17)
    if not name_is_edited(edits, b"Date"):
        put_date(core, w)
    if not name_is_edited(edits, b"Content-Type"):
        put(w, b"Content-Type: application/grpc\r\n", 32)
    put(w, b"Content-Length: 0\r\n", 19)
    if not name_is_edited(edits, b"grpc-status"):
        put(w, b"grpc-status: ", 13)
        put(w, digits, put_number(digits, n))
        put(w, b"\r\n", 2)
    if not name_is_edited(edits, b"grpc-message"):
        put(w, b"grpc-message: ", 14)
        put(w, phrase, size)
        put(w, b"\r\n", 2)
