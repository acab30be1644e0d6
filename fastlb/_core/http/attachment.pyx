# A small chunked body that has arrived with its head is sent with it, in one write.
# Reads what follows the head; writes http.request, http.taken, and the body behind the head.
from libc.stdint cimport uint32_t, uint64_t, uint8_t

from fastlb._core.base.filters cimport Sent
from fastlb._core.base.head cimport Body
from fastlb._core.base.text cimport Writer, put, put_hex, put_literal
from fastlb._core.base.types cimport Core, Http
from fastlb._core.proto.chunked cimport Piece, chunked_next

cdef enum:
    FRAME_BYTES = 25            # of one chunk and the last: 16 digits, four line ends, a zero


cdef int _read_chunks(const uint8_t* at, uint32_t size, Body* body, Writer* w) noexcept nogil:
    """Read what is here of a chunked body: bytes used, or -1 if it is none. `w` gets what is in it;
    NULL: nobody."""
    cdef Piece piece
    cdef uint32_t used = 0
    cdef int step
    while used < size and not body.done:
        step = chunked_next(body, at + used, size - used, &piece, NULL)
        if step < 0:
            return -1
        if w != NULL:
            put(w, at + used + piece.at, piece.size)
        used += <uint32_t> step
    return <int> used


cdef int take_chunks(Core* core, Http* http, uint32_t available, Writer* w,
                     Sent* sent) noexcept nogil:
    """Let a body that is all here, as most small ones are, go with its head, as one chunk, if there
    is room; http.request, http.taken and `sent` say so then. 0, or the status to refuse the request
    with for what is here, before any of it has reached a server."""
    cdef const uint8_t* at = core.http.head.bytes + core.http.head.size
    cdef Body body = http.request
    cdef uint8_t[16] digits
    cdef int used = _read_chunks(at, available, &body, NULL)
    if used < 0:
        return 400
    if http.route.body_bytes_max and body.total > http.route.body_bytes_max:
        return 413
    if not body.done or body.total + FRAME_BYTES > <uint64_t> (w.end - w.at):
        return 0
    sent.framed = sent.content = w.at
    if body.total:
        put(w, digits, put_hex(digits, body.total))
        put_literal(w, b"\r\n")
        sent.content = w.at
        body = http.request
        _read_chunks(at, available, &body, w)
        put_literal(w, b"\r\n")
    put_literal(w, b"0\r\n\r\n")
    sent.size = <uint32_t> body.total
    sent.framed_size = <uint32_t> (w.at - sent.framed)
    http.request = body
    http.taken = <uint32_t> used
    return 0
