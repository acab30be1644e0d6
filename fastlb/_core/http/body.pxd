from libc.stdint cimport uint32_t, uint8_t

from fastlb._core.base.enums cimport FAIL, LAYER_H2, LAYER_NONE, STREAM_BULK
from fastlb._core.base.h2stream cimport h2_takes
from fastlb._core.base.head cimport Body
from fastlb._core.base.limits cimport BULK_HELD_BYTES_MAX, HTTP_BULK_BYTES, HTTP_READ_BYTES
from fastlb._core.base.text cimport Writer
from fastlb._core.base.types cimport Core, Exchange, Stream
from fastlb._core.ext.atomic cimport likely

cdef struct Region:             # of the scratch chunk
    uint32_t at
    uint32_t end


cdef inline int fail(Exchange* x, int reason) noexcept nogil:
    x.reason = <uint8_t> reason
    return FAIL


cdef inline uint32_t read_bytes(const Core* core, Exchange* x,
                                const Stream* source) noexcept nogil:
    """How much is read at a time: more of what comes in bulk and can't be spliced, unless slow
    clients hold too much already. Of HTTP/2 no more than its stream takes; 0: nothing."""
    if likely(x.client.layer == LAYER_NONE):
        return HTTP_READ_BYTES
    if x.client.layer == LAYER_H2:
        return h2_takes(&x.client, HTTP_READ_BYTES)
    if not source.flags & STREAM_BULK or core.counters.chunk_bytes >= BULK_HELD_BYTES_MAX:
        return HTTP_READ_BYTES
    return HTTP_BULK_BYTES


cdef int decode(Core* core, Body* body, Region* data, Region* out, Writer* trailers) noexcept nogil
cdef void frame(uint8_t* bytes, Region* content) noexcept nogil
cdef void end_chunks(uint8_t* bytes, Region* content) noexcept nogil
