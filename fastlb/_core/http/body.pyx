# Bodies on their way: what is read is framed anew where it lies.
from libc.stdint cimport uint32_t, uint8_t
from libc.string cimport memcpy, memmove

from fastlb._core.base.head cimport Body
from fastlb._core.base.mem cimport chunk_bytes
from fastlb._core.base.text cimport Writer, put_hex
from fastlb._core.base.types cimport Core
from fastlb._core.ext.atomic cimport unlikely
from fastlb._core.proto.chunked cimport Piece, chunked_next


cdef int decode(Core* core, Body* body, Region* data, Region* out, Writer* trailers) noexcept nogil:
    """Decode what is in the scratch chunk at `data`, in place: bytes used, or -1."""
    cdef uint8_t* bytes = chunk_bytes(core.http.scratch)
    cdef Piece piece
    cdef uint32_t used = 0, size = data.end - data.at
    cdef int step
    out.at = out.end = data.at
    while used < size and not body.done:
        step = chunked_next(body, bytes + data.at + used, size - used, &piece, trailers)
        if unlikely(step < 0):
            return -1
        if piece.size:
            if out.at == out.end:
                out.at = out.end = data.at + used + piece.at
            elif out.end != data.at + used + piece.at:
                memmove(bytes + out.end, bytes + data.at + used + piece.at, piece.size)
            out.end += piece.size
        used += <uint32_t> step
    return <int> used


cdef void frame(uint8_t* bytes, Region* content) noexcept nogil:
    """Make a chunk of the content, in place. The tail of the last chunk is left to the caller, who
    may have trailers for it."""
    cdef uint8_t[16] digits
    cdef uint32_t n
    if content.end == content.at:
        return
    n = put_hex(digits, content.end - content.at)
    content.at -= n + 2
    memcpy(bytes + content.at, digits, n)
    memcpy(bytes + content.at + n, b"\r\n", 2)
    memcpy(bytes + content.end, b"\r\n", 2)
    content.end += 2


cdef void end_chunks(uint8_t* bytes, Region* content) noexcept nogil:
    memcpy(bytes + content.end, <const char*> b"0\r\n\r\n", 5)
    content.end += 5
