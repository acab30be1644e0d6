# Trailers (RFC 9110, 6.5): forwarded apart from the head. Only those that nothing was decided by.
from libc.stdint cimport uint32_t, uint8_t
from libc.string cimport memcpy

from fastlb._core.base.enums cimport H2_DONE, HTTP_GRPC, HTTP_HEAD_DONE, LAYER_H2
from fastlb._core.base.h2stream cimport h2_end_with
from fastlb._core.base.head cimport BODY_LENGTH, FIELD_OTHER
from fastlb._core.base.limits cimport RESPONSE_HEAD_BYTES_MAX
from fastlb._core.base.mem cimport chunk_bytes, chunk_class, chunk_size, give_held, take_held
from fastlb._core.base.text cimport Writer, is_literal_nocase, put
from fastlb._core.base.types cimport Chunk, Core, Exchange, Http
from fastlb._core.ext.atomic cimport likely, unlikely
from fastlb._core.proto.fields cimport field_kind


cdef bint _may_trail(const uint8_t* name, uint32_t size) noexcept nogil:
    """RFC 9110, 6.5.1: not framing, routing, authentication, or how content is read."""
    if field_kind(name, size) != FIELD_OTHER:
        return False
    if size >= 8 and is_literal_nocase(name, 8, b"content-"):
        return False
    return not (is_literal_nocase(name, size, b"authorization")
                or is_literal_nocase(name, size, b"set-cookie")
                or is_literal_nocase(name, size, b"www-authenticate")
                or is_literal_nocase(name, size, b"cache-control")
                or is_literal_nocase(name, size, b"location"))


cdef uint32_t put_trailers(const uint8_t* section, uint32_t size, uint8_t* into) noexcept nogil:
    """The end of a chunked body with what may be passed on of `section`, whole lines that were
    checked as they were read. Takes up to size + 5 bytes; returns how many."""
    cdef uint32_t i = 0, start, colon, n = 3
    memcpy(into, <const char*> b"0\r\n", 3)
    while i < size:
        start = colon = i
        while i < size and section[i] != 10:
            if section[i] == 58 and colon == start:
                colon = i
            i += 1
        i += 1
        if i <= size and colon > start and _may_trail(section + start, colon - start):
            memcpy(into + n, section + start, i - start)
            n += i - start
    memcpy(into + n, <const char*> b"\r\n", 2)
    return n + 2


cdef uint8_t* trailers_room(Core* core, Exchange* x, Writer* w) noexcept nogil:
    """Where the trailers of a response are gathered, behind those that came with earlier reads: the
    half of the output chunk that no head is made in."""
    cdef uint8_t* room = chunk_bytes(core.http.output) + chunk_size(core.http.output.klass) // 2
    cdef Chunk* earlier = x.attempt.partial
    w.at = room
    w.end = room + RESPONSE_HEAD_BYTES_MAX
    w.full = False
    if unlikely(earlier != NULL):
        put(w, chunk_bytes(earlier), earlier.end)
    return room


cdef bint keep_trailers(Core* core, Exchange* x, const uint8_t* section,
                        uint32_t size) noexcept nogil:
    """Keep what there is of them until the rest is here; False when memory is gone."""
    if likely(size == 0):
        return True
    give_held(core, x.attempt.partial)
    x.attempt.partial = take_held(core, chunk_class(size))
    if x.attempt.partial == NULL:
        return False
    memcpy(chunk_bytes(x.attempt.partial), section, size)
    x.attempt.partial.end = size
    return True


cdef bint end_with_trailers(Exchange* x, const uint8_t* section, uint32_t size,
                            uint8_t* room) noexcept nogil:
    """Those of HTTP/2, which are no part of the body: without the last chunk and the empty line.
    False when memory is gone."""
    size = put_trailers(section, size, room)
    return h2_end_with(x.client.h2, room + 3, size - 5)


cdef void end_call(Exchange* x) noexcept nogil:
    """Of gRPC, whose time is over and whose answer has begun: its client is told so by a status, as
    a stream that is reset would look broken."""
    cdef Http* http = x.http
    if http.flags & HTTP_GRPC and http.flags & HTTP_HEAD_DONE and x.client.layer == LAYER_H2 \
            and http.response.kind != BODY_LENGTH and not http.response.done \
            and h2_end_with(x.client.h2, b"grpc-status: 4\r\n", 16):
        x.client.h2.flags |= H2_DONE
